"""One accumulation per supplier and worker node at a time (decisions.md E).

It saves wasted work, nothing else: what keeps two of them exact is the fence. The kernel lets go of the
lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def supplier_lock(directory: Path, supplier: str) -> Iterator[bool]:
    """Hold the node's lock of `supplier` for the block; False when another process or thread has it."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / f"{supplier}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
