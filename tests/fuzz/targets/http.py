"""A client's bytes on the relay port, through the worker's own code; what was understood is compared.

The first byte: in what pieces they come, and on which port. Both ways through the front end read the same bytes: where
both see relays, they see the same ones, and the direct way sees none that the other refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.config import Config

from pocket_protocol.relay import encode_request
from relayer_web.app import create_app
from relayer_web.backends.contract import EndpointReport
from relayer_web.config import RelayerConfig
from relayer_web.connection import ConnectionLimits, Shell
from relayer_web.handover import HTTP2_PREFACE, HTTP2_REFUSAL
from relayer_web.http_head import HeadLimits
from relayer_web.inbound import Answer, Inbound
from relayer_web.sweeper import Sweeper
from relayer_web.websocket.handshake import BAD_REQUEST, Upgrade, accept, asked_service
from relayer_web.websocket.peer import MAX_MESSAGE_BYTES
from relayer_web.worker import RelayGeventWorker
from tests.echo_front_end import EchoFrontEnd
from tests.fuzz.corpus import recorded_files
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.http_reference import undoubted_requests
from tests.fuzz.targets.memory_socket import PIECES, MemorySocket
from tests.integration.raw_http import post
from tests.unit.relayer_web.relay_world import config_for, relay_request

LIMITS = ConnectionLimits(HeadLimits(max_header_count=20, max_header_bytes=2000, max_url_bytes=500), 4000)
STATUSES = frozenset({100, 200, 204, 400, 404, 405, 408, 413, 414, 417, 431, 501, 503, 505})
HEALTH = 8  # bit of the first byte: the health port
ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3}) [A-Za-z' -]+(?:\r\n|$)")
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)(?=\r\n|$)")
Seen = tuple[bytes, str, bool]


class ListeningFrontEnd(EchoFrontEnd):
    """Notes what it is to serve."""

    def __init__(self, config: RelayerConfig) -> None:
        super().__init__(config)
        self.seen: list[Seen] = []

    def serve(self, inbound: Inbound) -> Answer:
        self.seen.append((inbound.body, inbound.headers.get("rpc-type", ""), inbound.oversize))
        return Answer(200, [("Content-Type", "application/json")], b"{}")

    def serve_websocket(self, upgrade: Upgrade) -> Answer | None:
        asked_service(upgrade)
        accepted = accept(upgrade, MAX_MESSAGE_BYTES)
        if accepted is None:
            return BAD_REQUEST
        protocol, response = accepted
        protocol.send_response(response)
        upgrade.sock.sendall(b"".join(protocol.data_to_send()))
        protocol.receive_data(upgrade.received)
        list(protocol.events_received())
        return None

    def endpoints(self, service_id: str) -> list[EndpointReport]:
        return []


class NotedLog:
    """The worker's log: a connection that fails is a find."""

    def debug(self, text: str, *_: Any) -> None:
        return

    def exception(self, text: str, *_: Any) -> None:
        raise  # the error being handled, out of the handler that would have kept it


class Listener:
    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8080)


class Side:
    """A worker that takes all requests one way."""

    def __init__(self, direct: bool) -> None:
        self.front_end = ListeningFrontEnd(config_for("redis://127.0.0.1:1"))
        self._listeners = [Listener(), Listener()]
        worker = self._worker = RelayGeventWorker.__new__(RelayGeventWorker)
        worker.cfg, worker.log, worker.sockets = Config(), NotedLog(), self._listeners
        worker.wsgi = create_app(self.front_end)
        sweeper = Sweeper(lambda: False)
        worker.shell = Shell(
            limits=LIMITS,
            relay=self.front_end.serve,
            websocket=self.front_end.serve_websocket,
            on_unanswered=self.front_end.unanswered,
            sweeper=sweeper,
            is_stopping=lambda: False,
            direct=direct,
        )
        self._sweeper = sweeper

    def hear(self, data: bytes, piece: int, *, health: bool) -> tuple[bytes, list[Seen]]:
        """Return what was answered, and what reached the relay function."""
        self.front_end.seen = []
        sock = MemorySocket(data, piece)
        self._worker.handle(self._listeners[health], sock, ("10.0.0.1", 1234))
        assert len(self._sweeper) == 0 and self._worker.shell.buffered_bytes == 0, "something is left behind"
        return bytes(sock.sent), self.front_end.seen


@contextmanager
def opened() -> Iterator[Attempt]:
    direct, flask = Side(direct=True), Side(direct=False)

    def attempt(data: bytes) -> bool:
        choice, rest = (data[0], data[1:]) if data else (0, b"")
        piece, health = PIECES[choice % len(PIECES)], bool(choice & HEALTH)
        answered, seen = direct.hear(rest, piece, health=health)
        check_answers(answered, rest)
        answered, others = flask.hear(rest, piece, health=health)
        check_answers(answered, rest)
        compare(seen, others)
        clear = undoubted_requests(rest)
        assert max(len(seen), len(others)) <= clear + oversized(seen, others), f"{clear} requests are clear"
        return bool(seen)

    yield attempt


def oversized(*sides: list[Seen]) -> int:
    """A request that is refused for its size is told to the relay function before its body has come."""
    return int(any(one[2] for seen in sides for one in seen))


def compare(seen: list[Seen], others: list[Seen]) -> None:
    assert seen[: len(others)] == others[: len(seen)], f"{seen!r:.300} and {others!r:.300}"


def check_answers(answered: bytes, asked: bytes) -> None:
    """Whole answers of known statuses and nothing else, but for what is no HTTP/1.1."""
    if answered == HTTP2_REFUSAL:
        assert HTTP2_PREFACE in asked
        return
    if b"HEAD" in asked or answered.startswith(b"HTTP/1.1 101"):
        return
    rest = answered
    while rest:
        head, end, rest = rest.partition(b"\r\n\r\n")
        found = ANSWER.match(head)
        assert end and found, "not an answer"
        status = int(found[1])
        assert status in STATUSES, status
        lengths = LENGTH.findall(head)
        assert len(lengths) == (status not in (100, 204)), lengths
        length = int(lengths[0]) if lengths else 0
        assert length <= len(rest), "an answer is cut off"
        rest = rest[length:]


def seeds() -> list[bytes]:
    body = encode_request(relay_request())
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    requests = [
        post(body, "Rpc-Type: 3"),
        post(body, "Rpc-Type: 3") * 3,
        post(b"", method="GET", target="/health"),
        post(b"", method="GET", target="/ready/svc?a=b"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n" + post(b"abc"),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked + post(b"next"),
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + bytes(5000),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0",
        b"GET /svc HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n\x82\x80\0\0\0\0",
        HTTP2_PREFACE + b"\0\0\0\x04\0\0\0\0\0",
        *recorded_files("gateway/http-path-to-relayer.bin", 16384),
        *recorded_files("localnet/relays/http-*/*outer*request*", 8192),
    ]
    return [bytes((choice,)) + request for request in requests for choice in (0, 1, 4, HEALTH)]


WORDS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"Content-Length: 3\r\n",
    b"Content-Length: +3\r\n",
    b"Content-Length: 0003\r\n",
    b"Content_Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: keep-alive, close\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: b\r\n",
    b"Upgrade: h2c\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"GET",
    b"HEAD",
    b"CONNECT",
    b"OPTIONS *",
    b"http://a/",
    b"//",
    b"%00",
    b"0\r\n\r\n",
    b"0;a=b\r\n",
    b"0x3\r\n",
    b"ffffffffffffffff\r\n",
    b"Trailer: a\r\n",
)
HTTP = Target(seeds, opened, WORDS)
