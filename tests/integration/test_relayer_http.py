"""The relay port at the level of HTTP: real gunicorn processes, raw sockets, both ways through the worker.

Every case runs on the direct way and with every request sent through Flask; a client cannot tell them apart.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayer_web.handover import HTTP2_PREFACE
from tests import recorded
from tests.integration.relay_port import BODY_LIMIT, SETTINGS, Client, Reply, chunked, relay
from tests.relayer_process import RelayerProcess, relayer_process

LIMITS = {
    "max_header_count": 20,
    "max_header_bytes": 2048,
    "max_url_bytes": 512,
    "client_timeout_seconds": 1,
}


@pytest.fixture(scope="module", params=["direct", "flask"])
def relayer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelayerProcess]:
    environment = {"POCKET_RELAYER_DIRECT": "1" if request.param == "direct" else "0"}
    directory = tmp_path_factory.mktemp(request.param)
    with relayer_process(directory, settings=SETTINGS, extensions=LIMITS, environment=environment) as running:
        yield running


POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
BAD = {
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "invalid header"),
    "same length twice": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "invalid header"),
    "length list": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400, "invalid header"),
    "signed length": (POST + b"Content-Length: +3\r\n\r\nabc", 400, "invalid header"),
    "negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400, "invalid header"),
    "hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400, "invalid header"),
    "empty length": (POST + b"Content-Length:\r\n\r\nabc", 400, "invalid header"),
    "length that overflows": (POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc", 413, "request body too large"),
    "length and chunked": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400, "invalid header"),
    "chunked and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400, "invalid header"),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\nabc", 400, "invalid header"),
    "coding hidden by a tab": (POST + b"Transfer-Encoding:\tidentity, chunked\x0b\r\n\r\nabc", 400, "invalid header"),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400, None),
    "bad chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 400, "failed to read request body"),
    "negative chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400, "failed to read request body"),
    "chunk longer than it says": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", 400, "failed to read request body"),
    "folded header": (POST + b"X: 1\r\n folded\r\nContent-Length: 3\r\n\r\nabc", 400, None),
    "bare LF lines": (b"POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc", 400, "invalid line ending"),
    "one bare LF": (POST + b"X: 1\nContent-Length: 3\r\n\r\nabc", 400, "invalid line ending"),
    "bare CR in a value": (POST + b"X: a\rb\r\nContent-Length: 3\r\n\r\nabc", 400, "invalid header"),
    "NUL in a value": (POST + b"X: a\0b\r\nContent-Length: 3\r\n\r\nabc", 400, "invalid header"),
    "NUL in the target": (b"POST /\0 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 400, "invalid request"),
    "blank before the colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400, "invalid header name"),
    "blank in a name": (POST + b"Content Length: 3\r\n\r\nabc", 400, "invalid header name"),
    "line without a colon": (POST + b"no-colon\r\n\r\n", 400, "invalid request"),
    "empty name": (POST + b": x\r\n\r\n", 400, "invalid request"),
    "no Host": (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400, "missing Host header"),
    "two Hosts": (POST + b"Host: b\r\nContent-Length: 3\r\n\r\nabc", 400, "invalid header"),
    "HTTP/2.0 in the line": (b"POST / HTTP/2.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 505, "HTTP version not supported"),
    "HTTP/1.7": (b"POST / HTTP/1.7\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 505, "HTTP version not supported"),
    "two blanks in the line": (b"POST / x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid request"),
    "method in lower case": (b"post / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid request method"),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400, "invalid request"),
    "garbage": (b"\xff\xfe\x00\x01 nonsense\r\n\r\n", 400, None),
    "unknown expectation": (relay(extra=b"Expect: 200-ok\r\n"), 417, "expectation failed"),
    "too many headers": (POST + b"X-A: 1\r\n" * 30 + b"Content-Length: 3\r\n\r\nabc", 431, "request headers too large"),
    "one huge header": (POST + b"X-A: " + b"a" * 3000 + b"\r\n\r\n", 431, "request headers too large"),
    "headers without an end": (POST + b"X-A: " + b"a" * 5000, 431, "request headers too large"),
    "long target": (relay(path=b"/" + b"a" * 600), 414, "request target too long"),
    "target without an end": (b"POST /" + b"a" * 5000, 414, "request target too long"),
    "body over the limit": (POST + b"Content-Length: 100001\r\n\r\n" + b"a" * 1000, 413, "request body too large"),
    "body far over the limit": (POST + b"Content-Length: 999999999999\r\n\r\n", 413, "request body too large"),
    "chunked body over the limit": (chunked(b"a" * (BODY_LIMIT + 1)), 413, "request body too large"),
    "gRPC over HTTP/1.1": (relay(extra=b"Content-Type: application/grpc+proto\r\n"), 505, None),
    "WebSocket": (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 501,
        "websocket relays are not served here"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_request_is_refused_and_the_connection_closed(
    relayer: RelayerProcess, name: str
) -> None:
    raw, status, text = BAD[name]
    with Client(relayer) as client:
        reply = client.ask(raw)
        assert reply.status == status
        if text is not None:
            assert reply.json == {"error": text}
        assert reply.headers["connection"] == "close"
        assert client.is_closed()
    with Client(relayer) as client:
        assert client.ask(relay()).json["length"] == 3


@pytest.mark.parametrize("method", [b"POST", b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND"])
@pytest.mark.parametrize("path", [b"/", b"/svc", b"//x", b"/a/../b?x=1", b"/readyx", b"/health/x", b"/%ff"])
def test_a_body_is_a_relay_whatever_the_method_and_the_path(
    relayer: RelayerProcess, method: bytes, path: bytes
) -> None:
    with Client(relayer) as client:
        reply = client.ask(relay(b"hello", b"X-One: 1\r\nX-One: 2\r\n", method, path))
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/json"
        document = reply.json
        assert (document["length"], document["body"]) == (5, "hello")
        assert document["headers"] == {"x-one": "1"}
        assert document["peer"] == "127.0.0.1"


@recorded.needs_recordings
def test_recorded_requests_of_the_gateway_are_served_on_one_connection(relayer: RelayerProcess) -> None:
    raw = recorded.path("gateway/http-path-to-relayer.bin").read_bytes()
    sizes = [int(size) for size in re.findall(rb"Content-Length: (\d+)", raw)]
    assert len(sizes) == 5
    with Client(relayer) as client:
        client.send(raw)
        assert [client.reply().json["length"] for _ in sizes] == sizes


def test_pipelined_requests_are_answered_in_order_whatever_way_each_takes(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        health = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(
            relay(b"1") + chunked(b"22") + health + relay(b"333") + b"\r\n" + chunked(b"4444") + relay(b"")
        )
        assert client.reply().json["body"] == "1"
        assert client.reply().json["body"] == "22"
        assert client.reply().json == {"status": "healthy", "block_height": 105}
        assert [client.reply().json["body"] for _ in range(3)] == ["333", "4444", ""]


def test_a_request_may_arrive_byte_by_byte(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for raw in (relay(b"abc"), chunked(b"defg")):
            for byte in raw:
                client.send(bytes([byte]))
            assert client.reply().json["length"] in (3, 4)


def test_a_body_of_the_limit_is_served(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        assert client.ask(relay(b"a" * BODY_LIMIT)).json["length"] == BODY_LIMIT
        assert client.ask(chunked(b"a" * BODY_LIMIT)).json["length"] == BODY_LIMIT


def test_chunked_bodies_of_several_chunks_with_trailers_are_joined(relayer: RelayerProcess) -> None:
    body = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    with Client(relayer) as client:
        assert client.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body).json["body"] == "abcde"
        assert client.ask(relay(b"next")).json["body"] == "next"


def test_an_expectation_is_met_before_the_body_is_sent(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        for framing, body in (
            (b"Content-Length: 3\r\n", b"abc"),
            (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        ):
            assert client.ask(POST + framing + b"Expect: 100-continue\r\n\r\n").status == 100
            assert client.ask(body).json["body"] == "abc"


def test_an_expectation_does_not_get_a_body_over_the_limit_sent(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        reply = client.ask(POST + b"Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n")
        assert reply.status == 413


def test_connections_stay_as_version_and_client_say(relayer: RelayerProcess) -> None:
    old = b"POST / HTTP/1.0\r\nContent-Length: 3\r\n%s\r\nabc"
    with Client(relayer) as client:
        assert client.ask(old % b"").headers["connection"] == "close"
        assert client.is_closed()
    with Client(relayer) as client:
        assert client.ask(old % b"Connection: keep-alive\r\n").headers["connection"].lower() == "keep-alive"
        assert client.ask(old % b"Connection: keep-alive\r\n").status == 200
    with Client(relayer) as client:
        assert client.ask(relay(extra=b"Connection: close\r\n")).headers["connection"] == "close"
        assert client.is_closed()


def test_head_gets_the_length_without_the_body(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        client.send(relay(b"abc", method=b"HEAD"))
        assert int(client.reply(head_only=True).headers["content-length"]) > 10
        assert client.ask(relay(b"next")).json["body"] == "next"


def test_a_half_closed_client_gets_its_answer(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        client.send(relay(b"slow"))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply().json["body"] == "slow"
        assert client.is_closed()


def test_a_body_that_ends_early_is_said_to_be_unreadable(relayer: RelayerProcess) -> None:
    for raw in (
        POST + b"Content-Length: 10\r\n\r\nabc",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ):
        with Client(relayer) as client:
            client.send(raw)
            client.sock.shutdown(socket.SHUT_WR)
            reply = client.reply()
            assert (reply.status, reply.json) == (400, {"error": "failed to read request body"})


@pytest.mark.parametrize(
    "beginning", [b"POST / HT", POST + b"X: ", POST + b"Content-Length: 10\r\n\r\nabc",
                  POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"]
)  # fmt: skip
def test_a_slow_client_has_its_time_and_no_more(relayer: RelayerProcess, beginning: bytes) -> None:
    with Client(relayer) as client:
        started = time.monotonic()
        reply = client.ask(beginning)
        took_s = time.monotonic() - started
        assert (reply.status, reply.json) == (408, {"error": "request timeout"})
        assert 0.7 < took_s < 3.0
        assert client.is_closed()


def test_trickled_bytes_do_not_prolong_the_time(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        client.sock.settimeout(0.1)
        client.send(POST)
        started = time.monotonic()
        answered = b""
        while not answered and time.monotonic() - started < 5:
            try:
                client.send(b"X")
                answered = client.sock.recv(4096)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        assert answered.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 3.0


def test_a_silent_connection_is_closed_without_a_word(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        assert client.is_closed()


def test_a_client_that_does_not_read_is_cut_off(relayer: RelayerProcess) -> None:
    body = b"raw:" + b"a" * (BODY_LIMIT - 4)
    with Client(relayer) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sock.settimeout(8)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(500):
                client.send(relay(body))
    with Client(relayer) as client:
        assert client.ask(relay()).status == 200


def test_http2_is_recognised_and_told_to_use_http_1_1(relayer: RelayerProcess) -> None:
    for pieces in ([HTTP2_PREFACE], [HTTP2_PREFACE[:3], HTTP2_PREFACE[3:] + b"\0\0\0\4\0\0\0\0\0"]):
        with Client(relayer) as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                client.send(piece)
            received = b""
            while chunk := client.sock.recv(4096):
                received += chunk
        assert received[:9] == b"\0\0\0\4\0\0\0\0\0"
        assert received[12] == 7  # GOAWAY
        assert int.from_bytes(received[22:26], "big") == 0xD  # HTTP_1_1_REQUIRED


def test_service_documents_have_their_shape(relayer: RelayerProcess) -> None:
    def get(path: bytes, port: int = 0) -> Reply:
        with Client(relayer, port) as client:
            return client.ask(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path)

    healthy = b'{"status":"healthy","block_height":105}'
    for path in (b"/health", b"/healthz", b"/ready", b"/ready?x=1"):
        reply = get(path)
        assert (reply.status, reply.body) == (200, healthy)
        assert reply.headers["content-type"] == "application/json"
    service = (
        b'{"service_id":"svc","ready":true,"block_height":105,'
        b'"pool":{"profile":"high","max_conns_per_host":250,"max_idle_conns_per_host":50,'
        b'"idle_conn_timeout_seconds":90,"in_flight":0,"saturation_pct":0},'
        b'"backends":{"total":1,"healthy":1,"endpoints":'
        b'[{"name":"one","url":"http://127.0.0.1:8545/","healthy":true}]}}\n'
    )
    empty = (
        b'"ready":false,"block_height":0,"pool":{"max_conns_per_host":0,"max_idle_conns_per_host":0,'
        b'"idle_conn_timeout_seconds":0,"in_flight":0,"saturation_pct":0},'
        b'"backends":{"total":0,"healthy":0,"endpoints":null},'
    )
    for port in (relayer.port, relayer.health_port):
        reply = get(b"/ready/svc", port)
        assert (reply.status, reply.body) == (200, service)
        reply = get(b"/ready/other", port)
        assert (reply.status, reply.body) == (
            404,
            b'{"service_id":"other",' + empty + b'"error":"unknown service"}\n',
        )
        reply = get(b"/ready/", port)
        error = b'"error":"service_id path parameter is required"}\n'
        assert (reply.status, reply.body) == (400, b'{"service_id":"",' + empty + error)
    assert (get(b"/health", relayer.health_port).body, get(b"/ready", relayer.health_port).body) == (
        b"OK",
        b"READY",
    )
    missing = get(b"/", relayer.health_port)
    assert (missing.status, missing.body) == (404, b"404 page not found\n")
    assert missing.headers["x-content-type-options"] == "nosniff"
    status = get(b"/status", relayer.health_port)
    assert status.status == 200
    assert b"127.0.0.1:8545" in status.body


def test_the_health_port_takes_no_relays(relayer: RelayerProcess) -> None:
    with Client(relayer, relayer.health_port) as client:
        assert client.ask(relay()).status == 404


def test_a_service_route_with_a_body_is_no_relay(relayer: RelayerProcess) -> None:
    with Client(relayer) as client:
        assert client.ask(relay(b"abc", path=b"/health")).json["status"] == "healthy"
        assert client.ask(relay(b"next")).json["body"] == "next"


def test_open_files_are_as_many_as_connections(relayer: RelayerProcess) -> None:
    def open_files() -> int:
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    with Client(relayer) as client:
        worker = client.ask(relay()).json["pid"]
        before = open_files()
        for number in range(60):
            with Client(relayer) as other:
                other.send([relay(), POST, b"junk\r\n\r\n", relay(b"abc")[:-1], chunked(b"a")][number % 5])
        clients = [Client(relayer) for _ in range(30)]
        for other in clients:
            assert other.ask(relay()).status == 200
        for other in clients:
            other.sock.close()
        deadline = time.monotonic() + 5
        while open_files() > before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
