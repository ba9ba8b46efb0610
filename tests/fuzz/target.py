"""What is fuzzed: one function that takes bytes, and what it is started from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

# Tries one input. True: it was taken; False: it was refused as documented. Whatever it raises is a find.
Attempt = Callable[[bytes], bool]
MAX_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Target:
    """`opened` sets up what an attempt needs and tears it down. `words` are spliced into inputs as they are."""

    seeds: Callable[[], Iterable[bytes]]
    opened: Callable[[], AbstractContextManager[Attempt]]
    words: tuple[bytes, ...] = ()
    max_bytes: int = MAX_BYTES
