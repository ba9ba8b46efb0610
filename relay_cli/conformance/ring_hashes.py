"""Checks of hash_to_curve.json and hash_to_scalar.json: the two hash functions of ring signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pocket_protocol.curve import ORDER, hash_to_curve
from pocket_protocol.errors import PocketError
from pocket_protocol.ring import hash_to_scalar
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.shared_curve import shared_curve


def reduced_hash(data: bytes) -> bytes:
    """Return SHA3-512 mod N in minimal bytes, before it becomes a challenge."""
    number = int.from_bytes(hashlib.sha3_512(data).digest(), "big") % ORDER
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _check_points(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, vector in enumerate(vectors):
        try:
            hashed = hash_to_curve(bytes.fromhex(vector["pub"]), shared_curve().is_point)
            got: tuple[object, object] = (hashed.point.hex(), hashed.attempts)
        except PocketError as error:
            got = (str(error), str(error))
        yield Case(f"{index} point", vector["point"], got[0])
        yield Case(f"{index} attempts", vector["attempts"], got[1])


def _check_scalars(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, vector in enumerate(vectors):
        data = bytes.fromhex(vector["in"])
        try:
            scalar = hash_to_scalar(data).to_bytes(32, "big").hex()
        except PocketError as error:
            scalar = str(error)
        yield Case(f"{index} scalar", vector["scalar"], scalar)
        reduced = reduced_hash(data)
        if "reduced" in vector:
            yield Case(f"{index} reduced", vector["reduced"], reduced.hex())
        yield Case(f"{index} short", vector.get("short", 0), 32 - len(reduced))


HASH_TO_CURVE = VectorFile("hash_to_curve", {"_about": Context(), "vectors": _check_points})
HASH_TO_SCALAR = VectorFile("hash_to_scalar", {"_about": Context(), "vectors": _check_scalars})
