"""A bounded memory of what was derived last, shared by threads and greenlets."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentlyUsed(Generic[K, V]):
    """A mapping of at most `limit` entries; the one not asked for longest goes first.

    Each operation of `OrderedDict` is atomic for keys of type bytes; another thread may come in between two of
    them, which costs at most a lookup that misses.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the entry and mark it as used."""
        value = self._entries.get(key)
        if value is not None:
            try:
                self._entries.move_to_end(key)
            except KeyError:  # dropped by another thread since the line above
                pass
        return value

    def put(self, key: K, value: V) -> None:
        """Add or replace an entry, dropping the oldest ones beyond the limit."""
        self._entries[key] = value
        while len(self._entries) > self.limit:
            try:
                self._entries.popitem(last=False)
            except KeyError:  # emptied by another thread
                break
