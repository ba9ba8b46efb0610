"""The gRPC client towards backends: real servers, real TLS, and servers that break the rules."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from localnet.backend.behaviour import Counters
from localnet.backend.demo_service import DemoServer
from pocket_protocol.envelope import grouped_headers
from pocket_protocol.grpc_frames import encode_frame
from relayer_web.backends.contract import BackendFailed, BackendResponse, BackendTimeout, ForbiddenRequest
from relayer_web.backends.grpc_client import GrpcClient
from relayer_web.backends.http_client import Origin, OutgoingRequest
from tests.tls import make_certificates

LIMIT = 100_000
GRPC = ("Content-Type", "application/grpc")
EMPTY = encode_frame(b"")


@pytest.fixture(scope="module")
def counters() -> Counters:
    return Counters()


@pytest.fixture(scope="module")
def server(counters: Counters) -> Iterator[DemoServer]:
    made = DemoServer("127.0.0.1:0", counters)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(server: DemoServer) -> Iterator[GrpcClient]:
    made = client_of(int(server.address.rpartition(":")[2]))
    yield made
    made.close()


def client_of(port: int, host: str = "127.0.0.1", **fields: Any) -> GrpcClient:
    secure = fields.pop("secure", False)
    return GrpcClient(Origin(secure, host, port), max_body_bytes=LIMIT, **fields)


def ask(
    client: GrpcClient,
    path: str = "/demo.DemoService/GetBlockHeight",
    body: bytes = EMPTY,
    *headers: tuple[str, str],
    within_s: float = 5.0,
    method: str = "POST",
) -> BackendResponse:
    request = OutgoingRequest(method, path, [GRPC, *headers], body, repeatable=False)
    return client.call(request, time.monotonic() + within_s)


def fields(response: BackendResponse) -> dict[str, tuple[str, ...]]:
    return dict(grouped_headers(response.headers))


def test_the_recorded_call_has_the_recorded_answer(client: GrpcClient) -> None:
    response = ask(client)
    assert (response.status, response.body) == (200, bytes.fromhex("00000000020801"))
    assert fields(response) == {
        "Content-Type": ("application/grpc",),
        "Grpc-Message": ("",),
        "Grpc-Status": ("0",),
    }


@pytest.mark.parametrize("messages", [[], [b"a"], [b"a", b"", b"c" * 1000]])
def test_any_number_of_messages_passes_both_ways(client: GrpcClient, messages: list[bytes]) -> None:
    body = b"".join(map(encode_frame, messages))
    assert ask(client, "/test.TestService/Echo", body).body == body


def test_a_stream_is_collected_whole(client: GrpcClient) -> None:
    response = ask(
        client, "/demo.DemoService/StreamBlocks", encode_frame(b"\x08\x07"), ("X-Demo-Blocks", "3")
    )
    assert response.body.count(b"hash-") == 3


def test_metadata_passes_both_ways(client: GrpcClient, counters: Counters) -> None:
    headers = [("X-Name", " value "), ("X-Raw-Bin", "AP8"), ("Grpc-Timeout", "1n"), ("User-Agent", "them")]
    answered = fields(ask(client, "/test.TestService/Echo", EMPTY, *headers))
    assert answered["X-Name"] == answered["T-X-Name"] == ("value",)
    assert answered["X-Raw-Bin"] == answered["T-X-Raw-Bin"] == ("AP8",)
    received = counters.received[-1]["headers"]
    assert received["x-name"] == "value" and received["user-agent"].startswith("grpc-python")
    assert "grpc-timeout" not in received


def test_a_status_is_an_answer_and_keeps_what_came_before_it(client: GrpcClient) -> None:
    headers = [("x-status", "5"), ("x-text", "50 % gone")]
    response = ask(client, "/test.TestService/Status", encode_frame(b"first"), *headers)
    assert response.body == encode_frame(b"first")
    assert fields(response)["Grpc-Status"] == ("5",)
    assert fields(response)["Grpc-Message"] == ("50 %25 gone",)


def test_unknown_methods_are_answers_too(client: GrpcClient) -> None:
    assert fields(ask(client, "/no.Such/Method"))["Grpc-Status"] == ("12",)


@pytest.mark.parametrize("text", ["", "try me later", "Deadline Exceeded", "Socket closed"])
@pytest.mark.parametrize("code", ["14", "4", "2", "1"])
def test_a_backend_s_own_refusal_is_its_answer(client: GrpcClient, code: str, text: str) -> None:
    """The library says the same codes when a call fails on its way; a gateway gets the backend's own words."""
    headers = [("x-status", code), ("x-text", text)]
    response = ask(client, "/test.TestService/Status", encode_frame(b"before"), *headers)
    answered = fields(response)
    assert (answered["Grpc-Status"], answered["Grpc-Message"]) == ((code,), (text,))
    assert (response.status, response.body) == (200, encode_frame(b"before"))


@pytest.mark.parametrize("code", ["14", "4"])
def test_so_is_one_without_a_word(code: str) -> None:
    """As a proxy or a server without messages sends it: no answer but trailers."""
    refusal = headers_frame(*OK_HEADERS, (b"grpc-status", code.encode()), end=True)
    with breaking_server(refusal) as port:
        client = client_of(port)
        assert fields(ask(client, "/a.B/C"))["Grpc-Status"] == (code,)
        client.close()


def test_compressed_messages_are_unpacked(client: GrpcClient) -> None:
    body = encode_frame(gzip.compress(b"packed"), 1)
    assert ask(client, "/test.TestService/Echo", body, ("Grpc-Encoding", "gzip")).body == encode_frame(
        b"packed"
    )


BOMB = encode_frame(gzip.compress(bytes(LIMIT * 10)), 1)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", []),
        (b"\x00\x00\x00\x00\x09abc", []),
        (encode_frame(b"x", 1), []),
        (encode_frame(b"x", 1), [("grpc-encoding", "gzip")]),
        (encode_frame(b"x", 1), [("grpc-encoding", "snappy")]),
        (BOMB, [("grpc-encoding", "gzip")]),
        (EMPTY, [("x!y", "1")]),
        (EMPTY, [("x-y", "caf\u00e9")]),
        (EMPTY, [("x-y-bin", "A")]),
    ],
)
def test_what_is_no_call_is_not_sent(client: GrpcClient, body: bytes, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ForbiddenRequest):
        ask(client, "/test.TestService/Echo", body, *headers)


def test_only_posts_of_grpc_are_calls(client: GrpcClient) -> None:
    with pytest.raises(ForbiddenRequest):
        ask(client, method="GET")
    request = OutgoingRequest("POST", "/", [("Content-Type", "application/json")], b"{}", repeatable=False)
    with pytest.raises(ForbiddenRequest):
        client.call(request, time.monotonic() + 1)


def test_slow_is_a_timeout(client: GrpcClient) -> None:
    with pytest.raises(BackendTimeout):
        ask(client, "/test.TestService/Slow", EMPTY, ("x-delay-ms", "3000"), within_s=0.2)
    with pytest.raises(BackendTimeout):
        ask(client, within_s=-1)


def test_an_endless_stream_ends_with_the_time(client: GrpcClient) -> None:
    with pytest.raises(BackendTimeout):
        ask(client, "/demo.DemoService/StreamBlocks", encode_frame(b"\x08\x01"), within_s=0.3)


@pytest.mark.parametrize("sizes", [[LIMIT + 1], [LIMIT // 3] * 4], ids=["one message", "many"])
def test_too_large_answers_are_failures(client: GrpcClient, sizes: list[int]) -> None:
    with pytest.raises(BackendFailed):
        ask(client, "/test.TestService/Echo", b"".join(encode_frame(bytes(size)) for size in sizes))


def test_nobody_there_means_nothing_was_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client = client_of(port)
    with pytest.raises(BackendFailed) as caught:
        ask(client)
    assert caught.value.sent is False  # type: ignore[attr-defined]
    with pytest.raises(BackendTimeout):
        client.check_connection(time.monotonic() + 0.2)
    client.close()


def test_a_name_nobody_knows_means_nothing_was_sent() -> None:
    client = client_of(1, "nobody.invalid")
    with pytest.raises((BackendFailed, BackendTimeout)) as caught:
        ask(client, within_s=2.0)
    # where no name server answers either, time is all that is known
    assert isinstance(caught.value, BackendTimeout) or caught.value.sent is False  # type: ignore[attr-defined]
    client.close()


def test_a_backend_that_comes_back_is_found_soon(counters: Counters) -> None:
    first = DemoServer("127.0.0.1:0", counters)
    first.start()
    client = client_of(int(first.address.rpartition(":")[2]))
    ask(client)
    first.stop()
    with pytest.raises(BackendFailed):
        ask(client)
    second = DemoServer(first.address, counters)
    second.start()
    client.check_connection(time.monotonic() + 5)
    assert ask(client).status == 200
    client.close()
    second.stop()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def headers_frame(*fields: tuple[bytes, bytes], end: bool = False) -> bytes:
    block = b"".join(b"\0" + bytes((len(n),)) + n + bytes((len(v),)) + v for n, v in fields)
    return frame(1, 5 if end else 4, 1, block)


@contextmanager
def breaking_server(answer: bytes) -> Iterator[int]:
    """An HTTP/2 server that says the same to whoever asked something, and ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock:
            sock.sendall(frame(4, 0, 0))
            received = b""
            while b"/a.B/C" not in received:
                received += sock.recv(65536)
            sock.sendall(frame(4, 1, 0) + answer)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join(5)


OK_HEADERS = ((b":status", b"200"), (b"content-type", b"application/grpc"))


@pytest.mark.parametrize(
    "answer",
    [
        headers_frame((b":status", b"404"), (b"content-type", b"text/html"), end=True),
        headers_frame((b":status", b"503"), (b"content-type", b"text/html"), end=True),
        headers_frame((b":status", b"200"), (b"content-type", b"text/html")) + frame(0, 1, 1, b"<html>"),
        frame(3, 0, 1, (2).to_bytes(4, "big")),
        frame(3, 0, 1, (7).to_bytes(4, "big")),
        frame(3, 0, 1, (8).to_bytes(4, "big")),
        frame(7, 0, 0, bytes(4) + (11).to_bytes(4, "big") + b"too_many_pings"),
        frame(1, 5, 1, b"\xff\xff\xff\xff\xff"),
        b"no frames at all, however many bytes these are",
        headers_frame(*OK_HEADERS) + frame(0, 1, 1, encode_frame(b"a")),
        headers_frame(*OK_HEADERS) + frame(0, 1, 1, b"\0\0\0\0\x05a"),
        b"",
    ],
    ids=[
        "404", "503", "html", "internal error", "refused", "cancelled", "goaway", "bad headers", "garbage",
        "no trailers", "half a message", "nothing",
    ],
)  # fmt: skip
def test_broken_answers_are_failures(answer: bytes) -> None:
    with breaking_server(answer) as port:
        client = client_of(port)
        with pytest.raises(BackendFailed):
            ask(client, "/a.B/C")
        client.close()


def test_http_1_servers_are_failures() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        client = client_of(listener.getsockname()[1])
        with pytest.raises(BackendFailed):
            ask(client)
        client.close()


def test_tls_is_verified(tmp_path: Path, counters: Counters) -> None:
    certificates = make_certificates(tmp_path, name="localhost")
    pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    server = DemoServer("127.0.0.1:0", counters, grpc.ssl_server_credentials([pair]))
    server.start()
    port = int(server.address.rpartition(":")[2])

    def trusting() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=certificates.authority)

    good = client_of(port, "localhost", secure=True, tls_context=trusting)
    assert ask(good).status == 200
    good.close()
    for wrong in (
        client_of(port, "localhost", secure=True),
        client_of(port, "127.0.0.1", secure=True, tls_context=trusting),
        client_of(port, "localhost"),
    ):
        with pytest.raises(BackendFailed):
            ask(wrong)
        wrong.close()
    server.stop()
