"""secp256k1 as the ring and ECDSA need it: one small interface, its byte rules, and who provides it.

Source: spec/signatures.md §1, §3.2, §8, §10. Two backends implement `Curve`: `curve_libsecp256k1` (fast,
constant time where secrets are used) and `curve_python` (the `ecdsa` package: independent, slow, not constant
time). Points are 33-byte compressed encodings everywhere; the group law is total, and the point at infinity is
written `02` followed by 32 zero bytes, which never decodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pocket_protocol.errors import Malformed, Unavailable

FIELD_PRIME = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GENERATOR = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
INFINITY = b"\x02" + bytes(32)
POINT_SIZE = 33
HASH_TO_CURVE_ATTEMPTS = 128


class NotAPoint(Malformed):
    """Bytes that are not a compressed point of the curve; the text is the reference's."""

    reason = "not_a_point"
    summary = "malformed public key"


class NotHashable(Malformed):
    """No digest of the chain was on the curve (probability 2^-128)."""

    reason = "not_hashable_to_curve"
    summary = "no point found"


class NoCurve(Unavailable):
    """No backend that may be used is installed and sound."""

    reason = "no_curve_backend"
    summary = "no usable secp256k1 backend"


class Curve(Protocol):
    """The operations of one backend. Safe to share between threads and greenlets; make one per process.

    `secret` is a 32-byte scalar in 1..N-1, used in constant time by the fast backend. `scalar` arguments are public
    integers in 0..N-1. Public keys, points and key images are 33-byte encodings; undecodable ones raise `NotAPoint`.
    """

    name: str

    def randomize(self, seed: bytes) -> None:
        """Blind the use of secrets with 32 random bytes: once per process, and again after a fork."""

    def is_point(self, encoded: bytes) -> bool:
        """Tell whether `encoded` decodes."""

    def public_key(self, secret: bytes) -> bytes:
        """Return secret·G."""

    def multiply(self, scalar: int, point: bytes) -> bytes:
        """Return scalar·point, in variable time."""

    def ring_points(self, public_key: bytes, key_image: bytes, s: int, c: int) -> tuple[bytes, bytes]:
        """Return L = s·G + c·P and R = s·H_p(P) + c·I. Keeps what it derives from P in a bounded cache."""

    def note_verified(self, public_keys: Sequence[bytes], key_image: bytes) -> None:
        """Learn that a signature with these members and image verified; only then may its image be kept."""

    def sign_digest(self, secret: bytes, digest: bytes) -> bytes:
        """Return r‖s, 64 bytes: ECDSA of a 32-byte digest, nonce by RFC 6979, s in the lower half."""

    def verify_digest(self, public_key: bytes, digest: bytes, r: int, s: int) -> bool:
        """Tell whether (r, s), both in 1..N-1, sign the 32-byte digest; False for an undecodable key."""


class HashedPoint(NamedTuple):
    """H_p of a key, and how many digests were tried."""

    point: bytes
    attempts: int


def check_point(encoded: bytes, is_point: Callable[[bytes], bool]) -> None:
    """Raise `NotAPoint`, in the reference's words, unless `encoded` decodes (spec/signatures.md §1)."""
    if len(encoded) != POINT_SIZE:
        raise NotAPoint(f"malformed public key: invalid length: {len(encoded)}")
    if encoded[0] not in (2, 3):
        raise NotAPoint(f"invalid public key: unsupported format: {encoded[0]:x}")
    if int.from_bytes(encoded[1:], "big") >= FIELD_PRIME:
        raise NotAPoint("invalid public key: x >= field prime")
    if not is_point(encoded):
        raise NotAPoint(f"invalid public key: x coordinate {encoded[1:].hex()} is not on the secp256k1 curve")


def hash_to_curve(encoded: bytes, is_point: Callable[[bytes], bool]) -> HashedPoint:
    """Return H_p of a 33-byte point: the first SHA3-256 digest of the chain that is an x, with even y.

    Raises `NotHashable` when 128 digests miss. Source: spec/signatures.md §3.2.
    """
    digest = hashlib.sha3_256(encoded).digest()
    for attempt in range(1, HASH_TO_CURVE_ATTEMPTS + 1):
        candidate = b"\x02" + digest
        if is_point(candidate):
            return HashedPoint(candidate, attempt)
        digest = hashlib.sha3_256(digest).digest()
    raise NotHashable(public_key=encoded.hex())


def load_curve(allow_slow_python: bool = False, table_bytes: int = 0, tables_after: int = 0) -> Curve:
    """Return the first backend that is installed and passes the self-test; `name` tells which.

    `table_bytes` above 0 gives often seen keys tables within that much memory (`curve_tables`), per process, each
    after `tables_after` verifications of a ring (0: after the module's own number).

    Imported here and not at the top, so that the pure core loads without any of the libraries. The `ecdsa`
    package comes last and only with leave, since it is slow and not constant time. Raises `NoCurve`.
    """
    from pocket_protocol import curve_libsecp256k1, curve_selftest
    from pocket_protocol.curve_tables import BUILD_AFTER, TableCurve

    failures: list[str] = []
    for load in curve_libsecp256k1.LIBRARIES:
        try:
            library = load()
            curve = (
                TableCurve(library, table_bytes, build_after=tables_after or BUILD_AFTER)
                if table_bytes
                else curve_libsecp256k1.LibraryCurve(library)
            )
            curve_selftest.check(curve)
        except (ImportError, AttributeError, NoCurve) as error:
            failures.append(str(error))
        else:
            return curve
    if not allow_slow_python:
        raise NoCurve(
            "no sound libsecp256k1 binding, and the slow Python curve is not allowed", tried=failures
        )
    from pocket_protocol.curve_python import PythonCurve

    slow = PythonCurve()
    curve_selftest.check(slow)
    return slow
