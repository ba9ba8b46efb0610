"""A gateway of the default chain that signs whatever a test wants, sound or not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localnet.default_genesis import named_key
from pocket_chain.queries import ChainQueries
from pocket_protocol import relay as relay_protocol
from pocket_protocol.address import address_of
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.envelope import HttpRequest, decode_http_response, encode_http_request
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.ring import sign_ring
from pocket_protocol.signer import verify
from pocket_protocol.types import ApplicationAddress
from relay_cli.relay.client import fresh_scalars
from relay_cli.relay.relay_session import RelaySession, SessionSource
from tests.integration.raw_http import RawAnswer, post

JSON_CALL = b'{"id":1,"jsonrpc":"2.0","method":"eth_blockNumber","params":[]}'


@functools.cache
def curve() -> Curve:
    return load_curve()


def public_key(role: str) -> bytes:
    """The public key of a role of the default chain, of `gateway1` or `stranger` say."""
    return named_key(role).public_key(curve())


def address(role: str) -> str:
    return str(address_of(named_key(role).public_key(curve())))


def json_call(url: str = "/", **changes: Any) -> HttpRequest:
    fields: dict[str, Any] = {
        "method": "POST",
        "url": url,
        "headers": (("Content-Type", ("application/json",)),),
        "body": JSON_CALL,
    }
    return HttpRequest(**(fields | changes))


class Sender:
    """Signs for the applications of the services given, in sessions of the chain at `height`."""

    def __init__(self, grpc_address: str, services: Sequence[str], height: int) -> None:
        self.queries = ChainQueries(grpc_address, True, 5)
        self.height = height
        self._sources = {
            service: SessionSource(self.queries, ApplicationAddress(address(f"app{number}")), service)
            for number, service in enumerate(services, 1)
        }

    def session(self, service: str, height: int | None = None) -> RelaySession:
        return self._sources[service].at(height or self.height)

    def request(
        self,
        service: str,
        *,
        inner: HttpRequest | None = None,
        payload: bytes | None = None,
        header: Mapping[str, Any] | None = None,
        supplier: str = "supplier1",
        signer: str = "gateway1",
        ring: Sequence[bytes] | None = None,
        height: int | None = None,
    ) -> RelayRequest:
        """Return a signed request; `header` replaces header fields before signing, `ring` the ring's members."""
        session = self.session(service, height)
        request = RelayRequest(
            payload=encode_http_request(inner or json_call()) if payload is None else payload
        )
        request.meta.session_header.CopyFrom(session.header)
        for name, value in (header or {}).items():
            setattr(request.meta.session_header, name, value)
        request.meta.supplier_operator_address = address(supplier)
        return self.sign(request, signer, ring or session.ring)

    def sign(self, request: RelayRequest, signer: str, ring: Sequence[bytes]) -> RelayRequest:
        """Put a fresh signature of `signer` on a request."""
        request.meta.signature = b""
        message = relay_protocol.signable_request(request)
        secret = named_key(signer).reveal()
        request.meta.signature = sign_ring(curve(), message, secret, list(ring), fresh_scalars())
        return request

    def post(self, service: str, *headers: str, **changes: Any) -> bytes:
        """Return the HTTP bytes of a signed relay."""
        return post(relay_protocol.encode_request(self.request(service, **changes)), "Rpc-Type: 3", *headers)


def check_good(answer: RawAnswer | None, supplier: str = "supplier1") -> bytes:
    """Assert a signed 200 whose service answered 200; return the service's body."""
    assert answer is not None, "no answer"
    assert answer.status == 200, answer.body
    response = relay_protocol.decode_response(answer.body)
    signable = relay_protocol.signable_response(response)
    assert verify(curve(), public_key(supplier), signable, response.meta.supplier_operator_signature)  # type: ignore[arg-type]
    inner = decode_http_response(response.payload)
    assert inner.status_code == 200, inner
    return inner.body


Change = Callable[[bytearray], None]


def changed(request: RelayRequest, change: Change) -> RelayRequest:
    """Return a request whose signature bytes were changed."""
    signature = bytearray(request.meta.signature)
    change(signature)
    request.meta.signature = bytes(signature)
    return request
