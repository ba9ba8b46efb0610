"""How many WebSockets a process has, how large their messages are, and what is said of those it does not take."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from relayer_web.inbound import Answer
from relayer_web.websocket import bridges as bridges_module
from relayer_web.websocket.bridges import Bridges, SocketLimits
from relayer_web.websocket.handshake import Upgrade
from relayer_web.websocket.peer import Peer
from tests.unit.relayer_web.relay_world import SERVICE, World, error_of

HEAD = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WAIT_S = 10.0


class Gateway:
    """One connection of a gateway: served in a thread, its other end held by the test."""

    def __init__(self, bridges: Bridges, head: bytes = HEAD, service: str = SERVICE) -> None:
        ours, self.sock = socket.socketpair()
        self.sock.settimeout(WAIT_S)
        self.answer: Answer | None = None
        upgrade = Upgrade(ours, head, b"", {"target-service-id": service}, b"/", "192.0.2.1")

        def serve() -> None:
            self.answer = bridges.serve(upgrade)
            ours.close()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()

    def opened(self) -> Gateway:
        """Return once the connection is a WebSocket."""
        assert self.sock.recv(12) == b"HTTP/1.1 101"
        return self

    def refused(self) -> Answer:
        self._thread.join(WAIT_S)
        assert self.answer is not None
        return self.answer

    def leave(self) -> None:
        self.sock.close()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@contextmanager
def served_with(world: World, monkeypatch: pytest.MonkeyPatch, limits: SocketLimits) -> Iterator[Bridges]:
    """Bridges to a backend that says nothing."""
    far_ends = []
    world.backends.transports.add("websocket")

    def dial(endpoint: Any, identity: Any, dial_s: float, unfinished: Any) -> Peer:
        ours, theirs = socket.socketpair()
        far_ends.append(theirs)
        protocol = ClientProtocol(parse_uri("ws://x"), state=OPEN, max_size=unfinished.message_bytes)
        return Peer(ours, protocol, unfinished)

    monkeypatch.setattr(bridges_module, "dial", dial)
    bridges = Bridges(world.runtime, lambda service: None, lambda service: 1.0, limits)
    bridges.start()
    try:
        yield bridges
    finally:
        bridges.stop()
        for far_end in far_ends:
            far_end.close()


def refusals(world: World, reason: str, service: str = SERVICE) -> float:
    return world.metric("ha_relayer_websocket_refusals_total", service_id=service, reason=reason)


def test_a_full_process_takes_the_next_when_one_has_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_with(world, monkeypatch, SocketLimits(connections=2)) as bridges:
        first, second = Gateway(bridges).opened(), Gateway(bridges).opened()
        answer = Gateway(bridges).refused()
        assert (answer.status, error_of(answer)) == (503, "service temporarily unavailable")
        assert refusals(world, "too_many_connections") == 1
        first.leave()
        third = Gateway(bridges).opened()
        second.leave()
        third.leave()
    assert len(bridges) == 0


def test_a_message_over_the_configured_size_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_with(world, monkeypatch, SocketLimits(message_bytes=2048)) as bridges:
        gateway = Gateway(bridges).opened()
        gateway.sock.sendall(Frame(Opcode.BINARY, bytes(2049)).serialize(mask=True))
        received = b""
        while data := gateway.sock.recv(4096):
            received += data
        frames = received.partition(b"\r\n\r\n")[2]
        assert Close.parse(frames[2:]).code == 1009
        gateway.leave()


@pytest.mark.parametrize(
    ("head", "service", "label", "reason"),
    [
        (HEAD, "", "unknown", "missing_service_id"),
        (HEAD, "nope", "unknown", "unknown_service"),
        (HEAD.replace(b": 13", b": 8"), SERVICE, SERVICE, "malformed_upgrade"),
        (HEAD, "other", "other", "no_backend"),
    ],
)
def test_refusals_are_counted_by_reason(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    service: str,
    label: str,
    reason: str,
) -> None:
    with served_with(world, monkeypatch, SocketLimits()) as bridges:
        if reason == "no_backend":
            world.backends.transports.discard("websocket")
        Gateway(bridges, head, service).refused()
    assert refusals(world, reason, label) == 1


def test_a_process_that_ends_opens_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_with(world, monkeypatch, SocketLimits()) as bridges:
        bridges.drain()
        assert Gateway(bridges).refused().status == 503
    assert refusals(world, "store_unavailable") == 1
