"""The independent backend, on the pure Python `ecdsa` package: second opinion in tests, and a slow fallback.

Not constant time: with real keys only where the operator allows it (spec/signatures.md §9).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ecdsa import SECP256k1, SigningKey, VerifyingKey
from ecdsa.ellipticcurve import INFINITY as NO_POINT
from ecdsa.ellipticcurve import PointJacobi
from ecdsa.errors import MalformedPointError
from ecdsa.keys import BadSignatureError
from ecdsa.util import sigencode_string_canonize

from pocket_protocol.curve import (
    FIELD_PRIME,
    INFINITY,
    ORDER,
    POINT_SIZE,
    check_point,
    hash_to_curve,
)
from pocket_protocol.recently_used import RecentlyUsed

MEMBER_LIMIT = 1024
IMAGE_LIMIT = 1024


class Member(NamedTuple):
    """A ring member ready for use: P and H_p(P)."""

    point: Any
    hashed: Any


class PythonCurve:
    """`Curve` on the `ecdsa` package."""

    name = "ecdsa"

    def __init__(self) -> None:
        self._members: RecentlyUsed[bytes, Member] = RecentlyUsed(MEMBER_LIMIT)
        self._images: RecentlyUsed[bytes, Any] = RecentlyUsed(IMAGE_LIMIT)

    def randomize(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("the seed is 32 bytes")

    def is_point(self, encoded: bytes) -> bool:
        return _parse(encoded) is not None

    def public_key(self, secret: bytes) -> bytes:
        return _encode(SECP256k1.generator * _secret_scalar(secret))

    def multiply(self, scalar: int, point: bytes) -> bytes:
        parsed = _decode(point)
        return _encode(_sum(scalar % ORDER, parsed, 0, parsed))

    def ring_points(self, public_key: bytes, key_image: bytes, s: int, c: int) -> tuple[bytes, bytes]:
        member = self._members.get(public_key) or self._remember_member(public_key)
        image = self._images.get(key_image) or _decode(key_image)
        left = _encode(_sum(s, SECP256k1.generator, c, member.point))
        return left, _encode(_sum(s, member.hashed, c, image))

    def note_verified(self, public_keys: Sequence[bytes], key_image: bytes) -> None:
        self._images.put(key_image, _decode(key_image))

    def sign_digest(self, secret: bytes, digest: bytes) -> bytes:
        if len(digest) != 32:
            raise ValueError("the digest is 32 bytes")
        key = SigningKey.from_secret_exponent(_secret_scalar(secret), curve=SECP256k1)
        signature: bytes = key.sign_digest_deterministic(
            digest, hashfunc=hashlib.sha256, sigencode=sigencode_string_canonize
        )
        return signature

    def verify_digest(self, public_key: bytes, digest: bytes, r: int, s: int) -> bool:
        if len(digest) != 32:
            raise ValueError("the digest is 32 bytes")
        try:
            if len(public_key) != POINT_SIZE:
                return False
            key = VerifyingKey.from_string(public_key, curve=SECP256k1, valid_encodings=("compressed",))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            return bool(key.verify_digest(signature, digest))
        except (BadSignatureError, MalformedPointError):
            return False

    def _remember_member(self, public_key: bytes) -> Member:
        point = _decode(public_key)
        member = Member(point, _decode(hash_to_curve(public_key, self.is_point).point))
        self._members.put(public_key, member)
        return member


def _secret_scalar(secret: bytes) -> int:
    scalar = int.from_bytes(secret, "big")
    if len(secret) != 32 or not 0 < scalar < ORDER:
        raise ValueError("the secret is 32 bytes, in 1..N-1")
    return scalar


def _parse(encoded: bytes) -> Any | None:
    if len(encoded) != POINT_SIZE or encoded[0] not in (2, 3):
        return None
    x = int.from_bytes(encoded[1:], "big")
    if x >= FIELD_PRIME:
        return None
    square = (x * x * x + 7) % FIELD_PRIME
    y = pow(square, (FIELD_PRIME + 1) // 4, FIELD_PRIME)
    if y * y % FIELD_PRIME != square:
        return None
    if y & 1 != encoded[0] & 1:
        y = FIELD_PRIME - y
    return PointJacobi(SECP256k1.curve, x, y, 1, ORDER)


def _decode(encoded: bytes) -> Any:
    point = _parse(encoded)
    if point is None:
        check_point(encoded, lambda candidate: _parse(candidate) is not None)
    return point


def _encode(point: Any) -> bytes:
    if point == NO_POINT:
        return INFINITY
    affine = point.to_affine()
    return bytes([2 + (affine.y() & 1)]) + int(affine.x()).to_bytes(32, "big")


def _sum(a: int, first: Any, b: int, second: Any) -> Any:
    """Return a·first + b·second for scalars below N; summands are added apart, so that no case is special."""
    if a == 0 or b == 0:
        return first * a if a else second * b
    return first * a + second * b
