"""Go's math/rand v1 generator and the chain's way of seeding it (spec/chain.md §5.5).

The chain draws "is a proof required" with it, so it is reproduced bit for bit.
"""

from __future__ import annotations

import hashlib
from typing import Final

from pocket_protocol.go_random_table import TABLE

_LENGTH: Final = 607
_TAP: Final = 273
_MODULUS: Final = 2**31 - 1
_MULTIPLIER: Final = 48271
_SEED_FOR_ZERO: Final = 89482311
_DISCARDED: Final = 20
_MASK64: Final = 2**64 - 1
_MASK63: Final = 2**63 - 1
_MAX_VARINT_BYTES: Final = 10


class GoRandom:
    """The generator: `seed` is a signed 64-bit integer; each method draws the next number."""

    def __init__(self, seed: int) -> None:
        # Go's remainder keeps the dividend's sign and adds the modulus to a negative one: Python's `%`.
        x = seed % _MODULUS or _SEED_FOR_ZERO
        for _ in range(_DISCARDED):
            x = x * _MULTIPLIER % _MODULUS
        words = []
        for additive in TABLE:
            first = x * _MULTIPLIER % _MODULUS
            second = first * _MULTIPLIER % _MODULUS
            x = second * _MULTIPLIER % _MODULUS
            words.append((first << 40 ^ second << 20 ^ x ^ additive) & _MASK64)
        self._words = words
        self._tap = 0
        self._feed = _LENGTH - _TAP

    def uint64(self) -> int:
        """Return the next number below 2**64."""
        self._tap = (self._tap - 1) % _LENGTH
        self._feed = (self._feed - 1) % _LENGTH
        value = (self._words[self._feed] + self._words[self._tap]) & _MASK64
        self._words[self._feed] = value
        return value

    def int63(self) -> int:
        """Return the next number below 2**63."""
        return self.uint64() & _MASK63

    def float64(self) -> float:
        """Return the next number in [0, 1), rounded as Go rounds it."""
        while (value := float(self.int63()) / 2**63) == 1.0:
            pass
        return value


def varint(data: bytes) -> tuple[int, int]:
    """Decode a zig-zag varint at the start of `data` as Go's encoding/binary does: (value, bytes read).

    Too short gives (0, 0); a value above 64 bits gives 0 and minus the number of bytes looked at.
    """
    value = 0
    for index, byte in enumerate(data):
        if index == _MAX_VARINT_BYTES:
            return 0, -(index + 1)
        if byte < 0x80:
            if index == _MAX_VARINT_BYTES - 1 and byte > 1:
                return 0, -(index + 1)
            value |= byte << 7 * index
            return (value >> 1) ^ -(value & 1), index + 1
        value |= (byte & 0x7F) << 7 * index
    return 0, 0


def seed_of(data: bytes) -> int:
    """Return the seed the chain derives from `data`: the varint at the start of its SHA-256."""
    return varint(hashlib.sha256(data).digest())[0]


def seeded_float64(data: bytes) -> float:
    """Return the chain's number in [0, 1) for `data`."""
    return GoRandom(seed_of(data)).float64()


def seeded_int63(data: bytes) -> int:
    """Return the chain's number below 2**63 for `data`."""
    return GoRandom(seed_of(data)).int63()
