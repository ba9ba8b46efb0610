"""WebSocket frames of either side, and the messages of a gateway and a backend through a whole bridge."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from pocket_protocol import relay as relay_protocol
from pocket_protocol.signer import verify
from relayer_web.inbound import Inbound
from relayer_web.websocket.bridge import Bridge
from relayer_web.websocket.peer import MAX_MESSAGE_BYTES, Message, Peer, TooMuchUnfinished, Unfinished
from tests.fuzz.corpus import recorded_files, spread
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.memory_socket import PIECES, MemorySocket
from tests.fuzz.targets.messages import relay_seeds
from tests.fuzz.targets.relay_stage import RelayStage, relay_stage
from tests.unit.relayer_web.relay_world import SERVICE, public_key, relay_request, the_curve

URI = parse_uri("ws://x")
BACKEND = 8  # bit of the first byte: the frames are a backend's
UNMASKED = bytes(4)
WAIT_S = 10.0
PATIENCE_S = 0.02
RAW, MESSAGE, SOUND, CUT = range(4)
MAX_PARTS = 6
UNANSWERED = "ha_relayer_relays_unanswered_total"


def client_protocol() -> Protocol:
    return ClientProtocol(URI, state=OPEN, max_size=MAX_MESSAGE_BYTES)


def server_protocol() -> Protocol:
    return ServerProtocol(state=OPEN, max_size=MAX_MESSAGE_BYTES)


@contextmanager
def opened_frames() -> Iterator[Attempt]:
    unfinished = Unfinished(limit_bytes=2000)

    def attempt(data: bytes) -> bool:
        choice, rest = (data[0], data[1:]) if data else (0, b"")
        sock = MemorySocket(rest, PIECES[choice % len(PIECES)])
        from_backend = bool(choice & BACKEND)
        ours, theirs = client_protocol, server_protocol
        if not from_backend:
            ours, theirs = theirs, ours
        peer = Peer(sock, ours(), unfinished)  # type: ignore[arg-type]
        messages: list[Message] = []
        whole = whole_messages(ours(), rest)
        try:
            for opcode, message in peer.messages():
                messages.append((opcode, message))
                peer.send(opcode, message[:1000])
            assert messages == whole, "other messages than were sent"
            peer.close(1000, "done")
            peer.drain()
        except (TooMuchUnfinished, OSError):
            assert messages == whole[: len(messages)], "other messages than were sent"
        finally:
            peer.release()
        assert unfinished.held_bytes == 0, "memory is still counted"
        check_sent(theirs(), bytes(sock.sent), [(opcode, message[:1000]) for opcode, message in messages])
        return bool(messages)

    with patch("relayer_web.websocket.peer.SMALL_BYTES", 64):  # also small messages count as unfinished
        yield attempt


def whole_messages(protocol: Protocol, received: bytes) -> list[Message]:
    """The messages in these bytes, put together from the protocol's frames."""
    protocol.receive_data(received)
    messages: list[Message] = []
    parts: list[Frame] = []
    for event in protocol.events_received():
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            parts.append(event)
            if event.fin:
                messages.append((parts[0].opcode, b"".join(bytes(part.data) for part in parts)))
                parts = []
    return messages


def check_sent(protocol: Protocol, sent: bytes, messages: list[tuple[Opcode, bytes]]) -> None:
    """What we sent must be frames the other side can read, and among them the answers."""
    protocol.receive_data(sent)
    frames = [event for event in protocol.events_received() if isinstance(event, Frame)]
    if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
        if Opcode.TEXT in (opcode for opcode, _ in messages):  # text that is no UTF-8 is passed on as it came
            return
        raise AssertionError(f"unreadable frames were sent: {protocol.parser_exc}")
    answers = [
        (frame.opcode, bytes(frame.data)) for frame in frames if frame.opcode in (Opcode.TEXT, Opcode.BINARY)
    ]
    assert answers == messages[: len(answers)], "another message was sent than wanted"


def client_frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """A frame masked with zeros, so that a changed byte is a changed byte."""
    head = bytes(((0x80 if fin else 0) | opcode,))
    size = len(data)
    if size < 126:
        head += bytes((0x80 | size,))
    else:
        head += bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    return head + UNMASKED + data


def frame_seeds() -> list[bytes]:
    sound = relay_protocol.encode_request(relay_request())
    streams = [
        client_frame(sound) * 2,
        (client_frame(sound[:50], fin=False) + client_frame(sound[50:], Opcode.CONT)) * 2,
        client_frame(b"abc", Opcode.BINARY)
        + client_frame(b"", Opcode.PING)
        + client_frame(b"x", Opcode.PONG),
        client_frame(b"\x03\xe8bye", Opcode.CLOSE),
        client_frame(b"\x03", Opcode.CLOSE),
        client_frame(b"\xff\xfe"),
        b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
        b"\x82\xfe\xff\xff" + UNMASKED + bytes(100),
        b"\x01\x80" + UNMASKED + b"\x89\x80" + UNMASKED + b"\x80\x80" + UNMASKED,
        *recorded_files("gateway/ws-*-path-to-relayer.bin", 8192),
    ]
    backend = [
        Frame(Opcode.TEXT, b"{}").serialize(mask=False),
        Frame(Opcode.BINARY, b"x" * 200).serialize(mask=False),
    ]
    seeds = [bytes((choice,)) + stream for stream in streams for choice in (0, 1, 5)]
    return seeds + [bytes((BACKEND | choice,)) + stream for stream in backend for choice in (0, 1)]


class PatientSocket(MemorySocket):
    """Does not end before it was spoken to, or for a moment."""

    def __init__(self, received: bytes, patience_s: float) -> None:
        super().__init__(received, 65536)
        self._patience_s = patience_s
        self._spoken_to = threading.Event()

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        if not data:
            self._spoken_to.wait(self._patience_s)
        return data

    def sendall(self, data: bytes) -> None:
        super().sendall(data)
        self._spoken_to.set()


class FarBackend:
    """The other end of the backend's connection: says what it is told, then answers the close frame."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[socket.socket, bytes] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def connect(self, says: bytes) -> socket.socket:
        """Return our end of a new connection."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(WAIT_S)
        self._orders.put((theirs, says))
        return ours

    def stop(self) -> None:
        self._orders.put(None)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            sock, says = order
            with sock:
                try:
                    self._serve(sock, says)
                except OSError:
                    continue

    def _serve(self, sock: socket.socket, says: bytes) -> None:
        protocol = server_protocol()
        if says:
            sock.sendall(says)
        while data := sock.recv(65536):
            protocol.receive_data(data)
            protocol.events_received()
            if protocol.close_rcvd is not None or protocol.parser_exc is not None:
                return


@contextmanager
def opened_bridge() -> Iterator[Attempt]:
    """Parts between bars. The first byte of each: the backend's bytes, or the client's as one of `client_part`."""
    with relay_stage() as stage:
        far = FarBackend()

        def attempt(data: bytes) -> bool:
            said, backend_says, may_be_answered = b"", b"", False
            for part in data.split(b"||")[:MAX_PARTS]:
                kind, rest = (part[0], part[1:]) if part else (0, b"")
                if kind & 1:
                    backend_says += rest
                else:
                    said += client_part(kind >> 1, rest)
                    may_be_answered |= kind >> 1 & 3 in (SOUND, CUT)
            return bridged(stage, far, said, backend_says, may_be_answered and bool(backend_says))

        yield attempt
        far.stop()


def client_part(kind: int, rest: bytes) -> bytes:
    """Raw bytes, a message that is no relay, a sound relay with this payload, or that in two fragments."""
    kind, opcode = kind & 3, Opcode.BINARY if kind & 4 else Opcode.TEXT
    if kind == RAW:
        return rest
    if kind == MESSAGE:
        return client_frame(rest, opcode)
    relay = relay_protocol.encode_request(relay_request(payload=rest))
    if kind == SOUND:
        return client_frame(relay, opcode)
    return client_frame(relay[:50], opcode, fin=False) + client_frame(relay[50:], Opcode.CONT)


def bridged(stage: RelayStage, far: FarBackend, said: bytes, backend_says: bytes, wait: bool) -> bool:
    """Run a bridge to its end; True when a relay was answered."""
    unfinished = Unfinished(limit_bytes=1 << 20)
    sock = PatientSocket(said, PATIENCE_S if wait else 0.0)
    client = Peer(sock, server_protocol(), unfinished)  # type: ignore[arg-type]
    backend = Peer(far.connect(backend_says), client_protocol(), unfinished)
    handshake = Inbound(b"", {}, f"10.1.{len(said) % 256}.{stage.served % 256}", "websocket")
    Bridge(SERVICE, handshake, client, backend, stage.world.runtime).run()
    assert unfinished.held_bytes == 0, "memory is still counted"
    answered = answers_in(bytes(sock.sent))
    unanswered = stage.world.metric(UNANSWERED, service_id=SERVICE)  # mined, and the client was gone
    stage.served += answered + int(unanswered - stage.unanswered)
    stage.unanswered = unanswered
    stage.attempted()
    return answered > 0


def answers_in(sent: bytes) -> int:
    protocol = client_protocol()
    protocol.receive_data(sent)
    count = 0
    for event in protocol.events_received():
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
            response = relay_protocol.decode_response(bytes(event.data))
            signable = relay_protocol.signable_response(response)
            signature = response.meta.supplier_operator_signature
            assert verify(the_curve(), public_key("supplier"), signable, signature)
            count += 1
    return count


def bridge_seeds() -> list[bytes]:
    sound = relay_protocol.encode_request(relay_request(payload=b'{"id":1}'))
    answer = b"||\1" + Frame(Opcode.TEXT, b'{"result":1}').serialize(mask=False)
    call, binary, cut = b'\4{"id":1}', b'\x0c{"id":1}', b'\6{"id":1}'
    close = b"||\0" + client_frame(b"\x03\xe8", Opcode.CLOSE)
    return [
        b"\0" + client_frame(sound),
        call,
        call + answer,
        call + b"||" + binary + answer * 3,
        cut + answer,
        call + b"||\0" + client_frame(b"", Opcode.PING) + answer,
        call + answer + close,
        call + b"||\1\x88\x02\x03\xe8",
        call + b"||\1\x88\x04\x0f\xa3no",
        call + b"||\1\x81\x00",
        call + b"||\1\x81\x7f" + (1 << 40).to_bytes(8, "big"),
        *(b"\2" + message for message in spread(relay_seeds(), 30) if len(message) < 4000),
    ]


WORDS = (
    UNMASKED,
    b"||",
    b"\x81\x80",
    b"\x82\xfe",
    b"\x82\xff",
    b"\x88\x82",
    b"\x89\x80",
    b"\x00\x80",
    b"\xc1\x80",
    b"\x03\xe8",
)
FRAMES = Target(frame_seeds, opened_frames, WORDS)
BRIDGE = Target(bridge_seeds, opened_bridge, WORDS, 4096)
