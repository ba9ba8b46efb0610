"""Keys by pattern, on every master: for operators and take-overs, never on the way of a relay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from relay_store.connection import Store
from relay_store.store_errors import store_errors

SCAN_COUNT: Final = 1000


def scan_keys(store: Store, pattern: str) -> Iterator[bytes]:
    """Yield the keys of every master that match, in no order, each once. Raises `StoreUnavailable`."""
    seen: set[bytes] = set()
    with store_errors():
        for master in store.masters():
            for key in master.scan_iter(pattern, count=SCAN_COUNT):
                if key not in seen:
                    seen.add(key)
                    yield key


def scan_names(store: Store, pattern: str) -> list[str]:
    """Return the keys that match, sorted; those that are no text are none of ours or the reference's."""
    found = []
    for key in scan_keys(store, pattern):
        with suppress(UnicodeDecodeError):
            found.append(key.decode())
    return sorted(found)


def scan_stars(store: Store, pattern: str) -> list[str]:
    """Return, sorted, what stands for the only `*` of `pattern` in the keys that match."""
    before, _, after = pattern.partition("*")
    return [key[len(before) :].removesuffix(after) for key in scan_names(store, pattern)]
