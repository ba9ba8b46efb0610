"""A relayer in miniature behind a real socket: checks the ring signature, answers signed, misbehaves on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from localnet.http_server import HttpServer, Request, Response
from pocket_protocol import relay
from pocket_protocol.curve import Curve
from pocket_protocol.envelope import HttpRequest, HttpResponse, decode_http_request, encode_http_response
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest, RelayResponse
from pocket_protocol.ring import verify_ring
from pocket_protocol.signer import PrivateKey, sign

Spoil = Callable[[RelayResponse], None]


@dataclass
class StandInRelayer:
    """Serves `answer` of the inner request. `spoil` changes the response before, `forge` after it is signed."""

    curve: Curve
    keys: dict[str, PrivateKey]
    ring: Callable[[RelayRequest], list[bytes]]
    answer: Callable[[HttpRequest], HttpResponse] = lambda request: HttpResponse(200, (), b'{"result":1}')
    spoil: Spoil = lambda response: None
    forge: Spoil = lambda response: None
    status: int = 200
    requests: list[tuple[Request, RelayRequest]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = HttpServer("127.0.0.1:0", self._handle, "stand-in")
        self._server.start()
        self.url = f"http://{self._server.address}"

    def stop(self) -> None:
        self._server.stop()

    def _handle(self, http: Request) -> Response:
        request = relay.decode_request(http.body)
        relay.validate_request(request)
        self.requests.append((http, request))
        if self.status != 200:
            return Response(self.status, json.dumps({"error": "no"}).encode())
        verify_ring(self.curve, relay.signable_request(request), request.meta.signature, self.ring(request))
        answer = self.answer(decode_http_request(request.payload))
        response = RelayResponse(payload=encode_http_response(answer))
        response.meta.session_header.CopyFrom(request.meta.session_header)
        response.payload_hash = relay.payload_hash(response.payload)
        self.spoil(response)
        key = self.keys[request.meta.supplier_operator_address]
        response.meta.supplier_operator_signature = sign(self.curve, key, relay.signable_response(response))
        self.forge(response)
        return Response(200, relay.encode_response(response), "application/x-protobuf")
