"""Relays to a gRPC service: a call, sending it, its answer checked, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from localnet.backend.behaviour import Counters
from localnet.backend.demo_service import DemoServer
from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest, HttpResponse, decode_http_response
from pocket_protocol.grpc_frames import encode_frame
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.signer import verify
from relayer_web.grpc_relay import SEND_RELAY
from tests.integration.sender import curve, public_key
from tests.integration.stage import Deployment

SERVICE, OTHER = "develop-http", "develop-rest"
HEIGHT = 25
CALL = HttpRequest(
    "POST",
    "/demo.DemoService/GetBlockHeight",
    (("Content-Type", ("application/grpc",)), ("TE", ("trailers",))),
    encode_frame(b""),
)


def with_grpc(demo: DemoServer) -> Callable[[dict[str, Any]], None]:
    def edit(settings: dict[str, Any]) -> None:
        settings["services"][SERVICE]["backends"]["grpc"] = {"url": demo.address}
        settings["services"][OTHER]["backends"]["grpc"] = {"url": "grpc://127.0.0.1:9"}
        settings["extensions"]["client_timeout_seconds"] = 2

    return edit


def send(channel: grpc.Channel, request: RelayRequest | bytes, rpc_type: str = "1") -> bytes:
    body = request if isinstance(request, bytes) else relay_protocol.encode_request(request)
    metadata = [("rpc-type", rpc_type)] if rpc_type else []
    answer: bytes = channel.unary_unary(SEND_RELAY)(body, metadata=metadata, timeout=20, wait_for_ready=True)
    return answer


def inner(answer: bytes, supplier: str = "supplier1") -> HttpResponse:
    """The HTTP answer inside a response, whose signature is checked."""
    response = relay_protocol.decode_response(answer)
    signable = relay_protocol.signable_response(response)
    assert verify(curve(), public_key(supplier), signable, response.meta.supplier_operator_signature)  # type: ignore[arg-type]
    return decode_http_response(response.payload)


def books(network: Deployment) -> tuple[int, int]:
    """Relays mined, and uPOKT charged."""
    return sum(network.streams().values()), sum(network.charges().values())


def grpc_processes(network: Deployment) -> list[int]:
    return network.children_of("relayer", "grpc_server")


def is_under_way(counters: Counters) -> bool:
    """Whether the last call the service got was a slow one."""
    return bool(counters.received) and counters.received[-1]["target"].endswith("/Slow")


def slow_call(delay_ms: int) -> HttpRequest:
    headers = (*CALL.headers, ("X-Delay-Ms", (str(delay_ms),)))
    return HttpRequest("POST", "/test.TestService/Slow", headers, encode_frame(b"late"))
