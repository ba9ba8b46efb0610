"""Golden data: what the reference implementation and a real node produced. The judge of every byte."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent


@functools.cache
def load(name: str) -> Any:
    """Return the decoded JSON of `<name>.json.gz`; shared between tests, so it is not to be changed."""
    with gzip.open(DIRECTORY / f"{name}.json.gz", "rb") as file:
        return json.load(file)
