"""Account keys and their ECDSA signatures: relay responses and transactions (spec/signatures.md §8, §9)."""

from __future__ import annotations

import hashlib
import re
from typing import NoReturn

from pocket_protocol.curve import ORDER, Curve
from pocket_protocol.errors import Malformed
from pocket_protocol.types import PublicKey

SIGNATURE_SIZE = 64
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class BadPrivateKey(Malformed):
    """Not a private key. The text never shows what was given."""

    reason = "bad_private_key"
    summary = "not a private key: 32 bytes in 1..N-1 are needed"


class PrivateKey:
    """A scalar in 1..N-1 that does not show itself: not in repr, not by pickling, not in tracebacks' texts."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Take 32 bytes. Raises `BadPrivateKey`."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise BadPrivateKey
        self._secret = bytes(secret)

    @classmethod
    def from_hex(cls, text: str) -> PrivateKey:
        """Read 64 hex digits, as in key files: optional `0x`, then blanks around trimmed. Raises `BadPrivateKey`."""
        digits = text.removeprefix("0x").strip()
        if not _HEX_KEY.fullmatch(digits):
            raise BadPrivateKey("not a private key: 64 hex digits are needed")
        return cls(bytes.fromhex(digits))

    @classmethod
    def from_secret_text(cls, secret: bytes) -> PrivateKey:
        """Derive (SHA-256(secret) mod (N-1)) + 1, the rule of the ring placeholder (spec/signatures.md §1)."""
        scalar = int.from_bytes(hashlib.sha256(secret).digest(), "big") % (ORDER - 1) + 1
        return cls(scalar.to_bytes(32, "big"))

    def reveal(self) -> bytes:
        """Return the 32 bytes, for the curve and for writing key files."""
        return self._secret

    def public_key(self, curve: Curve) -> PublicKey:
        """Return the 33-byte public key."""
        return PublicKey(curve.public_key(self._secret))

    def __repr__(self) -> str:
        return "PrivateKey()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")


def sign(curve: Curve, key: PrivateKey, message: bytes) -> bytes:
    """Return the account signature r‖s (64 bytes) of `message`: ECDSA over SHA-256(message), RFC 6979, low s."""
    return curve.sign_digest(key.reveal(), hashlib.sha256(message).digest())


def verify(curve: Curve, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the chain accepts `signature` of `message`.

    64 bytes exactly, r and s reduced mod N silently, neither zero, s in the lower half, a decodable key.
    """
    if len(signature) != SIGNATURE_SIZE:
        return False
    r, s = (int.from_bytes(half, "big") % ORDER for half in (signature[:32], signature[32:]))
    if r == 0 or not 0 < s <= ORDER // 2:
        return False
    return curve.verify_digest(public_key, hashlib.sha256(message).digest(), r, s)
