"""RIPEMD-160, for addresses: from OpenSSL where it still has it, otherwise computed here."""

from __future__ import annotations

import hashlib
import struct

# Message word and rotation of each of the 80 steps, left and right line (RIPEMD-160 specification, 1996).
_PERMUTATION = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_LEFT_CONSTANTS = (0x00000000, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0x00000000)
_ROTATIONS = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_MASK = 0xFFFFFFFF


def ripemd160(data: bytes) -> bytes:
    """Return the 20-byte digest of `data`."""
    try:
        return hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    except ValueError:  # OpenSSL 3 keeps it in a provider that may not be loaded
        return ripemd160_python(data)


def ripemd160_python(data: bytes) -> bytes:
    """Return the same digest without OpenSSL."""
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)
    state: tuple[int, ...] = _START
    for offset in range(0, len(padded), 64):
        state = _compress(state, struct.unpack_from("<16I", padded, offset))
    return struct.pack("<5I", *state)


def _word_orders() -> tuple[list[list[int]], list[list[int]]]:
    """Return the word index of each step, by round: left from the identity, right from 9i + 5."""
    left, right = [list(range(16))], [[(9 * i + 5) % 16 for i in range(16)]]
    for line in (left, right):
        for _ in range(4):
            line.append([_PERMUTATION[word] for word in line[-1]])
    return left, right


_LEFT_WORDS, _RIGHT_WORDS = _word_orders()


def _mix(round_number: int, x: int, y: int, z: int) -> int:
    if round_number == 0:
        return x ^ y ^ z
    if round_number == 1:
        return x & y | ~x & z
    if round_number == 2:
        return (x | ~y) ^ z
    if round_number == 3:
        return x & z | y & ~z
    return x ^ (y | ~z)


def _rotate(value: int, count: int) -> int:
    value &= _MASK
    return (value << count | value >> 32 - count) & _MASK


def _line(
    state: tuple[int, ...],
    block: tuple[int, ...],
    orders: list[list[int]],
    constants: tuple[int, ...],
    mixes: tuple[int, ...],
) -> tuple[int, ...]:
    a, b, c, d, e = state
    for round_number, order in enumerate(orders):
        for word in order:
            rotation = _ROTATIONS[round_number][word]
            value = a + _mix(mixes[round_number], b, c, d) + block[word] + constants[round_number]
            a, e, d, c, b = e, d, _rotate(c, 10), b, (_rotate(value, rotation) + e) & _MASK
    return a, b, c, d, e


def _compress(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    left = _line(state, block, _LEFT_WORDS, _LEFT_CONSTANTS, (0, 1, 2, 3, 4))
    right = _line(state, block, _RIGHT_WORDS, _RIGHT_CONSTANTS, (4, 3, 2, 1, 0))
    return tuple((state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5))
