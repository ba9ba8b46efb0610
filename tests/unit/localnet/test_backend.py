"""The test backend over real sockets (spec/relayer.md §9)."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from localnet.backend.behaviour import Settings
from localnet.backend.server import BackendServer
from localnet.http_server import AddressTaken

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[BackendServer]:
    with BackendServer(settings=Settings(backend_id="b1")) as running:
        yield running


def call(
    server: BackendServer,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str = "",
) -> tuple[int, bytes, dict[str, str]]:
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request(method or ("POST" if body is not None else "GET"), path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, dict(response.getheaders())


def rpc(**fields: Any) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": [], **fields}
    ).encode()


def test_json_rpc_on_any_path(server: BackendServer) -> None:
    status, content, headers = call(server, "/any/path", rpc(id="x"), JSON)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert content == (
        b'{"id":"x","jsonrpc":"2.0","result":{"backend_id":"b1","method":"eth_blockNumber","params":[],"status":"ok"}}'
    )


def test_what_is_no_json_rpc(server: BackendServer) -> None:
    assert call(server, "/", b"[1]", JSON)[:2] == (400, b"invalid JSON\n")
    assert call(server, "/", b"{", JSON)[:2] == (400, b"invalid JSON\n")
    status, content, _ = call(server, "/", rpc(), {"Content-Type": "text/plain"})
    assert (status, json.loads(content)["error"]["code"]) == (200, -32600)


def test_rest(server: BackendServer) -> None:
    status, content, _ = call(server, "/rest/a/b?q=1", b"body", method="PUT")
    answer = json.loads(content)
    assert (status, answer["method"], answer["path"], answer["query"]) == (
        200,
        "PUT",
        "/rest/a/b",
        {"q": ["1"]},
    )


def test_connections_are_kept(server: BackendServer) -> None:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    sockets = set()
    for number in range(5):
        connection.request("POST", "/", rpc(id=number), JSON)
        assert json.loads(connection.getresponse().read())["id"] == number
        sockets.add(connection.sock)
    assert len(sockets) == 1
    connection.close()


def test_errors_filler_and_broken_compression(server: BackendServer) -> None:
    settings = {"error_rate": 1.0, "error_codes": [502]}
    call(server, "/test/settings", json.dumps(settings).encode())
    assert call(server, "/", rpc(), JSON)[:2] == (502, b"injected error (code: 502)\n")
    settings = {"error_rate": 0.0, "fat_payload_bytes": 10_000, "broken_compression": True}
    call(server, "/test/settings", json.dumps(settings).encode())
    _, content, headers = call(server, "/", rpc(), {**JSON, "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in headers
    assert json.loads(gzip.decompress(content))["result"]["filler"] == "x" * 10_000
    assert call(server, "/test/settings", b'{"error_rate": "high"}')[0] == 400


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/test/status/404", 404, b'{"status":404}'),
        ("/test/status/500", 500, b'{"status":500}'),
        ("/test/status/abc", 400, b'{"status":400}'),
        ("/test/empty", 200, b""),
        ("/test/redirect", 302, b""),
        ("/test/slow/1", 200, b'{"slept_ms":1}'),
        ("/test/big/1000000", 200, b"x" * 1_000_000),
        ("/health", 200, b'{"service":"demo-backend","status":"healthy"}\n'),
    ],
)
def test_odd_answers(server: BackendServer, path: str, status: int, content: bytes) -> None:
    assert call(server, path)[:2] == (status, content)


def test_gzip_with_and_without_header(server: BackendServer) -> None:
    _, marked, headers = call(server, "/test/gzip")
    _, bare, bare_headers = call(server, "/test/gzip-bare")
    assert gzip.decompress(marked) == gzip.decompress(bare) == b'{"compressed":true}'
    assert headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in bare_headers


def test_echo_received_and_counters(server: BackendServer) -> None:
    _, content, _ = call(server, "/test/echo", b"hello", {"Pocket-Service": "s", **JSON})
    answer = json.loads(content)
    assert ["Pocket-Service", "s"] in answer["headers"] and answer["body"] == "hello"
    call(server, "/", rpc(), JSON)
    counters = json.loads(call(server, "/counters")[1])
    assert counters["total"] == 2
    assert {"protocol": "jsonrpc", "method": "eth_blockNumber", "requests": 1} in counters["requests"]
    assert (
        b'demo_requests_total{protocol="jsonrpc",method="eth_blockNumber"} 1' in call(server, "/metrics")[1]
    )
    received = json.loads(call(server, "/test/received")[1])
    assert [entry["target"] for entry in received] == ["/test/echo", "/"]
    call(server, "/test/reset", b"")
    assert json.loads(call(server, "/counters")[1])["total"] == 0


def test_streams_end_after_the_wanted_events(server: BackendServer) -> None:
    _, content, headers = call(server, "/stream/sse?batches=2")
    assert headers["Content-Type"] == "text/event-stream"
    assert [json.loads(part[6:])["sequence"] for part in content.split(b"\n\n") if part] == [0, 1]
    assert call(server, "/stream/ndjson", b'{"batches": 1}')[1] == b'{"sequence":0}\n'


def test_close_answers_nothing(server: BackendServer) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        call(server, "/test/close")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_broken_requests_get_400_and_the_end(server: BackendServer, data: bytes) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(data)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_chunked_bodies_and_pipelined_requests(server: BackendServer) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = rpc()
    chunked = b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)
    last = b"%bConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(chunked + last)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.count(b'"status":"ok"') == 2


def test_a_taken_port(server: BackendServer) -> None:
    with pytest.raises(AddressTaken, match="cannot listen on"):
        BackendServer(server.url.removeprefix("http://"))
