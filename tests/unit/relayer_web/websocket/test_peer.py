"""One side of a bridge on a real socket."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from relayer_web.websocket.peer import (
    MAX_MESSAGE_BYTES,
    READ_S,
    WRITE_S,
    Message,
    Peer,
    TooMuchUnfinished,
    Unfinished,
)


class Pair(NamedTuple):
    """A peer, and the other end of its socket with a client's protocol."""

    peer: Peer
    sock: socket.socket
    protocol: ClientProtocol
    unfinished: Unfinished

    def say(self, *frames: Frame) -> None:
        for frame in frames:
            self.sock.sendall(frame.serialize(mask=True))

    def heard(self) -> list[Frame]:
        """The frames that have come, at least one."""
        self.protocol.receive_data(self.sock.recv(1 << 20))
        return [event for event in self.protocol.events_received() if isinstance(event, Frame)]


def pair(limit_bytes: int = 1 << 28) -> Pair:
    ours, theirs = socket.socketpair()
    unfinished = Unfinished(limit_bytes=limit_bytes)
    peer = Peer(ours, ServerProtocol(state=OPEN, max_size=MAX_MESSAGE_BYTES), unfinished)
    protocol = ClientProtocol(parse_uri("ws://x"), state=OPEN, max_size=None)
    theirs.settimeout(10)
    return Pair(peer, theirs, protocol, unfinished)


@pytest.fixture
def made() -> Iterator[Pair]:
    one = pair()
    yield one
    one.sock.close()
    one.peer.release()


def reading(peer: Peer) -> tuple[threading.Thread, list[Message]]:
    """Read a peer's messages in a thread."""
    got: list[Message] = []
    thread = threading.Thread(target=lambda: got.extend(peer.messages()), daemon=True)
    thread.start()
    return thread, got


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.sampled_from([Opcode.TEXT, Opcode.BINARY])
)
@settings(max_examples=30, deadline=None)
def test_a_message_is_whole_however_it_was_cut(parts: list[bytes], opcode: Opcode) -> None:
    made = pair()
    thread, got = reading(made.peer)
    for number, part in enumerate(parts):
        kind = opcode if number == 0 else Opcode.CONT
        made.say(Frame(Opcode.PING, b"between"), Frame(kind, part, number == len(parts) - 1))
    made.sock.close()
    thread.join(10)
    assert got == [(opcode, b"".join(parts))]
    made.peer.release()


def test_text_that_is_no_utf_8_is_read_and_sent(made: Pair) -> None:
    thread, got = reading(made.peer)
    made.say(Frame(Opcode.TEXT, b"\xff\xfe\x00"))
    made.peer.send(Opcode.TEXT, b"\x80\x81")
    assert [(frame.opcode, bytes(frame.data)) for frame in made.heard()] == [(Opcode.TEXT, b"\x80\x81")]
    made.sock.close()
    thread.join(10)
    assert got == [(Opcode.TEXT, b"\xff\xfe\x00")]


def test_reading_ends_with_the_close_frame_and_the_rest_is_passed_over(made: Pair) -> None:
    thread, got = reading(made.peer)
    made.say(Frame(Opcode.BINARY, b"a"), Frame(Opcode.CLOSE, Close(4321, "bye").serialize()))
    thread.join(10)
    assert got == [(Opcode.BINARY, b"a")]
    assert made.peer.close_received == Close(4321, "bye")
    [echo] = made.heard()
    assert (echo.opcode, Close.parse(echo.data)) == (Opcode.CLOSE, Close(4321, "bye"))
    drained = threading.Thread(target=made.peer.drain, daemon=True)
    drained.start()
    made.sock.sendall(b"\x82\x80mask")
    made.sock.close()
    drained.join(10)
    assert not drained.is_alive()
    with pytest.raises(OSError):
        made.peer.send(Opcode.BINARY, b"too late")


@pytest.mark.parametrize(
    ("raw", "code", "too_much"),
    [
        (b"\x82\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big") + b"mask", 1009, True),
        (b"\x82\x05hello", 1002, False),  # not masked
        (b"\x83\x80mask", 1002, False),  # no such kind
        (b"\x80\x80mask", 1002, False),  # the rest of nothing
        (b"\xc2\x80mask", 1002, False),  # compressed, though that was declined
    ],
)
def test_broken_rules_are_told_by_their_code(made: Pair, raw: bytes, code: int, too_much: bool) -> None:
    thread, got = reading(made.peer)
    made.sock.sendall(raw)
    [close] = made.heard()
    assert Close.parse(close.data).code == code
    made.sock.close()
    thread.join(10)
    assert (got, made.peer.sent_too_much, made.peer.broke_rules) == ([], too_much, True)


def test_a_vanished_peer_broke_no_rules(made: Pair) -> None:
    thread, _ = reading(made.peer)
    made.sock.close()
    thread.join(10)
    assert (made.peer.has_closed, made.peer.broke_rules, made.peer.close_received) == (True, False, None)


def test_a_peer_is_answered_while_a_slow_write_waits(made: Pair) -> None:
    """A client that writes without reading must not stop the reading of what it writes."""
    thread, got = reading(made.peer)
    writer = threading.Thread(target=made.peer.send, args=(Opcode.BINARY, bytes(8 << 20)), daemon=True)
    writer.start()
    for number in range(20):
        made.say(Frame(Opcode.PING, b"%d" % number), Frame(Opcode.BINARY, bytes(100_000)))
    deadline = time.monotonic() + 10
    while len(got) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert writer.is_alive()
    frames: list[Frame] = []
    while len(frames) < 21:
        frames += made.heard()
    assert [frame.opcode for frame in frames] == [Opcode.BINARY] + [Opcode.PONG] * 20
    writer.join(10)
    made.sock.close()
    thread.join(10)


@pytest.mark.parametrize("size", [0, 2])
def test_a_message_in_tiny_fragments_holds_no_more_than_its_bytes(size: int) -> None:
    """A fragment costs its sender six bytes: what it costs us may not be many times that."""
    first = Frame(Opcode.BINARY, b"", fin=False).serialize(mask=True)
    fragments = Frame(Opcode.CONT, b"x" * size, fin=False).serialize(mask=True) * 10_000
    ours, theirs = socket.socketpair()
    peer = Peer(ours, ServerProtocol(state=OPEN, max_size=MAX_MESSAGE_BYTES), Unfinished())
    sending = threading.Thread(target=theirs.sendall, args=(first + fragments,), daemon=True)
    sending.start()
    tracemalloc.start()
    try:
        messages = peer.messages()
        ended = threading.Thread(
            target=lambda: (sending.join(), theirs.shutdown(socket.SHUT_WR)), daemon=True
        )
        ended.start()
        assert list(messages) == []
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    theirs.close()
    peer.release()
    assert held_bytes < 50_000 + 2 * 10_000 * size


def test_unfinished_messages_share_one_bound() -> None:
    one = pair(limit_bytes=300_000)
    failure: list[Exception] = []

    def read() -> None:
        try:
            list(one.peer.messages())
        except TooMuchUnfinished as error:
            failure.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    other = Peer(socket.socketpair()[0], ServerProtocol(state=OPEN), one.unfinished)
    other._hold(200_000)
    one.sock.sendall(b"\x82\xff" + (MAX_MESSAGE_BYTES).to_bytes(8, "big") + b"mask" + bytes(150_000))
    thread.join(10)
    assert failure
    one.peer.release()
    other.release()
    assert one.unfinished.held_bytes == 0


def test_a_peer_is_stuck_only_while_it_does_not_read(made: Pair) -> None:
    now = time.monotonic()
    assert not made.peer.is_stuck(now + 1000)
    writer = threading.Thread(target=made.peer.send, args=(Opcode.BINARY, bytes(8 << 20)), daemon=True)
    writer.start()
    deadline = time.monotonic() + 10
    while not made.peer.is_stuck(time.monotonic() + WRITE_S + 1):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert not made.peer.is_stuck(now + WRITE_S - 1)
    frames: list[Frame] = []
    while not frames:
        frames += made.heard()
    writer.join(10)
    assert not made.peer.is_stuck(now + 1000)


def test_a_peer_is_silent_only_while_we_listen(made: Pair) -> None:
    now = time.monotonic()
    assert not made.peer.is_silent(now + 1000)
    thread, _ = reading(made.peer)
    deadline = time.monotonic() + 10
    while not made.peer.is_silent(time.monotonic() + READ_S + 1):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert not made.peer.is_silent(now + READ_S - 1)
    made.sock.close()
    thread.join(10)


def test_a_ping_is_one_and_no_close_frame_follows_another(made: Pair) -> None:
    made.peer.ping()
    [ping] = made.heard()
    assert ping.opcode is Opcode.PING
    made.peer.close(4000, "first")
    made.peer.close(4001, "second")
    made.peer.ping()
    made.sock.settimeout(0.2)
    frames = made.heard()
    assert [Close.parse(frame.data) for frame in frames] == [Close(4000, "first")]
    with pytest.raises(TimeoutError):
        made.heard()
