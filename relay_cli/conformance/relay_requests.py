"""Checks of signable_bytes.json, and of requests as they come: what arrived, what is signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from pocket_protocol import canonical, relay
from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.wire import Undecodable
from relay_cli.conformance.check import Case, Context, VectorFile

_META, _SIGNATURE = 1, 2  # field numbers


def received(data: bytes) -> tuple[str, str]:
    """Return (re-encoded request, signable bytes) in hex of a request as it came, or ("refused", "refused").

    The network does not look whether texts are UTF-8; we refuse those that are not, as it allows
    (spec/chain.md §0.5), so for them the answer comes from the decoder that does not look either.
    """
    try:
        request = relay.decode_request(data)
        return relay.encode_request(request).hex(), relay.signable_request_bytes(request).hex()
    except Undecodable:
        pass
    descriptor: Any = RelayRequest.DESCRIPTOR
    try:
        tree = canonical.parse(descriptor, data)
    except Undecodable:
        return "refused", "refused"
    encoded = canonical.write(descriptor, tree).hex()
    tree.get(_META, {}).pop(_SIGNATURE, None)
    return encoded, canonical.write(descriptor, tree).hex()


def hashed(signable: str) -> str:
    """Return sha256 of hex bytes, in hex; "refused" stays."""
    return signable if signable == "refused" else sha256(bytes.fromhex(signable)).hexdigest()


def refusal(check: Any, message: object) -> str:
    """Return the text with which `check` refuses `message`; "" when it does not."""
    try:
        check(message)
    except PocketError as error:
        return str(error)
    return ""


def contained(name: str, cases: Iterator[Case]) -> Iterator[Case]:
    """Yield `cases`; when an input among them cannot be read, one failed case and the end of these alone."""
    try:
        yield from cases
    except (PocketError, ValueError, LookupError, TypeError, AttributeError) as error:
        yield Case(f"{name} readable", "readable", f"{type(error).__name__}: {error}")


def _vector_cases(vector: Mapping[str, Any]) -> Iterator[Case]:
    label = vector["label"]
    _, signable = received(bytes.fromhex(vector["in"]))
    yield Case(f"{label}: refused", "unmarshal_error" in vector, signable == "refused")
    if "signable_bytes" in vector:
        yield Case(f"{label}: signable_bytes", vector["signable_bytes"], signable)
        yield Case(f"{label}: signable_hash", vector["signable_hash"], hashed(signable))


def _check_vectors(vectors: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for vector in vectors:
        yield from contained(vector["label"], _vector_cases(vector))


SIGNABLE_BYTES = VectorFile(
    "signable_bytes",
    {"_about": Context(), "vectors": _check_vectors},
    {"vectors.unmarshal_error": "the text of another decoder; that it refuses is checked"},
)
