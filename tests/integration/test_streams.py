"""Streamed answers through a real relayer: what arrives when, what is charged and mined (spec/relayer.md §1.6)."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpResponse, decode_http_response
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest
from pocket_protocol.signer import verify
from relayer_web.streaming import DELIMITER
from tests.integration.held_backend import HeldBackend, HeldRequest, held_backend
from tests.integration.raw_http import open_connection, post
from tests.integration.sender import Sender, curve, public_key
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment, wait_until

SERVICE = "develop-http"
TIMEOUT_S = 3


@pytest.fixture(scope="module")
def backend() -> Iterator[HeldBackend]:
    with held_backend() as made:
        yield made


@pytest.fixture(scope="module", params=["direct", "flask"])
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backend: HeldBackend
) -> Iterator[Deployment]:
    def relayer(settings: dict[str, Any]) -> None:
        settings["services"][SERVICE]["backends"]["jsonrpc"] = {"url": f"http://{backend.address}"}
        settings["services"][SERVICE]["timeout_profile"] = "streaming"
        settings["timeout_profiles"] = {"streaming": {"request_timeout_seconds": TIMEOUT_S}}
        settings["default_max_body_size_bytes"] = 2_000_000

    with deployment(
        tmp_path_factory.mktemp(request.param),
        RELAYER,
        relayer=relayer,
        block_time_s=STILL_S,
        front_end_workers=1,
        environment={"POCKET_RELAYER_DIRECT": "1" if request.param == "direct" else "0"},
    ) as running:
        running.step_to(5)
        yield running


@pytest.fixture(scope="module")
def sender(stage: Deployment) -> Sender:
    return Sender(stage.layout.ports.address("grpc"), [SERVICE, "develop-rest"], 5)


class Client:
    """One streamed relay, from the client's side."""

    def __init__(self, stage: Deployment, sender: Sender) -> None:
        self.stage = stage
        self.request: RelayRequest = sender.request(SERVICE)
        self.before = sum(stage.charges().values()), self.mined()
        self.sock: socket.socket = open_connection(stage.relayer_address)
        self.sock.sendall(post(relay_protocol.encode_request(self.request), "Rpc-Type: 3"))
        self.received = b""
        self.answer: http.client.HTTPResponse | None = None

    def begin(self) -> http.client.HTTPResponse:
        self.answer = http.client.HTTPResponse(self.sock, method="POST")
        self.answer.begin()
        return self.answer

    def batch(self) -> bytes:
        """The lines of the next batch, its signature checked."""
        assert self.answer is not None
        while DELIMITER not in self.received:
            more = self.answer.read1()
            assert more, f"ended within a batch: {self.received!r}"
            self.received += more
        encoded, self.received = self.received.split(DELIMITER, 1)
        return self.checked(encoded).body

    def checked(self, encoded: bytes) -> HttpResponse:
        response = relay_protocol.decode_response(encoded)
        assert response.meta.session_header == self.request.meta.session_header
        assert response.payload_hash == relay_protocol.payload_hash(response.payload)
        signable = relay_protocol.signable_response(response)
        signature = response.meta.supplier_operator_signature
        assert verify(curve(), public_key("supplier1"), signable, signature)  # type: ignore[arg-type]
        inner = decode_http_response(response.payload)
        assert not inner.headers
        return inner

    def rest(self) -> list[bytes]:
        """All further batches; the body must end as chunked bodies end."""
        assert self.answer is not None
        self.received += self.answer.read()
        *encoded, tail = self.received.split(DELIMITER)
        assert tail == b""
        return [self.checked(one).body for one in encoded]

    def mined(self) -> int:
        return len(self.stage.entries(self.request.meta.supplier_operator_address))

    def changes(self) -> tuple[int, int]:
        """What was charged and mined since the relay was sent."""
        return sum(self.stage.charges().values()) - self.before[0], self.mined() - self.before[1]

    def leave(self) -> None:
        self.sock.close()
        assert self.answer is not None
        self.answer.close()

    def check_mined_as(self, lines: bytes) -> None:
        """The last entry is this relay, its response signed over all lines together."""
        entry = self.stage.entries(self.request.meta.supplier_operator_address)[-1]
        relay = Relay.FromString(entry.relay_bytes)
        assert relay.req == self.request
        assert relay.res.payload_hash == relay_protocol.payload_hash(lines)
        signable = relay_protocol.signable_response(relay.res)
        signature = relay.res.meta.supplier_operator_signature
        assert verify(curve(), public_key("supplier1"), signable, signature)  # type: ignore[arg-type]

    def check_broken_off(self) -> None:
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            self.rest()

    def check_not_billed(self) -> None:
        wait_until(lambda: self.changes() == (0, 0), "the reservation to be given back")


def start(stage: Deployment, sender: Sender, backend: HeldBackend) -> tuple[Client, HeldRequest]:
    client = Client(stage, sender)
    return client, backend.next()


def begin(stage: Deployment, sender: Sender, backend: HeldBackend) -> tuple[Client, HeldRequest]:
    """As `start`, and both sides are within the stream."""
    client, held = start(stage, sender, backend)
    held.begin_stream()
    client.begin()
    return client, held


def test_lines_arrive_while_the_backend_still_speaks(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    """The tail of a burst does not wait for the next event (T-STREAM-LATE), nor the first chunk for the end."""
    client, held = start(stage, sender, backend)
    held.begin_stream(headers=b"X-Model: m\r\nKeep-Alive: timeout=5\r\nConnection: x-hop\r\nX-Hop: 1\r\n")
    head = client.begin()
    names = {name.lower() for name, _ in head.getheaders()}
    assert (head.status, head.getheader("Content-Type"), head.getheader("X-Model")) == (
        200,
        "text/event-stream",
        "m",
    )
    assert names.isdisjoint({"content-length", "content-encoding", "keep-alive", "x-hop"})
    held.say(b'data: {"n":1}\n')
    held.say(b"\n")
    assert client.batch() == b'data: {"n":1}\n\n'
    assert client.changes()[1] == 0
    held.say(b"data: 2\r\n\r\nda")
    assert client.batch() == b"data: 2\n\n"
    held.say(b"ta: 3")
    held.say(b"")
    assert client.rest() == [b"data: 3\n"]
    charged, mined = client.changes()
    assert (charged > 0, mined) == (True, 1)
    client.check_mined_as(b'data: {"n":1}\n\ndata: 2\n\ndata: 3\n')


def test_a_burst_is_cut_at_100_lines(stage: Deployment, sender: Sender, backend: HeldBackend) -> None:
    client, held = start(stage, sender, backend)
    lines = [b'{"n":%d}\n' % number for number in range(250)]
    body = b"".join(lines)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
    )
    held.sock.sendall(head % len(body) + body)
    answer = client.begin()
    assert answer.getheader("Content-Length") is None  # T-STREAM-CL
    assert client.rest() == [b"".join(lines[:100]), b"".join(lines[100:200]), b"".join(lines[200:])]
    assert client.changes()[1] == 1


def test_an_empty_stream_is_a_plain_relay(stage: Deployment, sender: Sender, backend: HeldBackend) -> None:
    client, held = start(stage, sender, backend)
    held.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n")
    answer = client.begin()
    response = relay_protocol.decode_response(answer.read())
    assert decode_http_response(response.payload).status_code == 200
    assert client.changes()[1] == 1


def test_a_stream_of_500_is_refused_before_its_end(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = start(stage, sender, backend)
    held.sock.sendall(
        b"HTTP/1.1 503 Away\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: "
    )
    answer = client.begin()
    assert (answer.status, answer.read()) == (503, b'{"error":"backend service error"}')
    client.check_not_billed()


def test_a_404_is_streamed_with_its_status(stage: Deployment, sender: Sender, backend: HeldBackend) -> None:
    client, held = start(stage, sender, backend)
    held.sock.sendall(
        b"HTTP/1.1 404 No\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\nno:1\n"
    )
    assert client.begin().status == 404
    assert client.rest() == [b"no:1\n"]
    assert client.changes()[1] == 1


def test_a_backend_that_breaks_off_is_not_billed_and_seen(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = begin(stage, sender, backend)
    held.say(b"data: 1\n")
    held.sock.shutdown(socket.SHUT_RDWR)
    assert client.batch() == b"data: 1\n"
    client.check_broken_off()
    client.check_not_billed()


def test_a_client_that_leaves_is_noticed_though_nothing_is_said(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = begin(stage, sender, backend)
    client.leave()
    started = time.monotonic()
    assert held.is_left()
    assert time.monotonic() - started < TIMEOUT_S - 0.5
    client.check_not_billed()


def test_a_client_that_leaves_early_pays_for_what_it_was_sent(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = begin(stage, sender, backend)
    held.say(b"data: 1\n\n")
    assert client.batch() == b"data: 1\n\n"
    held.say(b"data: 2\n\n")
    assert client.batch() == b"data: 2\n\n"
    client.leave()
    assert held.is_left()
    wait_until(lambda: client.changes()[1] == 1, "the relay to be mined")
    assert client.changes()[0] > 0
    client.check_mined_as(b"data: 1\n\ndata: 2\n\n")


def test_a_client_that_does_not_read_holds_its_backend_back_and_nobody_else(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = begin(stage, sender, backend)
    held.sock.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        for _ in range(2000):
            held.say(b"x" * 65_535 + b"\n")
            sent += 1
    assert sent < 800  # what the kernel's buffers take of 125 MiB
    other, asked = start(stage, sender, backend)
    asked.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert other.begin().status == 200
    client.leave()
    assert held.is_left()


def test_a_line_without_end_ends_the_stream(stage: Deployment, sender: Sender, backend: HeldBackend) -> None:
    client, held = begin(stage, sender, backend)
    held.say(b"data: 1\n" + b"x" * 300_000)
    assert client.batch() == b"data: 1\n"
    client.check_broken_off()
    assert held.is_left()
    client.check_not_billed()


def test_a_stream_ends_with_the_service_s_time(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = begin(stage, sender, backend)
    held.say(b"data: 1\n")
    assert client.batch() == b"data: 1\n"
    client.check_broken_off()
    assert held.is_left()
    client.check_not_billed()


def test_a_backend_connection_is_used_again_after_a_stream(
    stage: Deployment, sender: Sender, backend: HeldBackend
) -> None:
    client, held = start(stage, sender, backend)
    held.begin_stream()
    held.say(b"a\n")
    held.say(b"")
    client.begin()
    assert client.rest() == [b"a\n"]
    again = Client(stage, sender)
    assert backend.next().sock is held.sock
    held.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    response = relay_protocol.decode_response(again.begin().read())
    assert decode_http_response(response.payload).body == b"{}"
