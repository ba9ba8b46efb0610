"""Traffic recorded from a real network: JSON files outside the repository, named by RECORDED_DATA.

Where they are absent the tests that need them are skipped, and say so.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(os.environ.get("RECORDED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "vectors")

needs_recordings = pytest.mark.skipif(
    not (ROOT / "localnet").is_dir(), reason="RECORDED_DATA names no directory of recordings"
)


def path(name: str) -> Path:
    """Return the path of a recording, e.g. `localnet/relayer.yaml`."""
    return ROOT / name


@functools.cache
def load(name: str) -> Any:
    """Return a recording's JSON; shared between tests, so it is not to be changed."""
    return json.loads(path(name).read_text())
