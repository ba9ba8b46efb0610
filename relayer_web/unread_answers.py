"""Large answers that clients have not read yet, of all connections of a process.

A client has `client_timeout_s` to read an answer, and a thousand slow ones with ten MiB each would be more than a machine
has. Over the bound the one that has taken longest is cut off: it has had most of its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Reader(Protocol):
    """A connection that is written to."""

    def expire(self) -> None:
        """End it now."""


class UnreadAnswers:
    """At most `limit_bytes`, or one answer."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._sizes: dict[Reader, int] = {}  # oldest first

    @property
    def held_bytes(self) -> int:
        return sum(self._sizes.values())

    @contextmanager
    def sending(self, reader: Reader, size: int) -> Iterator[None]:
        """While `size` bytes are sent to `reader`. May end other connections."""
        self._sizes[reader] = size
        while len(self._sizes) > 1 and self.held_bytes > self._limit_bytes:
            slowest = next(iter(self._sizes))
            del self._sizes[slowest]
            slowest.expire()
        try:
            yield
        finally:
            self._sizes.pop(reader, None)
