"""Inputs to start from: the golden data of the repository and, where it is present, recorded traffic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests import recorded
from tests.vectors import load

_HEX = re.compile(r"(?:[0-9a-f]{2})+")
MAX_SEEDS = 400


def hex_of(document: Any, *keys: str) -> Iterator[bytes]:
    """Yield the bytes of every hex text that stands under one of `keys`, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in keys and isinstance(value, str) and _HEX.fullmatch(value):
                yield bytes.fromhex(value)
            else:
                yield from hex_of(value, *keys)
    elif isinstance(document, list):
        for item in document:
            yield from hex_of(item, *keys)


def golden(name: str, *keys: str) -> Iterator[bytes]:
    """Yield what a file of golden data has under `keys`."""
    return hex_of(load(name), *keys)


def spread(seeds: Iterable[bytes], most: int = MAX_SEEDS) -> list[bytes]:
    """Return at most so many different seeds, evenly from all of them."""
    different = list(dict.fromkeys(seeds))
    step = max(1, -(-len(different) // most))
    return different[::step]


def recorded_files(pattern: str, max_bytes: int) -> Iterator[bytes]:
    """Yield the content of recorded files that match, the small ones; none where there are no recordings."""
    for path in sorted(recorded.ROOT.glob(pattern)) if recorded.ROOT.is_dir() else ():
        if path.is_file() and path.stat().st_size <= max_bytes:
            yield path.read_bytes()
