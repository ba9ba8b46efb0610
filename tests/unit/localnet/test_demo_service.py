"""The test backend's gRPC side over real sockets (spec/relayer.md §9)."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from localnet.backend.demo_service import BrokenMessage, block, first_number
from localnet.backend.server import BackendServer
from localnet.http_server import AddressTaken


@pytest.fixture(scope="module")
def server() -> Iterator[BackendServer]:
    with BackendServer(grpc_address="127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def channel(server: BackendServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_address) as made:
        yield made


def test_the_demo_methods(channel: grpc.Channel) -> None:
    def ask(method: str, message: bytes = b"") -> bytes:
        return channel.unary_unary(f"/demo.DemoService/{method}")(message, timeout=5)

    assert ask("GetBlockHeight") == bytes.fromhex("0801")
    assert ask("HealthCheck") == b"\x08\x01\x12\x02ok"
    got = ask("GetBlock", b"\x08\xac\x02")
    assert got.startswith(b"\x08\xac\x02\x12\x08hash-300\x18") and got.endswith(b"\x22\x06tx-300")


def test_blocks_in_a_stream(channel: grpc.Channel) -> None:
    call = channel.unary_stream("/demo.DemoService/StreamBlocks")
    blocks = list(call(b"\x08\x05", metadata=[("x-demo-blocks", "3")], timeout=5))
    assert [first[:2] for first in blocks] == [b"\x08\x05", b"\x08\x06", b"\x08\x07"]


def test_messages_come_back_with_metadata_and_status(channel: grpc.Channel) -> None:
    metadata = [("x-status", "5"), ("x-text", "no such thing"), ("x-raw-bin", b"\x00\xff")]
    call = channel.stream_stream("/test.TestService/Status")(iter([b"a", b""]), metadata=metadata, timeout=5)
    assert next(call) == b"a" and next(call) == b""
    with pytest.raises(grpc.RpcError):
        next(call)
    assert (call.code(), call.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
    assert ("x-raw-bin", b"\x00\xff") in [tuple(pair) for pair in call.initial_metadata()]
    assert ("t-x-text", "no such thing") in [tuple(pair) for pair in call.trailing_metadata()]


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        ("/demo.DemoService/GetBlock", b"\xff", grpc.StatusCode.INTERNAL),
        ("/demo.DemoService/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("/other.Service/Method", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_refusals(channel: grpc.Channel, method: str, message: bytes, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method)(message, timeout=5)
    assert caught.value.code() is code


def test_calls_are_counted(server: BackendServer, channel: grpc.Channel) -> None:
    server.backend.counters.reset()
    channel.unary_unary("/test.TestService/Echo")(b"x", timeout=5)
    assert server.backend.counters.to_json()["requests"] == [
        {"protocol": "grpc", "method": "/test.TestService/Echo", "requests": 1}
    ]


def test_a_taken_address(server: BackendServer) -> None:
    with pytest.raises(AddressTaken):
        BackendServer(grpc_address=server.grpc_address)


def test_numbers() -> None:
    assert first_number(b"") == 0
    assert first_number(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") == (1 << 64) - 1
    assert block(0, 0) == b"\x12\x06hash-0\x22\x04tx-0"
    for broken in (b"\x08", b"\x08\x80", b"\x10\x01", b"\x08\x01\x01", b"\x08" + b"\xff" * 10 + b"\x01"):
        with pytest.raises(BrokenMessage):
            first_number(broken)
