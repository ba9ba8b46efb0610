"""`relay grpc` against a relayer in miniature: what it sends, what it believes, what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from pocket_protocol.envelope import HttpResponse
from pocket_protocol.grpc_frames import encode_frame
from relay_cli.relay.diagnostic import Diagnosis
from relay_cli.relay.grpc_answer import BLOCK_HEIGHT, block_height, check_grpc_answer, native_request
from relay_cli.relay.grpc_connection import SEND_RELAY, GrpcConnection
from relay_cli.relay.outcome import BackendError, RelayOutcome, RelayRefused, RelayTimes, RelayUndelivered
from relay_cli.relay.service_answer import check_answer

HEIGHT_7 = encode_frame(b"\x08\x07")
OK = ("Grpc-Status", ("0",))


def test_the_default_call_is_the_recorded_one() -> None:
    request = native_request(BLOCK_HEIGHT)
    assert (request.method, request.url, request.body) == (
        "POST",
        "/demo.DemoService/GetBlockHeight",
        bytes(5),
    )
    assert request.headers == (("Content-Type", ("application/grpc",)), ("Te", ("trailers",)))


@pytest.mark.parametrize("name", ["Grpc-Status", "grpc-status", "GRPC-STATUS"])
def test_a_good_answer(name: str) -> None:
    response = HttpResponse(200, ((name, ("0",)),), HEIGHT_7)
    check_answer(response, "grpc")
    assert block_height(response) == 7


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (HttpResponse(200, (), HEIGHT_7), "no Grpc-Status"),
        (
            HttpResponse(200, (("Grpc-Status", ("5",)), ("Grpc-Message", ("no%20such",))), b""),
            "gRPC status 5: no such",
        ),
        (HttpResponse(200, (OK,), b""), "no message"),
        (HttpResponse(200, (OK,), HEIGHT_7[:-1]), "broken"),
        (HttpResponse(200, (OK,), encode_frame(b"x", 1)), "broken"),
        (HttpResponse(500, (OK,), b"{}"), "backend HTTP 500"),
    ],
)
def test_bad_answers(response: HttpResponse, text: str) -> None:
    with pytest.raises(BackendError, match=text):
        check_answer(response, "grpc")


def test_other_transports_need_no_status() -> None:
    check_answer(HttpResponse(200, (), b"{}"), "jsonrpc")
    with pytest.raises(BackendError):
        check_grpc_answer(HttpResponse(200, (), b"{}"))


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0\0\1", encode_frame(b""), encode_frame(b"\x10\x01"), encode_frame(b"\x08\xff")]
)
def test_no_height(body: bytes) -> None:
    assert block_height(HttpResponse(200, (), body)) is None


def test_heights_are_shown() -> None:
    outcome = RelayOutcome("s", "id", 10, RelayTimes(0, 0, 0), 9, b"", HttpResponse(200, (OK,), HEIGHT_7))
    diagnosis = Diagnosis("app", "svc", outcome=outcome, block_height=7)
    assert "Block Height: 7" in diagnosis.lines()
    assert all(line.isprintable() for line in diagnosis.lines())
    assert json.loads(json.dumps(diagnosis.to_json()))["response"]["block_height"] == 7


class Relayer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers SendRelay with what it was sent and the metadata, or refuses."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.refusal: tuple[grpc.StatusCode, str] | None = None

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != SEND_RELAY:
            return None
        self.metadata = dict(details.invocation_metadata)

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.refusal:
                context.abort(*self.refusal)
            return b"answer to " + request

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def relayer() -> Iterator[tuple[Relayer, str]]:
    handler = Relayer()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"http://127.0.0.1:{port}"
    server.stop(0)


def test_a_relay_is_one_call_with_its_type(relayer: tuple[Relayer, str]) -> None:
    handler, url = relayer
    connection = GrpcConnection(url, 5, {"Pocket-Simulation-Key-Id": "k"})
    assert connection.exchange(b"relay") == b"answer to relay"
    assert handler.metadata["rpc-type"] == "1" and handler.metadata["pocket-simulation-key-id"] == "k"
    handler.refusal = (grpc.StatusCode.PERMISSION_DENIED, "relay validation failed: no")
    with pytest.raises(RelayRefused, match="gRPC PERMISSION_DENIED: relay validation failed: no"):
        connection.exchange(b"relay")
    connection.close()


def test_no_relayer_and_no_url() -> None:
    connection = GrpcConnection("grpc://127.0.0.1:9", 5)
    with pytest.raises(RelayUndelivered, match="failed to connect"):
        connection.exchange(b"relay")
    connection.close()
    for url in ("ftp://a:1", "http://", "http://user:secret@a:1"):
        with pytest.raises(ValueError, match="without credentials"):
            GrpcConnection(url, 5)
