"""Inputs made from seeds, the same ones for the same number: for runs without a coverage-guided fuzzer."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence

from tests.fuzz.corpus import spread
from tests.fuzz.target import Target

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
MAX_CHANGES = 6


def mutated_inputs(target: Target, seed: int, unchanged: int = sys.maxsize) -> Iterator[bytes]:
    """Yield the seeds as they are, at most `unchanged` of them, then changed ones without end."""
    seeds = [one[: target.max_bytes] for one in target.seeds()] or [b""]
    yield from spread(seeds, unchanged)
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, MAX_CHANGES)):
            change(data, seeds, target.words, chance)
        yield bytes(data[: target.max_bytes])


def change(data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> None:
    """Change `data` in one of the ways parsers are known to mind."""
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((1, 1, 2, 4, 8, 32, len(data))))
    kind = chance.randrange(9)
    if kind == 0 and data:
        data[min(start, len(data) - 1)] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[start : start + 1] = bytes((chance.randrange(256),))
    elif kind == 2:
        del data[start:end]
    elif kind == 3:
        data[start:start] = data[start:end] * chance.choice((1, 1, 2, 50))
    elif kind == 4:
        size = chance.choice((1, 2, 4, 8))
        number = chance.choice(_NUMBERS) % 256**size
        data[start : start + size] = number.to_bytes(size, chance.choice(("big", "little")))
    elif kind == 5:
        data[start:start] = chance.randbytes(chance.choice((1, 2, 8, 64)))
    elif kind == 6 and words:
        data[start : chance.choice((start, end))] = chance.choice(words)
    elif kind == 7:
        other = chance.choice(seeds)
        cut = chance.randint(0, len(other))
        data[start:] = other[cut:]
    else:
        del data[start:]
