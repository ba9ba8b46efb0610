"""Checks of ecdsa.json: account signatures byte for byte, and verdicts of the reference's verifier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pocket_protocol.errors import PocketError
from pocket_protocol.signer import PrivateKey, sign, verify
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.shared_curve import shared_curve


def _check_sign(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    curve = shared_curve()
    for index, vector in enumerate(vectors):
        message = bytes.fromhex(vector["msg"])
        try:
            key = PrivateKey.from_hex(vector["priv"])
            public_key, signature = key.public_key(curve).hex(), sign(curve, key, message).hex()
        except PocketError as error:
            public_key = signature = str(error)
        yield Case(f"{index} sha256_msg", vector["sha256_msg"], hashlib.sha256(message).hexdigest())
        yield Case(f"{index} pub", vector["pub"], public_key)
        yield Case(f"{index} sig", vector["sig"], signature)


def _check_verify(vectors: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, vector in enumerate(vectors):
        public_key, message, signature = (bytes.fromhex(vector[field]) for field in ("pub", "msg", "sig"))
        got = verify(shared_curve(), public_key, message, signature)
        yield Case(f"{index} {vector['kind']}", vector["valid"], got)


ECDSA = VectorFile("ecdsa", {"_about": Context(), "sign": _check_sign, "verify": _check_verify})
