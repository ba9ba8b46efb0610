"""The gRPC service on real sockets, with a relay function that notes what it gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from relayer_web.config import RelayerConfig
from relayer_web.grpc_relay import SEND_RELAY, GrpcAnswer
from relayer_web.grpc_server import RelayServer, RelayService, RequestClock
from relayer_web.grpc_sockets import GrpcSockets
from relayer_web.inbound import Inbound
from tests.unit.relayer_web.relay_world import config_for

PERMISSION_DENIED = 7
SLOW = b"slow"


class Noted:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.calls: list[Inbound] = []
        self.unanswered: list[Inbound] = []
        self.answer = GrpcAnswer(0, message=b"answer")
        self.go_on = threading.Event()
        self.told = threading.Event()

    def serve(self, inbound: Inbound) -> GrpcAnswer:
        self.calls.append(inbound)
        if inbound.body == SLOW:
            self.go_on.wait(5)
        return self.answer

    def note_unanswered(self, inbound: Inbound) -> None:
        self.unanswered.append(inbound)
        self.told.set()


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def config() -> RelayerConfig:
    return replace(config_for("redis://127.0.0.1:1"), default_max_body_size_bytes=100_000)


@pytest.fixture
def address(noted: Noted, config: RelayerConfig, tmp_path: Path) -> Iterator[str]:
    made = f"unix:{tmp_path}/1.sock"
    service = RelayService(noted.serve, RequestClock(60), noted.note_unanswered)
    server = RelayServer(service, [made], config)
    server.start()
    yield made
    server.stop(0)


def test_a_call_is_handed_over_with_what_concerns_the_relay(noted: Noted, address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        answer = channel.unary_unary(SEND_RELAY)(
            b"body", metadata=[("rpc-type", "1"), ("other", "x")], timeout=5
        )
    assert answer == b"answer"
    [inbound] = noted.calls
    assert (inbound.body, inbound.headers, inbound.is_grpc) == (b"body", {"rpc-type": "1"}, True)


def test_refusals_are_statuses(noted: Noted, address: str) -> None:
    noted.answer = GrpcAnswer(PERMISSION_DENIED, "50 % sure\n\u00e9")
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(SEND_RELAY)(b"body", timeout=5)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.value.details() == "50 % sure\n\u00e9"


def test_bodies_over_the_limit_are_not_read(noted: Noted, address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        send = channel.unary_unary(SEND_RELAY)
        assert send(bytes(100_000), timeout=5) == b"answer"
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as refused:
                send(bytes(1_000_000), timeout=5, compression=compression)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(noted.calls) == 1


def test_compressed_requests_are_accepted(noted: Noted, address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(SEND_RELAY)(b"x" * 1000, timeout=5, compression=grpc.Compression.Gzip)
    assert noted.calls[0].body == b"x" * 1000


def test_a_client_that_left_is_noted(noted: Noted, address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(SEND_RELAY).future(SLOW, timeout=5)
        while not noted.calls:
            noted.told.wait(0.01)
        call.cancel()
        channel.unary_unary(SEND_RELAY)(b"after", timeout=5)
    noted.go_on.set()
    assert noted.told.wait(5)
    assert [inbound.body for inbound in noted.unanswered] == [SLOW]


def test_calls_on_their_way_are_finished(noted: Noted, config: RelayerConfig, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/2.sock"
    server = RelayServer(RelayService(noted.serve, RequestClock(60)), [address], config)
    server.start()
    with grpc.insecure_channel(address) as channel:
        late = channel.unary_unary(SEND_RELAY).future(SLOW, timeout=5)
        while not noted.calls:
            noted.told.wait(0.01)
        stopping = threading.Thread(target=server.stop, args=(5,))
        stopping.start()
        noted.go_on.set()
        assert late.result() == b"answer"
        stopping.join(5)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(SEND_RELAY)(b"body", timeout=1)


def test_the_client_s_address_comes_through_the_worker(noted: Noted, address: str, tmp_path: Path) -> None:
    """A worker's connection, and behind it nothing but HTTP/2's first words and a call's headers are needed."""
    sockets = GrpcSockets(str(tmp_path))
    with sockets.connect("2001:db8::7") as sock:
        sock.settimeout(5)
        sock.sendall(bytes.fromhex(FIRST_CALL))
        while not noted.calls:
            assert sock.recv(4096)
    assert noted.calls[0].peer == "2001:db8::7"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> str:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    ).hex()


def _field(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


FIRST_CALL = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".hex()
    + _frame(4, 0, 0, b"")
    + _frame(
        1,
        4,
        1,
        _field(b":method", b"POST")
        + _field(b":scheme", b"http")
        + _field(b":path", SEND_RELAY.encode())
        + _field(b":authority", b"a")
        + _field(b"te", b"trailers")
        + _field(b"content-type", b"application/grpc"),
    )
    + _frame(0, 1, 1, b"\0\0\0\0\4body")
)


class Context:
    """The part of a servicer's context the clock uses."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def test_the_clock_ends_what_waits_too_long() -> None:
    now = [0.0]
    clock = RequestClock(10, lambda: now[0])
    slow, done = Context(), Context()
    with clock.waiting(slow):  # type: ignore[arg-type]
        with clock.waiting(done):  # type: ignore[arg-type]
            now[0] = 9.0
            clock.sweep()
            assert not slow.cancelled
        now[0] = 11.0
        clock.sweep()
    assert (slow.cancelled, done.cancelled) == (True, False)
