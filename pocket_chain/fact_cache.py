"""What `facts.py` keeps its answers in: whoever has a store gives the caches, so that nothing here knows of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FactCache(Protocol[K, V]):
    """One kind of fact by its key, looked up when it is not kept."""

    def peek(self, key: K) -> V | None:
        """The value if it is at hand and fresh. No I/O."""

    def has(self, key: K) -> bool:
        """Whether a value is at hand, fresh or not. No I/O."""

    def get(self, key: K) -> V:
        """The value. Raises what the look-up raises."""

    def refresh(self, key: K) -> V:
        """The value, looked up now."""

    def invalidate(self, key: K) -> None:
        """Forget one value."""

    def clear(self) -> None:
        """Forget all values."""


class MakeFactCache(Protocol):
    """Makes the cache of one kind. `load` asks the chain; its `Refused` means "there is none".

    `pinned` values belong to a height and never change; others are those of now.
    """

    def __call__(self, kind: str, load: Callable[[K], V], *, pinned: bool) -> FactCache[K, V]: ...
