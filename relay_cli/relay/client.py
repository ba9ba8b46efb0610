"""A gateway in small: builds a relay, signs it with the ring, sends it, and verifies who answered.

Used by `relay`, by the load test and by `demo` (spec/relayer.md §8, spec/gateway.md §2, spec/signatures.md §4, §8).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pocket_protocol import relay as relay_protocol
from pocket_protocol.curve import Curve
from pocket_protocol.envelope import HttpRequest, HttpResponse, encode_http_request
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.ring import sign_ring
from pocket_protocol.signer import PrivateKey, verify
from relay_cli.relay.grpc_connection import GrpcConnection
from relay_cli.relay.http_connection import RelayerConnection
from relay_cli.relay.outcome import NO_HTTP, AnswerInvalid, RelayOutcome, RelayTimes, read_payload
from relay_cli.relay.relay_session import LOG, RelaySession, Sessions
from relay_cli.relay.socket_connection import SocketConnection

RPC_TYPES: Final = {"grpc": 1, "websocket": 2, "jsonrpc": 3, "rest": 4, "cometbft": 5}
Connection = RelayerConnection | SocketConnection | GrpcConnection


@dataclass(frozen=True, slots=True)
class InnerRequest:
    """What the service is asked: an HTTP request, and the transport it is for (a key of `RPC_TYPES`).

    A WebSocket message is only the request's body.
    """

    transport: str
    http: HttpRequest

    @property
    def payload(self) -> bytes:
        return self.http.body if self.transport == "websocket" else encode_http_request(self.http)


def json_request(transport: str, body: bytes, path: str = "/") -> InnerRequest:
    """Return a POST of JSON to a path of the service."""
    headers = (("Content-Type", ("application/json",)),)
    return InnerRequest(transport, HttpRequest("POST", path, headers, body))


def default_body(method: str) -> bytes:
    """Return the JSON-RPC call of `method` without parameters, keys sorted."""
    call = {"id": 1, "jsonrpc": "2.0", "method": method, "params": []}
    return json.dumps(call, separators=(",", ":"), sort_keys=True).encode()


def fresh_scalars() -> Iterator[bytes]:
    """Yield 32 random bytes at a time, for one signature."""
    while True:
        yield os.urandom(32)


@dataclass(frozen=True, slots=True)
class SignedRelay:
    """A relay ready to be sent."""

    encoded: bytes
    session: RelaySession
    supplier: str
    build_s: float


class RelayClient:
    """Signs with `key` for the source's application. Safe to share between threads; connections are not.

    `headers` are sent with every relay, beside those every relay has.
    """

    def __init__(
        self, source: Sessions, key: PrivateKey, curve: Curve, headers: Mapping[str, str] | None = None
    ) -> None:
        self.source = source
        self.headers = dict(headers or {})
        self._key, self._curve = key, curve

    def connect(self, url: str, transport: str, timeout_s: float) -> Connection:
        """Return a connection to a relayer for one thread, not open yet. Raises ValueError for a URL that is none."""
        if transport == "websocket":
            return SocketConnection(url, timeout_s, self.headers)
        if transport == "grpc":
            return GrpcConnection(url, timeout_s, self.headers)
        return RelayerConnection(url, timeout_s)

    def sign(self, session: RelaySession, supplier: str, request: InnerRequest) -> SignedRelay:
        """Return a signed relay to `supplier`. Two relays of one request differ by their signatures alone.

        Raises `CannotSignRing` when the key is no member of the session's ring.
        """
        started = time.perf_counter()
        message = RelayRequest(payload=request.payload)
        message.meta.session_header.CopyFrom(session.header)
        message.meta.supplier_operator_address = supplier
        signable = relay_protocol.signable_request(message)
        secret = self._key.reveal()
        message.meta.signature = sign_ring(self._curve, signable, secret, session.ring, fresh_scalars())
        encoded = relay_protocol.encode_request(message)
        return SignedRelay(encoded, session, supplier, time.perf_counter() - started)

    def send(self, connection: Connection, relay: SignedRelay, transport: str) -> RelayOutcome:
        """Send a relay and verify the answer.

        Raises `RelayUndelivered`, `RelayRefused`, `AnswerInvalid`; what the service itself said is for the caller
        (`check_service_answer`).
        """
        service_id = self.source.service_id
        started = time.perf_counter()
        if isinstance(connection, SocketConnection):
            body = connection.exchange(service_id, relay.supplier, relay.encoded)
        elif isinstance(connection, GrpcConnection):
            body = connection.exchange(relay.encoded)
        else:
            rpc_type = str(RPC_TYPES[transport])
            headers = {"Content-Type": "application/x-protobuf", "Rpc-Type": rpc_type, **self.headers}
            body = connection.exchange(service_id, relay.encoded, headers)
        answered = time.perf_counter()
        LOG.debug("%s answered %d bytes with %d", relay.supplier, len(relay.encoded), len(body))
        is_http = not isinstance(connection, SocketConnection)
        outcome = self.verified(relay, body, is_http=is_http)
        times = RelayTimes(relay.build_s, answered - started, time.perf_counter() - answered)
        return replace(outcome, times=times)

    def verified(self, relay: SignedRelay, body: bytes, *, is_http: bool = True) -> RelayOutcome:
        """Check that the relay's supplier signed this answer for this session, payload and all.

        Raises `AnswerInvalid`. Unless `is_http`, the payload is the service's message itself.
        """
        try:
            response = relay_protocol.decode_response(body)
            relay_protocol.validate_response(response)
        except Malformed as error:
            raise AnswerInvalid(f"not a relay response: {error}") from error
        if response.meta.session_header != relay.session.header:
            raise AnswerInvalid("the answer is for another session")
        if response.payload_hash and response.payload_hash != hashlib.sha256(response.payload).digest():
            raise AnswerInvalid("the payload is not the one that was signed")
        key = self.source.account_key(relay.supplier)
        signable = relay_protocol.signable_response(response)
        signature = response.meta.supplier_operator_signature
        if not key or not verify(self._curve, key, signable, signature):
            raise AnswerInvalid("the supplier's signature does not fit")
        header, payload = relay.session.header, response.payload
        http = read_payload(payload) if is_http else HttpResponse(NO_HTTP, (), payload)
        return RelayOutcome(
            supplier=relay.supplier,
            session_id=header.session_id,
            session_end=header.session_end_block_height,
            times=RelayTimes(0, 0, 0),
            size_bytes=len(body),
            payload=response.payload,
            response=http,
        )
