"""bLSAG ring signatures of relay requests: parse, verify, sign, and the form that names one signing act.

Source: spec/signatures.md §3.1, §4, §7. The verdicts are the chain's, quirks included: a signature refused by
the chain at proof time costs the supplier a penalty, so nothing it would refuse is accepted here. Everything
here is public data except what `sign_ring` is given; signing is for clients and tests and is not constant time.

    RingMalformed          the bytes are no ring signature (deserialization)
    RingTooLarge           more members than `max_ring_size`
    NotExpectedRing        a member is not in the expected key set
    RingSignatureInvalid   the equation does not close
    RingNotStrict          accepted by the chain, produced by no honest signer (strict mode only)
    CannotSignRing         what the signer was given cannot be signed with
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pocket_protocol.curve import ORDER, POINT_SIZE, Curve, NotAPoint, check_point, hash_to_curve
from pocket_protocol.errors import Malformed, PocketError, Refused

SCALAR_SIZE = 32
COUNT_SIZE = 4
MEMBER_SIZE = SCALAR_SIZE + POINT_SIZE
HEAD_SIZE = COUNT_SIZE + SCALAR_SIZE + POINT_SIZE
MAX_RING_SIZE = 32  # an honest ring: the application, at most 7 gateways, pending undelegations


class RingMalformed(Malformed):
    """The signature cannot be deserialized; the detail is the reference's."""

    reason = "ring_malformed"
    summary = "error deserializing ring signature"


class RingTooLarge(Refused):
    """More members than are verified; the cost is linear in them and spent before any proof of ownership."""

    reason = "ring_too_large"
    summary = "ring signature has too many members"


class NotExpectedRing(Refused):
    """A member key is not one of the application's or its gateways'."""

    reason = "ring_not_expected"
    summary = "ring signature in the relay request does not match the expected one for the app"


class RingSignatureInvalid(Refused):
    """The ring equation does not hold over this message."""

    reason = "ring_signature_invalid"
    summary = "invalid relay request signature or bytes"


class RingNotStrict(Refused):
    """An unusual form that strict mode refuses."""

    reason = "ring_not_strict"
    summary = "unusual ring signature"


class CannotSignRing(Refused):
    """The private key, the ring or the random values do not allow a sound signature."""

    reason = "cannot_sign_ring"
    summary = "cannot sign with this ring"


class RingMember(NamedTuple):
    """One member: its scalar as sent (32 bytes) and its public key (33 bytes)."""

    scalar: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class RingSignature:
    """A signature split at its offsets; nothing is decoded yet."""

    challenge: bytes  # c_0, 32 bytes
    key_image: bytes  # 33 bytes
    members: tuple[RingMember, ...]
    public_keys: tuple[bytes, ...]  # of the members, in ring order
    trailing: bytes


@dataclass(frozen=True, slots=True)
class VerifiedRing:
    """A signature that verified, with the challenge c_i of each member."""

    signature: RingSignature
    challenges: tuple[int, ...]

    def canonical_form(self) -> bytes:
        """Return the same bytes for all encodings of one signing act, as a key against replay.

        Anyone can append bytes, add N to a scalar, start the ring at another member or go round it twice: cut,
        reduced, folded, and started at the smallest (key, scalar). Source: spec/signatures.md §7.
        """
        links = [
            (member.public_key, reduce_scalar(member.scalar).to_bytes(32, "big"), challenge)
            for member, challenge in zip(self.signature.members, self.challenges, strict=True)
        ]
        size = len(links)
        period = next(p for p in range(1, size + 1) if size % p == 0 and links == links[:p] * (size // p))
        start = min(range(period), key=lambda i: links[i:period] + links[:i])
        turned = links[start:period] + links[:start]
        return encode_ring(
            turned[0][2], self.signature.key_image, [RingMember(scalar, key) for key, scalar, _ in turned]
        )


def reduce_scalar(encoded: bytes) -> int:
    """Return a 32-byte big-endian scalar mod N; N and above are reduced silently, as the reference does."""
    return int.from_bytes(encoded, "big") % ORDER


def hash_to_scalar(message: bytes) -> int:
    """Return the challenge scalar: SHA3-512 mod N, its *minimal* bytes padded with zeros on the **right**.

    One hash in 256 is short and thereby multiplied by 256; the network depends on it. Source: §3.1.
    Raises `RingSignatureInvalid` for the padded value above N on which the reference stops (below 2^-120).
    """
    scalar = int.from_bytes(hashlib.sha3_512(message).digest(), "big") % ORDER
    if scalar >> 248 == 0:
        minimal = scalar.to_bytes((scalar.bit_length() + 7) // 8, "big")
        scalar = int.from_bytes(minimal.ljust(SCALAR_SIZE, b"\0"), "big")
        if scalar >= ORDER:
            raise RingSignatureInvalid("challenge out of range")
    return scalar


def parse_ring(signature: bytes, max_ring_size: int = MAX_RING_SIZE) -> RingSignature:
    """Split a signature into its fields; no curve operation and no allocation beyond `max_ring_size` members.

    Raises `RingMalformed` with the reference's detail, or `RingTooLarge`. Source: §4.1, §4.3.
    """
    if len(signature) < COUNT_SIZE:
        raise RingMalformed("error deserializing ring signature: input too short")
    count = int.from_bytes(signature[:COUNT_SIZE], "big")
    if len(signature) < POINT_SIZE * count:
        raise RingMalformed("error deserializing ring signature: input too short")
    if count > max_ring_size:
        raise RingTooLarge(members=count, max_ring_size=max_ring_size)
    end = HEAD_SIZE + MEMBER_SIZE * count
    if len(signature) < end:
        raise _cut_off(signature)
    if count == 0:
        raise RingMalformed("error deserializing ring signature: ring without members")
    key_image_at = COUNT_SIZE + SCALAR_SIZE
    scalars = [signature[at : at + SCALAR_SIZE] for at in range(HEAD_SIZE, end, MEMBER_SIZE)]
    public_keys = [signature[at : at + POINT_SIZE] for at in range(HEAD_SIZE + SCALAR_SIZE, end, MEMBER_SIZE)]
    return RingSignature(
        challenge=signature[COUNT_SIZE:key_image_at],
        key_image=signature[key_image_at:HEAD_SIZE],
        members=tuple(map(RingMember, scalars, public_keys)),
        public_keys=tuple(public_keys),
        trailing=signature[end:],
    )


def encode_ring(challenge: int, key_image: bytes, members: Sequence[RingMember]) -> bytes:
    """Return the wire form, 69 + 65·n bytes. Source: §4.1."""
    head = len(members).to_bytes(COUNT_SIZE, "big") + challenge.to_bytes(SCALAR_SIZE, "big") + key_image
    return head + b"".join(member.scalar + member.public_key for member in members)


def verify_ring(
    curve: Curve,
    message: bytes,
    signature: bytes,
    expected_keys: Collection[bytes],
    *,
    strict: bool = False,
    max_ring_size: int = MAX_RING_SIZE,
) -> VerifiedRing:
    """Verify a relay request's signature over its 32-byte signable hash; raises a leaf of this module if it fails.

    `expected_keys` (33-byte keys, best a frozenset) are those of `ring_members`; every member must be one of
    them, in any order and number. `strict` also refuses trailing bytes, scalars of N and above, rings of one and
    members that repeat; note that the network's client library signs [application, application] where there is
    no gateway. Cheap checks come first. Source: §4.2-4.4, §6.
    """
    ring = parse_ring(signature, max_ring_size)
    if strict:
        refuse_unusual(ring)
    return verify_parsed_ring(curve, message, ring, expected_keys)


def verify_parsed_ring(
    curve: Curve, message: bytes, ring: RingSignature, expected_keys: Collection[bytes]
) -> VerifiedRing:
    """The rest of `verify_ring`, for a signature that was split before."""
    _check_points(curve, ring, expected_keys)
    for index, member in enumerate(ring.members):
        if member.public_key not in expected_keys:
            raise NotExpectedRing(member=index)
    first = challenge = reduce_scalar(ring.challenge)
    challenges = []
    for scalar, public_key in ring.members:
        challenges.append(challenge)
        left, right = curve.ring_points(public_key, ring.key_image, reduce_scalar(scalar), challenge)
        challenge = hash_to_scalar(message + left + right)
    if challenge != first:
        raise RingSignatureInvalid
    curve.note_verified(ring.public_keys, ring.key_image)
    return VerifiedRing(ring, tuple(challenges))


def refuse_unusual(ring: RingSignature) -> None:
    """Raise `RingNotStrict` for forms the chain accepts and no honest gateway sends (§4.4, decisions D10)."""
    if ring.trailing:
        raise RingNotStrict("trailing bytes", length=len(ring.trailing))
    scalars = (ring.challenge, *(member.scalar for member in ring.members))
    if any(int.from_bytes(scalar, "big") >= ORDER for scalar in scalars):
        raise RingNotStrict("scalar not reduced")
    if len(ring.members) < 2:
        raise RingNotStrict("ring of one")
    if len(set(ring.public_keys)) < len(ring.members):
        raise RingNotStrict("repeated member")


def refusal_text(error: PocketError, application_address: str) -> str:
    """Return what the network says for a leaf `verify_ring` raised (codespace `rings`, code 3; §6)."""
    detail = str(error)
    if isinstance(error, NotExpectedRing):
        detail = f"{NotExpectedRing.summary} {application_address}"
    elif isinstance(error, RingSignatureInvalid):
        detail = RingSignatureInvalid.summary
    return f"{detail}: invalid relay request signature"


def sign_ring(
    curve: Curve, message: bytes, private_key: bytes, ring: Sequence[bytes], random_scalars: Iterator[bytes]
) -> bytes:
    """Sign a 32-byte message as one of the keys of `ring` (33 bytes each, in this order).

    `random_scalars` yields 32 fresh random bytes at a time: the nonce u first, then one per other member, cyclically
    from the signer. A nonce used twice gives the private key away. If the signer's key occurs twice, its first place
    signs. Raises `CannotSignRing`. Source: §4.5.
    """
    size = len(ring)
    secret = int.from_bytes(private_key, "big")
    if len(private_key) != SCALAR_SIZE or not 0 < secret < ORDER:
        raise CannotSignRing("private key out of range")
    own = curve.public_key(private_key)
    if size < 2 or own not in ring:
        raise CannotSignRing("a ring of two or more that holds the signer's key is needed", members=size)
    nonce = reduce_scalar(next(random_scalars))
    if nonce == 0:
        raise CannotSignRing("random value is zero")
    signer = ring.index(own)
    hashed = hash_to_curve(own, curve.is_point).point
    key_image = curve.multiply(secret, hashed)
    left, right = curve.public_key(nonce.to_bytes(32, "big")), curve.multiply(nonce, hashed)
    scalars, challenges = [0] * size, [0] * size
    for step in range(1, size):
        index = (signer + step) % size
        challenges[index] = hash_to_scalar(message + left + right)
        scalars[index] = reduce_scalar(next(random_scalars))
        left, right = curve.ring_points(ring[index], key_image, scalars[index], challenges[index])
    challenges[signer] = hash_to_scalar(message + left + right)
    scalars[signer] = (nonce - challenges[signer] * secret) % ORDER
    members = [
        RingMember(scalar.to_bytes(32, "big"), public_key)
        for scalar, public_key in zip(scalars, ring, strict=True)
    ]
    return encode_ring(challenges[0], key_image, members)


def _check_points(curve: Curve, ring: RingSignature, expected_keys: Collection[bytes]) -> None:
    """Decode the key image, and the members that are not expected keys: decodable, they are refused later."""
    foreign = [key for key in ring.public_keys if key not in expected_keys]
    try:
        for encoded in (ring.key_image, *foreign):
            check_point(encoded, curve.is_point)
    except NotAPoint as error:
        raise RingMalformed(f"error deserializing ring signature: {error.detail}") from error


def _cut_off(signature: bytes) -> RingMalformed:
    """The reference's word for a signature that ends within a field: scalars and points take turns."""
    at, size = COUNT_SIZE, SCALAR_SIZE
    while len(signature) >= at + size:
        at += size
        size = POINT_SIZE if size == SCALAR_SIZE else SCALAR_SIZE
    detail = "error deserializing ring signature: "
    if size == SCALAR_SIZE:
        return RingMalformed(f"{detail}invalid scalar length")
    return RingMalformed(f"{detail}malformed public key: invalid length: {len(signature) - at}")
