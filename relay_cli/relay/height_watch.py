"""The chain's height, asked for by one thread so that all others only read it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pocket_protocol.errors import Unavailable
from pocket_protocol.types import Height

POLL_S = 0.4


class HeightWatch:
    """`height` follows `ask`; a node that does not answer leaves it as it was. Use as a context manager.

    The first question is asked on entry: what it raises, entry raises.
    """

    def __init__(self, ask: Callable[[], Height], poll_s: float = POLL_S) -> None:
        self._ask, self._poll_s = ask, poll_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="height-watch", daemon=True)
        self.height = Height(0)

    def __enter__(self) -> HeightWatch:
        self.height = self._ask()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                self.height = max(self.height, self._ask())
            except Unavailable:
                continue
