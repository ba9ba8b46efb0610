"""The fast backend: raw libsecp256k1 calls through the binding of an installed wheel.

Source: spec/signatures.md §10, signatures_speed.md. `coincurve` carries the library for Python below 3.14,
`btclib_libsecp256k1` beyond. Both expose the C functions as (ffi, lib) in a private module, hence the check of
every name used here and the self-test by the loader.

The library aborts the process when it is given a zeroed key struct or a count of 0: no struct is passed here
before it was filled by a call that succeeded. Scalars of zero and sums at infinity, which it reports as
failures, are handled before and after each call, so that the group law is total.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pocket_protocol.curve import (
    GENERATOR,
    INFINITY,
    ORDER,
    POINT_SIZE,
    check_point,
    hash_to_curve,
)
from pocket_protocol.recently_used import RecentlyUsed

FUNCTIONS = (
    "context_create",
    "context_destroy",
    "context_randomize",
    "ec_pubkey_parse",
    "ec_pubkey_serialize",
    "ec_pubkey_create",
    "ec_pubkey_tweak_mul",
    "ec_pubkey_combine",
    "ecdsa_recoverable_signature_parse_compact",
    "ecdsa_recover",
    "ecdsa_sign",
    "ecdsa_signature_parse_compact",
    "ecdsa_signature_serialize_compact",
    "ecdsa_verify",
)
CONTEXT_NONE = 1  # SECP256K1_CONTEXT_NONE
SERIALIZE_COMPRESSED = 258  # SECP256K1_EC_COMPRESSED
MEMBER_LIMIT = 8192  # about 1 KiB each
IMAGE_LIMIT = 4096


class Library(NamedTuple):
    """A loaded binding of libsecp256k1."""

    name: str
    ffi: Any
    lib: Any


def _checked(name: str, module: Any) -> Library:
    for function in FUNCTIONS:
        getattr(module.lib, f"secp256k1_{function}")
    return Library(name, module.ffi, module.lib)


def load_coincurve() -> Library:
    """Return coincurve's binding. Raises ImportError or AttributeError when it is absent or different."""
    from coincurve import _libsecp256k1

    return _checked("coincurve", _libsecp256k1)


def load_btclib() -> Library:
    """Return btclib_libsecp256k1's binding. Raises ImportError or AttributeError when it is absent or different."""
    import _btclib_libsecp256k1

    return _checked("btclib_libsecp256k1", _btclib_libsecp256k1)


LIBRARIES = (load_coincurve, load_btclib)


class Base(NamedTuple):
    """A point P ready for s·G + c·P by public key recovery: x(P) mod N, its bytes, the recovery id."""

    point: Any
    r: int
    r_bytes: bytes
    recovery_id: int


class Member(NamedTuple):
    """A ring member ready for use: P and H_p(P)."""

    base: Base
    hashed: Any
    hashed_bytes: bytes


class _Scratch:
    """C structs for one operation at a time."""

    def __init__(self, ffi: Any) -> None:
        self.first = ffi.new("secp256k1_pubkey *")
        self.second = ffi.new("secp256k1_pubkey *")
        self.sum = ffi.new("secp256k1_pubkey *")
        self.summands = ffi.new("secp256k1_pubkey *[2]", [self.first, self.second])
        self.recoverable = ffi.new("secp256k1_ecdsa_recoverable_signature *")
        self.signature = ffi.new("secp256k1_ecdsa_signature *")
        self.compact = ffi.new("unsigned char[64]")
        self.encoded = ffi.new("unsigned char[33]")
        self.encoded_size = ffi.new("size_t *")
        self.encoded_bytes = ffi.buffer(self.encoded, POINT_SIZE)


class LibraryCurve:
    """`Curve` on libsecp256k1."""

    def __init__(
        self, library: Library, *, member_limit: int = MEMBER_LIMIT, image_limit: int = IMAGE_LIMIT
    ) -> None:
        self.name = library.name
        self._ffi, self._lib = library.ffi, library.lib
        self._context = self._ffi.gc(
            self._lib.secp256k1_context_create(CONTEXT_NONE), self._lib.secp256k1_context_destroy
        )
        self._members: RecentlyUsed[bytes, Member] = RecentlyUsed(member_limit)
        self._images: RecentlyUsed[bytes, Any] = RecentlyUsed(image_limit)
        # Structs are lent, not kept per thread: a greenlet-local would be made anew for each greenlet.
        self._idle: list[_Scratch] = []
        self._generator = self._base(GENERATOR)

    def randomize(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("the seed is 32 bytes")
        self._lib.secp256k1_context_randomize(self._context, seed)

    def is_point(self, encoded: bytes) -> bool:
        return self._images.get(encoded) is not None or self._parse(encoded) is not None

    def public_key(self, secret: bytes) -> bytes:
        scratch = self._borrow()
        if not self._lib.secp256k1_ec_pubkey_create(self._context, scratch.sum, _secret(secret)):
            raise ValueError("the secret is not in 1..N-1")
        encoded = self._encode(scratch, scratch.sum)
        self._idle.append(scratch)
        return encoded

    def multiply(self, scalar: int, point: bytes) -> bytes:
        parsed = self._decode(point)
        scratch = self._borrow()
        encoded = self._sum(scratch, scalar % ORDER, parsed, 0, parsed)
        self._idle.append(scratch)
        return encoded

    def ring_points(self, public_key: bytes, key_image: bytes, s: int, c: int) -> tuple[bytes, bytes]:
        member = self._members.get(public_key) or self._remember_member(public_key)
        image = self._images.get(key_image) or self._decode(key_image)
        scratch = self._borrow()
        left = self._base_sum(scratch, member.base, s, c)
        right = self._sum(scratch, s, member.hashed, c, image)
        self._idle.append(scratch)
        return left, right

    def note_verified(self, public_keys: Sequence[bytes], key_image: bytes) -> None:
        if self._images.get(key_image) is None:
            self._images.put(key_image, self._decode(key_image))

    def sign_digest(self, secret: bytes, digest: bytes) -> bytes:
        if len(digest) != 32:
            raise ValueError("the digest is 32 bytes")
        scratch = self._borrow()
        null = self._ffi.NULL
        lib, context = self._lib, self._context
        if not lib.secp256k1_ecdsa_sign(context, scratch.signature, digest, _secret(secret), null, null):
            raise ValueError("the secret is not in 1..N-1")
        lib.secp256k1_ecdsa_signature_serialize_compact(context, scratch.compact, scratch.signature)
        signature = bytes(self._ffi.buffer(scratch.compact))
        self._idle.append(scratch)
        return signature

    def verify_digest(self, public_key: bytes, digest: bytes, r: int, s: int) -> bool:
        if len(digest) != 32:
            raise ValueError("the digest is 32 bytes")
        key = self._parse(public_key)
        if key is None:
            return False
        lib, context = self._lib, self._context
        signature = self._ffi.new("secp256k1_ecdsa_signature *")
        compact = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if not lib.secp256k1_ecdsa_signature_parse_compact(context, signature, compact):
            return False
        return bool(lib.secp256k1_ecdsa_verify(context, signature, digest, key))

    def _borrow(self) -> _Scratch:
        try:
            return self._idle.pop()
        except IndexError:
            return _Scratch(self._ffi)

    def _parse(self, encoded: bytes) -> Any | None:
        if len(encoded) != POINT_SIZE:
            return None
        point = self._ffi.new("secp256k1_pubkey *")
        return (
            point if self._lib.secp256k1_ec_pubkey_parse(self._context, point, encoded, POINT_SIZE) else None
        )

    def _decode(self, encoded: bytes) -> Any:
        point = self._parse(encoded)
        if point is None:
            check_point(encoded, self.is_point)
        return point

    def _encode(self, scratch: _Scratch, point: Any) -> bytes:
        scratch.encoded_size[0] = POINT_SIZE
        self._lib.secp256k1_ec_pubkey_serialize(
            self._context, scratch.encoded, scratch.encoded_size, point, SERIALIZE_COMPRESSED
        )
        return bytes(scratch.encoded_bytes)

    def _base(self, encoded: bytes) -> Base:
        x = int.from_bytes(encoded[1:], "big")
        r = x % ORDER
        return Base(
            self._decode(encoded), r, r.to_bytes(32, "big"), (encoded[0] & 1) | (2 if x >= ORDER else 0)
        )

    def _remember_member(self, public_key: bytes) -> Member:
        base = self._base(public_key)
        hashed_bytes = hash_to_curve(public_key, self.is_point).point
        member = Member(base, self._decode(hashed_bytes), hashed_bytes)
        self._members.put(public_key, member)
        return member

    def _base_sum(self, scratch: _Scratch, base: Base, s: int, c: int) -> bytes:
        """Return s·G + c·P: the key recovered from (r, c·r) over the message -s·r, r being x(P)."""
        if s == 0 or c == 0 or base.r == 0:
            return self._sum(scratch, s, self._generator.point, c, base.point)
        lib, context = self._lib, self._context
        compact = base.r_bytes + (c * base.r % ORDER).to_bytes(32, "big")
        message = (-s * base.r % ORDER).to_bytes(32, "big")
        lib.secp256k1_ecdsa_recoverable_signature_parse_compact(
            context, scratch.recoverable, compact, base.recovery_id
        )
        # r and c·r are not zero and P is on the curve, so that a failure can only mean infinity.
        if not lib.secp256k1_ecdsa_recover(context, scratch.sum, scratch.recoverable, message):
            return INFINITY
        return self._encode(scratch, scratch.sum)

    def _sum(self, scratch: _Scratch, a: int, first: Any, b: int, second: Any) -> bytes:
        """Return a·first + b·second for scalars below N."""
        if a == 0 and b == 0:
            return INFINITY
        lib, context = self._lib, self._context
        if a:
            scratch.first[0] = first[0]
            lib.secp256k1_ec_pubkey_tweak_mul(context, scratch.first, a.to_bytes(32, "big"))
        if b:
            scratch.second[0] = second[0]
            lib.secp256k1_ec_pubkey_tweak_mul(context, scratch.second, b.to_bytes(32, "big"))
        if not a or not b:
            return self._encode(scratch, scratch.first if a else scratch.second)
        if not lib.secp256k1_ec_pubkey_combine(context, scratch.sum, scratch.summands, 2):
            return INFINITY
        return self._encode(scratch, scratch.sum)


def _secret(secret: bytes) -> bytes:
    if len(secret) != 32:
        raise ValueError("the secret is 32 bytes")
    return secret
