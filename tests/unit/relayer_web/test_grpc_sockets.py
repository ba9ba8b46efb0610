"""The sockets of gRPC processes: found, taken in turn, waited for; and who the client is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from relayer_web.grpc_sockets import PATIENCE_S, GrpcProcessAway, GrpcSockets, peer_address


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def listening(stack: ExitStack, path: Path) -> socket.socket:
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))
    listener.listen()
    return listener


def sockets_of(directory: Path, clock: Clock) -> GrpcSockets:
    return GrpcSockets(str(directory), monotonic=clock.monotonic, sleep=clock.sleep)


def test_processes_are_taken_in_turn_and_dead_ones_passed_over(tmp_path: Path, stack: ExitStack) -> None:
    first, second = listening(stack, tmp_path / "1.sock"), listening(stack, tmp_path / "2.sock")
    listening(stack, tmp_path / "3.sock").close()
    sockets = sockets_of(tmp_path, Clock())
    for _ in range(12):
        stack.enter_context(sockets.connect("192.0.2.1"))
    counts = []
    for listener in (first, second):
        listener.setblocking(False)
        accepted = 0
        while True:
            try:
                stack.enter_context(listener.accept()[0])
            except BlockingIOError:
                break
            accepted += 1
        counts.append(accepted)
    assert sum(counts) == 12 and min(counts) > 0


def test_one_that_is_being_started_is_waited_for(tmp_path: Path, stack: ExitStack) -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 1 and not list(tmp_path.iterdir()):
            listening(stack, tmp_path / "1.sock")

    sockets = GrpcSockets(str(tmp_path), monotonic=clock.monotonic, sleep=sleep)
    stack.enter_context(sockets.connect(""))
    assert 1 < clock.now < PATIENCE_S


@pytest.mark.parametrize("directory", ["", "nowhere"])
def test_nobody_there(tmp_path: Path, directory: str) -> None:
    clock = Clock()
    with pytest.raises(GrpcProcessAway):
        sockets_of(tmp_path / (directory or "empty"), clock).connect("192.0.2.1")
    assert clock.now >= PATIENCE_S


def test_the_listener_sees_whose_connection_it_is(tmp_path: Path, stack: ExitStack) -> None:
    listener = listening(stack, tmp_path / "1.sock")
    sockets = sockets_of(tmp_path, Clock())
    for peer in ("192.0.2.1", "2001:db8::1", ""):
        stack.enter_context(sockets.connect(peer))
        _, name = listener.accept()
        assert peer_address(f"unix-abstract:{name[1:].decode()}") == peer


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("unix-abstract:pocket-peer/2001%3Adb8%3A%3A1/7/8", "2001:db8::1"),
        ("unix-abstract:another", ""),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_peers(peer: str, address: str) -> None:
    assert peer_address(peer) == address


def test_where_grpc_is_not_served_nobody_is_looked_for(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening(stack, tmp_path / "somebody_else_s.sock")
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    with pytest.raises(GrpcProcessAway):
        GrpcSockets("", monotonic=clock.monotonic, sleep=clock.sleep).connect("192.0.2.1")
    assert clock.now == 0
