"""Checks of ring_signatures.json: verdicts, recomputed signatures, short challenges, points at infinity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pocket_protocol.address import address_bytes, address_of
from pocket_protocol.curve import INFINITY, ORDER, hash_to_curve
from pocket_protocol.errors import PocketError
from pocket_protocol.ring import (
    NotExpectedRing,
    RingMalformed,
    RingSignatureInvalid,
    VerifiedRing,
    reduce_scalar,
    sign_ring,
    verify_ring,
)
from pocket_protocol.ring_members import PLACEHOLDER_SECRET_TEXT
from pocket_protocol.signer import PrivateKey
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.ring_hashes import reduced_hash
from relay_cli.conformance.shared_curve import shared_curve

LARGEST_RING = 64  # the files hold rings beyond what relays are admitted with
STAGES: dict[type, str] = {
    RingMalformed: "deserialize",
    NotExpectedRing: "membership",
    RingSignatureInvalid: "verify",
}


def _public_keys(document: Mapping[str, Any]) -> list[bytes]:
    return [bytes.fromhex(key["pub"]) for key in document["keys"]]


def _expected_keys(vector: Mapping[str, Any], public_keys: Sequence[bytes]) -> frozenset[bytes]:
    extra = (bytes.fromhex(key) for key in vector.get("expected_extra_pubs", ()))
    return frozenset(public_keys[index] for index in vector["expected_set"]).union(extra)


def _verify(vector: Mapping[str, Any], expected_keys: frozenset[bytes]) -> VerifiedRing | PocketError:
    message, signature = bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"])
    try:
        return verify_ring(shared_curve(), message, signature, expected_keys, max_ring_size=LARGEST_RING)
    except PocketError as error:
        return error


def _links(
    vector: Mapping[str, Any], verified: VerifiedRing | PocketError
) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield L, R and the number of missing bytes of the hash over them, for each member of a verified ring."""
    if isinstance(verified, PocketError):
        return
    ring = verified.signature
    for member, challenge in zip(ring.members, verified.challenges, strict=True):
        scalar = reduce_scalar(member.scalar)
        left, right = shared_curve().ring_points(member.public_key, ring.key_image, scalar, challenge)
        yield left, right, 32 - len(reduced_hash(bytes.fromhex(vector["msg"]) + left + right))


def _sign(vector: Mapping[str, Any], document: Mapping[str, Any], ring: Sequence[bytes]) -> str:
    private_key = bytes.fromhex(document["keys"][vector["ring"][vector["signer"]]]["priv"])
    scalars = (bytes.fromhex(scalar) for scalar in vector["rand"])
    try:
        return sign_ring(shared_curve(), bytes.fromhex(vector["msg"]), private_key, ring, scalars).hex()
    except PocketError as error:
        return str(error)


def _check_valid(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    public_keys = _public_keys(document)
    for vector in vectors:
        ring = [public_keys[index] for index in vector["ring"]]
        verified = _verify(vector, frozenset(ring))
        outcome = "" if isinstance(verified, VerifiedRing) else str(verified)
        yield Case(f"{vector['id']} refusal", "", outcome)
        yield Case(f"{vector['id']} sig", vector["sig"], _sign(vector, document, ring))
        short = [count for _, _, count in _links(vector, verified)]
        yield Case(f"{vector['id']} short", vector.get("short", [0] * len(ring)), short)


def _check_unusual(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    public_keys = _public_keys(document)
    for vector in vectors:
        name = f"{vector['id']} {vector['kind']}"
        verified = _verify(vector, _expected_keys(vector, public_keys))
        yield Case(f"{name} accept", vector["accept"], isinstance(verified, VerifiedRing))
        if "infinity" in vector:
            points = [
                f"{label}{index}"
                for index, (left, right, _) in enumerate(_links(vector, verified))
                for label, point in (("L", left), ("R", right))
                if point == INFINITY
            ]
            yield Case(f"{name} infinity", vector["infinity"], points)


def _check_invalid(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    """Where the reference refuses instead of crashing, ours refuses at the same stage with the same text."""
    public_keys = _public_keys(document)
    for vector in vectors:
        name = f"{vector['id']} {vector['kind']}"
        outcome = _verify(vector, _expected_keys(vector, public_keys))
        yield Case(f"{name} accept", vector["accept"], isinstance(outcome, VerifiedRing))
        if vector.get("reference_panics"):
            continue
        yield Case(f"{name} stage", vector["stage"], STAGES.get(type(outcome)))
        if "reference_error" in vector:
            text = str(outcome).removeprefix("error deserializing ring signature: ")
            yield Case(f"{name} reference_error", vector["reference_error"], text)


def _key_fields(private_key: PrivateKey) -> dict[str, object]:
    curve = shared_curve()
    public_key = private_key.public_key(curve)
    hashed = hash_to_curve(public_key, curve.is_point)
    payload = address_bytes(public_key)
    return {
        "priv": private_key.reveal().hex(),
        "pub": public_key.hex(),
        "address20": payload.hex(),
        "address_hex_upper": payload.hex().upper(),
        "bech32": address_of(public_key),
        "hash_to_curve": hashed.point.hex(),
        "hash_to_curve_attempts": hashed.attempts,
        "key_image": curve.multiply(int.from_bytes(private_key.reveal(), "big"), hashed.point).hex(),
    }


def _check_keys(keys: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, key in enumerate(keys):
        fields = _key_fields(PrivateKey.from_hex(key["priv"]))
        for field, expected in key.items():
            if field != "priv":
                yield Case(f"{index} {field}", expected, fields.get(field))


def _check_placeholder(placeholder: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Case]:
    fields = _key_fields(PrivateKey.from_secret_text(PLACEHOLDER_SECRET_TEXT))
    for field, expected in placeholder.items():
        yield Case(field, expected, fields.get(field))


def _check_order(order: str, document: Mapping[str, Any]) -> Iterator[Case]:
    yield Case("curve_order", order, f"{ORDER:064x}")


RING_SIGNATURES = VectorFile(
    "ring_signatures",
    {
        "_about": Context(),
        "curve_order": _check_order,
        "placeholder": _check_placeholder,
        "keys": _check_keys,
        "valid": _check_valid,
        "accepted_unusual": _check_unusual,
        "invalid": _check_invalid,
    },
)
