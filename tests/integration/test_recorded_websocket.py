"""WebSocket and streamed relays recorded on a real network are served again, byte for byte (spec/gateway.md §2-3).

Frames, handshakes, the advisory at the session's end and close frames are those of the recording. Where the
recorded relayer let through what is no relay, ours closes the connection: those cases are named.
"""

from __future__ import annotations

import queue
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Close, Opcode
from websockets.http11 import Request as UpgradeRequest
from websockets.server import ServerProtocol

from localnet.backend.websocket import BackendSocket
from localnet.http_server import HttpServer, Request, Response, Takeover
from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import decode_http_response
from pocket_protocol.errors import Malformed
from relayer_web.streaming import DELIMITER
from tests import recorded
from tests.integration.held_backend import HeldBackend, held_backend
from tests.integration.raw_http import ScriptedBackend, open_connection
from tests.integration.socket_client import Refused, SocketClient
from tests.integration.stage import Deployment
from tests.integration.test_recorded_relays import check_mined, load, names, recorded_network

pytestmark = recorded.needs_recordings

ERRORS_HEIGHT = 825  # their session is 821..830
FRAME_HEAD_BYTES = 2
Said = tuple[Opcode, bytes]


class SocketBackend:
    """Answers each message with what `say` was given next; a close frame's data closes."""

    def __init__(self) -> None:
        self._answers: queue.Queue[list[Said]] = queue.Queue()
        self.received: list[bytes] = []
        self._server = HttpServer("127.0.0.1:0", self._accept, "socket-backend")
        self._server.start()
        self.url = f"ws://{self._server.address}/ws"

    def say(self, *answers: Said) -> None:
        """Answer the next message with these frames."""
        self._answers.put(list(answers))

    def stop(self) -> None:
        self._server.stop()

    def _accept(self, request: Request) -> Response | Takeover:
        def run(sock: socket.socket, received: bytes) -> None:
            protocol = ServerProtocol(max_size=None)
            protocol.receive_data(request.raw_head)
            upgrade = next(e for e in protocol.events_received() if isinstance(e, UpgradeRequest))
            protocol.send_response(protocol.accept(upgrade))
            client = BackendSocket(sock, protocol)
            client.flush()
            client.serve(received, self._answer)

        return Takeover(run)

    def _answer(self, client: BackendSocket, opcode: Opcode, data: bytes) -> None:
        self.received.append(data)
        for kind, payload in self._answers.get(timeout=10):
            if kind is Opcode.CLOSE:
                close = Close.parse(payload)
                client.close(close.code, close.reason)
            else:
                client.send(kind, payload)


@pytest.fixture(scope="module")
def backend() -> Iterator[SocketBackend]:
    made = SocketBackend()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def held() -> Iterator[HeldBackend]:
    with held_backend() as made:
        yield made


@contextmanager
def network_of(
    directory: Path,
    held: HeldBackend,
    backend: SocketBackend,
    requests: list[bytes],
    height: int,
    blocks: int,
    **more: Any,
) -> Iterator[Deployment]:
    http = ScriptedBackend(held.address)
    with recorded_network(
        directory, http, requests, height, blocks, websocket=backend.url, **more
    ) as running:
        yield running


@pytest.fixture(scope="module")
def network(
    tmp_path_factory: pytest.TempPathFactory, held: HeldBackend, backend: SocketBackend
) -> Iterator[Deployment]:
    requests = [
        bytes.fromhex(load(name)["request_hex"])
        for name in [*names("websocket/*.json"), *names("stream/*.json")]
    ]
    requests += [sent for name in names("errors/ws-*.json") for sent in sent_by(load(name))]
    directory = tmp_path_factory.mktemp("recorded")
    with network_of(directory, held, backend, requests, 832, 10) as running:
        yield running


def sent_by(recording: dict[str, Any]) -> list[bytes]:
    sent = recording["sent_hex"]
    texts = [sent] if isinstance(sent, str) else sent
    return [bytes.fromhex(text) if re.fullmatch(r"([0-9a-f]{2})+", text) else text.encode() for text in texts]


def payload_of(response: bytes) -> bytes:
    return relay_protocol.decode_response(response).payload


@pytest.mark.parametrize("name", names("websocket/*.json"))
def test_a_message_is_answered_as_recorded(network: Deployment, backend: SocketBackend, name: str) -> None:
    recording = load(name)
    request, expected = bytes.fromhex(recording["request_hex"]), bytes.fromhex(recording["response_hex"])
    kind = Opcode(recording["response_frame_type"])
    network.tell_height(recording["height"])
    backend.say((kind, payload_of(expected)))
    with SocketClient(network.relayer_address, recording["handshake_request_headers"]) as client:
        assert "sec-websocket-extensions" not in client.headers
        client.send(request, Opcode(recording["request_frame_type"]))
        frame = client.frame()
    assert (frame.opcode, bytes(frame.data)) == (kind, expected)
    assert backend.received[-1] == relay_protocol.decode_request(request).payload
    check_mined(network, request, expected, recording["height"])


# Frames that are no relays reached the recorded backend; here they end the connection (T-WS-RAW).
STRICTER = {"errors/ws-garbage.json", "errors/ws-text-garbage.json"}


@pytest.mark.parametrize("name", names("errors/ws-*.json"))
def test_odd_connections_as_recorded(network: Deployment, backend: SocketBackend, name: str) -> None:
    recording = load(name)
    network.tell_height(ERRORS_HEIGHT)
    before = books(network)
    headers = recording.get("handshake_headers") or {"Pocket-Service-Id": "develop-websocket"}
    if recording.get("handshake_status", 101) != 101:
        with pytest.raises(Refused) as refused:
            SocketClient(network.relayer_address, headers)
        assert refused.value.status == recording["handshake_status"]
        assert refused.value.body == recording["handshake_body"].encode()
        assert refused.value.headers["content-type"] == "application/json"
        return
    expected = [(Opcode(one["opcode"]), bytes.fromhex(one["hex"])) for one in recording["received"]]
    if name in STRICTER:
        expected = [(Opcode.CLOSE, Close(4001, "relay validation failed").serialize())]
    sent = sent_by(recording)
    script_backend(backend, sent, expected)
    opcode = Opcode.TEXT if "text" in name else Opcode.BINARY
    with SocketClient(network.relayer_address, headers) as client:
        for message in sent:
            client.send(message, opcode)
        got = []
        for kind, data in expected:
            if kind is Opcode.BINARY and says_expired(data):
                network.step_to(831)
            frame = client.frame()
            got.append((frame.opcode, bytes(frame.data)))
    assert got == expected
    if not any(is_answer(*one) for one in expected):
        assert books(network) == before


def books(network: Deployment) -> tuple[int, int]:
    """What was charged and mined."""
    return sum(network.charges().values()), sum(network.streams().values())


def is_answer(kind: Opcode, data: bytes) -> bool:
    return kind is not Opcode.CLOSE and not says_expired(data)


def says_expired(data: bytes) -> bool:
    try:
        return relay_protocol.decode_response(data).relay_miner_error.code == 410
    except Malformed:
        return False


def script_backend(backend: SocketBackend, sent: list[bytes], expected: list[Said]) -> None:
    """Have the backend say what made the recorded answers; a close that comes from it is its own."""
    answers = [(kind, payload_of(data)) for kind, data in expected if is_answer(kind, data)]
    own_close = [one for one in expected if one[0] is Opcode.CLOSE and Close.parse(one[1]).code < 4000]
    if len(sent) == 1 and answers + own_close:
        backend.say(*answers, *own_close)
    elif len(sent) > 1:
        for answer in answers:
            backend.say(answer)


@pytest.mark.parametrize("name", names("stream/*.json"))
def test_a_stream_as_recorded(network: Deployment, held: HeldBackend, name: str) -> None:
    """Each batch's lines are said when the one before has arrived: then the batches are the recorded ones."""
    recording = load(name)
    request, expected = bytes.fromhex(recording["request_hex"]), bytes.fromhex(recording["response_hex"])
    meta = recording["response_meta"]
    network.tell_height(recording["height"])
    *batches, tail = expected.split(DELIMITER)
    assert tail == b""
    with open_connection(network.relayer_address) as client:
        client.sendall(recording["request_head"].encode() + request)
        asked = held.next()
        cached = meta["headers"]["Cache-Control"][0]
        asked.begin_stream(headers=b"Cache-Control: " + cached.encode() + b"\r\n")
        stream = client.makefile("rb")
        head = read_head(stream)
        assert head.pop("date")
        assert head == {
            ":status": "HTTP/1.1 200 OK",
            "content-type": "text/event-stream",
            "cache-control": cached,
            "transfer-encoding": "chunked",
            "connection": "close",
        }
        whole = b""
        for batch in batches:
            lines = decode_http_response(payload_of(batch)).body
            whole += lines
            asked.say(lines)
            assert read_chunk(stream) == batch + DELIMITER
        asked.say(b"")
        assert read_chunk(stream) == b""
    assert asked.head.startswith(b"POST /stream/sse HTTP/1.1") or asked.head.startswith(b"POST / HTTP/1.1")
    entry = network.entries(relay_protocol.decode_request(request).meta.supplier_operator_address)[-1]
    assert relay_protocol.payload_hash(whole) in entry.relay_bytes


def read_head(stream: Any) -> dict[str, str]:
    head = {":status": stream.readline().decode().strip()}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        head[name.lower()] = value
    return head


def read_chunk(stream: Any) -> bytes:
    size = int(stream.readline(), 16)
    data: bytes = stream.read(size)
    assert stream.readline() == b"\r\n"
    return data


class GatewayRecording:
    """Both directions of one connection of the real gateway: heads, and frames."""

    def __init__(self, name: str) -> None:
        self.asked_head, self.asked = split(recorded.path(f"gateway/{name}-path-to-relayer.bin").read_bytes())
        self.said_head, self.said = split(recorded.path(f"gateway/{name}-relayer-to-path.bin").read_bytes())

    @property
    def requests(self) -> list[bytes]:
        return [data for kind, data, _ in self.asked if kind in (Opcode.TEXT, Opcode.BINARY)]


def split(stream: bytes) -> tuple[bytes, list[tuple[Opcode, bytes, bytes]]]:
    """Return the head, and (kind, data, raw bytes) of each frame."""
    head, separator, rest = stream.partition(b"\r\n\r\n")
    frames = []
    while rest:
        size, at = rest[1] & 0x7F, FRAME_HEAD_BYTES
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(rest[at : at + width], "big"), at + width
        mask = rest[at : at + 4] if rest[1] & 0x80 else b""
        at += len(mask)
        data = (
            bytes(byte ^ mask[i % 4] for i, byte in enumerate(rest[at : at + size]))
            if mask
            else rest[at : at + size]
        )
        frames.append((Opcode(rest[0] & 0x0F), data, rest[: at + size]))
        rest = rest[at + size :]
    return head + separator, frames


@pytest.mark.parametrize("name", ["ws-two-messages", "ws-session-end", "ws-rebound"])
def test_the_gateway_s_connections(
    tmp_path: Path, held: HeldBackend, backend: SocketBackend, name: str
) -> None:
    """Binary relays in text frames, the advisory in a binary one, close 4000: the bytes the gateway saw.

    The handshakes are signed, and nothing would be answered if their signatures were not found good.
    """
    recording = GatewayRecording(name)
    header = relay_protocol.decode_request(recording.requests[0]).meta.session_header
    start, end = header.session_start_block_height, header.session_end_block_height
    with (
        network_of(
            tmp_path,
            held,
            backend,
            recording.requests,
            start + 5,
            30,
            extensions={"require_signed_handshakes": True},
        ) as running,
        open_connection(running.relayer_address) as connection,
    ):
        running.tell_height(start + 5)
        connection.sendall(recording.asked_head)
        stream = connection.makefile("rb")
        assert stream.read(len(recording.said_head)) == recording.said_head
        asked = iter([raw for kind, _, raw in recording.asked if kind is Opcode.TEXT])
        for kind, data, raw in recording.said:
            if kind in (Opcode.PING, Opcode.PONG):
                continue
            if kind is Opcode.TEXT:
                backend.say((Opcode.TEXT, payload_of(data)))
                connection.sendall(next(asked))
            elif kind is Opcode.BINARY:
                running.step_to(end + 1)
            assert stream.read(len(raw)) == raw
        assert next(asked, None) is None
        assert running.streams() and sum(running.streams().values()) == len(recording.requests)
