"""What a gateway gets back: the backend's answer, wrapped and signed once (decisions D2; spec/relayer.md §1.5)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pocket_protocol import relay as relay_protocol
from pocket_protocol.curve import Curve
from pocket_protocol.envelope import HttpResponse, encode_http_response, grouped_headers
from pocket_protocol.errors import PocketError, Unavailable
from pocket_protocol.pb.pocket.service_pb2 import RelayMinerError, RelayResponse
from pocket_protocol.signer import PrivateKey, sign
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendResponse
from relayer_web.inbound import Answer, Inbound

GZIP_MAGIC: Final = b"\x1f\x8b"
JSON: Final = "application/json"
GZIP_LEVEL: Final = 1


class SigningFailed(Unavailable):
    """The answer could not be signed; without a signature it is worth nothing."""

    reason = "signing_error"
    summary = "failed to sign response"


@dataclass(frozen=True, slots=True)
class SignedResponse:
    """A response and its bytes. The same one is answered and, without its payload, mined."""

    message: RelayResponse
    encoded: bytes


class ResponseSigner:
    """Signs responses with the addressed supplier's key. `key_of(S)` is None for a supplier we cannot sign for."""

    def __init__(self, curve: Curve, key_of: Callable[[str], PrivateKey | None]) -> None:
        self._curve = curve
        self._key_of = key_of

    def sign(self, relay: Relay, payload: bytes) -> SignedResponse:
        """Return the signed response that carries `payload`. Raises `SigningFailed`, also for an empty payload."""
        return self._signed(relay, RelayResponse(payload=payload))

    def sign_hashed(self, relay: Relay, payload_hash: bytes) -> SignedResponse:
        """Return the signed response to a payload of which only the hash is at hand. Raises `SigningFailed`."""
        return self._signed(relay, RelayResponse(payload_hash=payload_hash))

    def sign_error(self, relay: Relay, payload: bytes, code: int, description: str) -> SignedResponse:
        """Return a signed response that says why there will be no more of them. Raises `SigningFailed`."""
        error = RelayMinerError(code=code, description=description)
        return self._signed(relay, RelayResponse(payload=payload, relay_miner_error=error))

    def _signed(self, relay: Relay, response: RelayResponse) -> SignedResponse:
        key = self._key_of(relay.supplier)
        if key is None:
            raise SigningFailed(supplier=relay.supplier)
        response.meta.session_header.CopyFrom(relay.header)
        try:
            if not response.payload_hash:
                response.payload_hash = relay_protocol.payload_hash(response.payload)
            signable = relay_protocol.signable_response(response)
            response.meta.supplier_operator_signature = sign(self._curve, key, signable)
        except PocketError as error:
            raise SigningFailed(supplier=relay.supplier) from error
        return SignedResponse(response, relay_protocol.encode_response(response))


def http_payload(backend: BackendResponse, max_bytes: int) -> bytes:
    """Wrap a backend's HTTP answer. Never empty: its status is in it."""
    headers, body = _plain(backend.headers, backend.body, max_bytes)
    return encode_http_response(HttpResponse(backend.status, grouped_headers(headers), body))


def _plain(
    headers: Sequence[tuple[str, str]], body: bytes, max_bytes: int
) -> tuple[Sequence[tuple[str, str]], bytes]:
    """Undo gzip, said or only seen; the header goes, Content-Length stays as it was (§1.5, T-GZ-LEN)."""
    said = any(
        name.lower() == "content-encoding" and value.strip().lower() == "gzip" for name, value in headers
    )
    if not said and not body.startswith(GZIP_MAGIC):
        return headers, body
    plain = _gunzip(body, max_bytes)
    if plain is None:
        return headers, body
    return [(name, value) for name, value in headers if name.lower() != "content-encoding"], plain


def _gunzip(body: bytes, max_bytes: int) -> bytes | None:
    """All members of a gzip body; None when it is not one or would be larger than `max_bytes`."""
    plain = bytearray()
    rest = body
    try:
        while rest:
            member = zlib.decompressobj(wbits=31)
            plain += member.decompress(rest, max_bytes - len(plain) + 1)
            if len(plain) > max_bytes or not member.eof:
                return None
            rest = member.unused_data.lstrip(b"\0")
    except zlib.error:
        return None
    return bytes(plain)


@dataclass(frozen=True, slots=True)
class Compression:
    """gzip of answers; off unless the operator wants it."""

    enabled: bool = False
    min_bytes: int = 1024


def relay_answer(
    response: SignedResponse, inbound: Inbound, retries: int, compression: Compression
) -> Answer:
    """The HTTP answer of a served relay: always 200, typed as the gateway asked."""
    accept = inbound.headers.get("accept", "").strip()
    headers = [("Content-Type", JSON if accept in ("", "*/*") else accept)]
    body = response.encoded
    if (
        compression.enabled
        and len(body) >= (compression.min_bytes or 1024)
        and _accepts_gzip(inbound.headers)
    ):
        body = gzip.compress(body, compresslevel=GZIP_LEVEL, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    if retries:
        headers.append(("Backend-Retries", str(retries)))
    return Answer(200, headers, body)


def _accepts_gzip(headers: Mapping[str, str]) -> bool:
    return "gzip" in headers.get("accept-encoding", "").lower()
