"""Addresses: RIPEMD-160 of SHA-256 of a public key, written in bech32 (spec/chain.md §2, BIP-173).

Texts of errors are those of the chain's own parser, since clients and logs quote them.
"""

from __future__ import annotations

import functools
import hashlib

from pocket_protocol.curve import POINT_SIZE
from pocket_protocol.errors import Malformed
from pocket_protocol.ripemd160 import ripemd160
from pocket_protocol.types import Address

ACCOUNT_PREFIX = "pokt"
VALIDATOR_PREFIX = "poktvaloper"
CONSENSUS_PREFIX = "poktvalcons"
ADDRESS_SIZE = 20
MAX_ADDRESS_SIZE = 255
CHECKSUM_SIZE = 6
MAX_TEXT_SIZE = 1023

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


class BadAddress(Malformed):
    """Text that is no address of the wanted kind; the detail is the chain's."""

    reason = "bad_address"
    summary = "invalid address"


def address_of(public_key: bytes) -> Address:
    """Return the account address of a 33-byte public key."""
    return encode_bech32(ACCOUNT_PREFIX, address_bytes(public_key))


def address_bytes(public_key: bytes) -> bytes:
    """Return the 20 address bytes of a 33-byte public key. Raises `BadAddress` for another length."""
    if len(public_key) != POINT_SIZE:
        raise BadAddress(f"public key of {len(public_key)} bytes")
    return ripemd160(hashlib.sha256(public_key).digest())


def module_address(module: str) -> Address:
    """Return the account address of a chain module: the first 20 bytes of SHA-256 of its name."""
    return encode_bech32(ACCOUNT_PREFIX, hashlib.sha256(module.encode()).digest()[:ADDRESS_SIZE])


@functools.lru_cache(maxsize=4096)  # 30 µs, and every relay names the same few
def parse_address(text: str, prefix: str = ACCOUNT_PREFIX) -> bytes:
    """Return the 1..255 bytes an address stands for; all upper case is allowed, 20 bytes are not demanded.

    Raises `BadAddress`. Source: spec/chain.md §2.
    """
    if not text.strip():
        raise BadAddress("empty address string is not allowed")
    found, payload = decode_bech32(text)
    if found != prefix:
        raise BadAddress(f"invalid Bech32 prefix; expected {prefix}, got {found}")
    if not payload:
        raise BadAddress("addresses cannot be empty: unknown address")
    if len(payload) > MAX_ADDRESS_SIZE:
        raise BadAddress(f"address max length is {MAX_ADDRESS_SIZE}, got {len(payload)}: unknown address")
    return payload


def encode_bech32(prefix: str, payload: bytes) -> Address:
    """Return `payload` in bech32 (checksum constant 1, not bech32m); `prefix` is lower-case ASCII."""
    groups = _to_groups(payload)
    return Address(f"{prefix}1{''.join(_CHARSET[group] for group in groups)}{_checksum(prefix, groups)}")


def decode_bech32(text: str) -> tuple[str, bytes]:
    """Return (prefix, payload) of bech32 text. Raises `BadAddress`."""
    prefix, characters = _split(text)
    groups = []
    for character in characters:
        if character not in _VALUES:
            raise _refusal(f"invalid character not part of charset: {ord(character)}")
        groups.append(_VALUES[character])
    expected, actual = _checksum(prefix, groups[:-CHECKSUM_SIZE]), characters[-CHECKSUM_SIZE:]
    if expected != actual:
        raise _refusal(f"invalid checksum (expected {expected} got {actual})")
    return prefix, _from_groups(groups[:-CHECKSUM_SIZE])


def _refusal(detail: str) -> BadAddress:
    return BadAddress(f"decoding bech32 failed: {detail}")


def _split(text: str) -> tuple[str, str]:
    size = len(text.encode("utf-8", "surrogatepass"))
    if not 8 <= size <= MAX_TEXT_SIZE:
        raise _refusal(f"invalid bech32 string length {size}")
    for character in text:
        if not 33 <= ord(character) <= 126:
            raise _refusal(f"invalid character in string: {character!r}")
    if text not in (text.lower(), text.upper()):
        raise _refusal("string not all lowercase or all uppercase")
    text = text.lower()
    separator = text.rfind("1")
    if separator < 1 or separator + CHECKSUM_SIZE + 1 > len(text):
        raise _refusal(f"invalid separator index {separator}")
    return text[:separator], text[separator + 1 :]


def _checksum(prefix: str, groups: list[int]) -> str:
    expanded = (
        [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]
    )
    state = 1
    for value in (*expanded, *groups, *([0] * CHECKSUM_SIZE)):
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                state ^= generator
    state ^= 1
    return "".join(_CHARSET[state >> 5 * (CHECKSUM_SIZE - 1 - i) & 31] for i in range(CHECKSUM_SIZE))


def _to_groups(payload: bytes) -> list[int]:
    """Split into 5-bit groups, the last one padded with zero bits."""
    count = -(-len(payload) * 8 // 5)
    number = int.from_bytes(payload, "big") << count * 5 - len(payload) * 8
    return [number >> 5 * (count - 1 - i) & 31 for i in range(count)]


def _from_groups(groups: list[int]) -> bytes:
    """Join 5-bit groups; fewer than five bits of zero padding may be left over."""
    size, left_over = divmod(len(groups) * 5, 8)
    number = 0
    for group in groups:
        number = number << 5 | group
    if left_over > 4 or number & (1 << left_over) - 1:
        raise _refusal("invalid incomplete group")
    return (number >> left_over).to_bytes(size, "big")
