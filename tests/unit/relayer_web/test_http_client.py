"""The backend client against real sockets: framing, reuse, time and size limits."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer_web.backends.connections import ConnectionLimits
from relayer_web.backends.contract import BackendFailed, BackendResponse, BackendTimeout
from relayer_web.backends.http_client import HttpClient, Origin, OutgoingRequest
from relayer_web.backends.http_response import ResponseReader
from relayer_web.backends.observer import BackendObserver
from relayer_web.backends.resolver import Resolver
from tests.raw_backend import RawBackend, ok, raw_backend
from tests.tls import make_certificates

MAX_BODY = 1000


class Connections(BackendObserver):
    def __init__(self) -> None:
        self.reused: list[bool] = []
        self.waits: list[float] = []

    def connected(self, service_id: str, reused: bool) -> None:
        self.reused.append(reused)

    def waited(self, service_id: str, seconds: float) -> None:
        self.waits.append(seconds)


def client_of(backend: RawBackend, observer: BackendObserver | None = None, **limits: float) -> HttpClient:
    head_s = limits.pop("head_s", 0.0)
    return HttpClient(
        Origin(False, "127.0.0.1", backend.port),
        ConnectionLimits(**limits),  # type: ignore[arg-type]
        max_body_bytes=MAX_BODY,
        head_s=head_s,
        observer=observer,
    )


def ask(
    client: HttpClient,
    method: str = "POST",
    body: bytes = b"q",
    timeout_s: float = 5.0,
    *,
    repeatable: bool = True,
) -> BackendResponse:
    request = OutgoingRequest(method, "/x?y=1", [("X-A", "é")], body, repeatable)
    return client.call(request, time.monotonic() + timeout_s)


def test_the_request_is_on_the_wire_as_given() -> None:
    with raw_backend(ok()) as backend:
        assert ask(client_of(backend)).body == b"ok"
        ask(client_of(backend), "GET", b"")
        ask(client_of(backend), "PUT", b"")
    host = b"Host: 127.0.0.1:%d\r\nX-A: \xc3\xa9\r\n" % backend.port
    assert backend.requests == [
        b"POST /x?y=1 HTTP/1.1\r\n" + host + b"Content-Length: 1\r\n\r\nq",
        b"GET /x?y=1 HTTP/1.1\r\n" + host + b"\r\n",
        b"PUT /x?y=1 HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n",
    ]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (ok(b"abc"), 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 100 Continue\r\nX: 0\r\n\r\nHTTP/1.1 103 Hints\r\nX: 0\r\n\r\n" + ok(), 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (ok(b"\x1f\x8bgz", b"Content-Encoding: gzip\r\n"), 200, b"\x1f\x8bgz"),
    ],
)  # fmt: skip
def test_answers_are_framed_right_and_the_connection_is_kept(answer: bytes, status: int, body: bytes) -> None:
    observer = Connections()
    with raw_backend(answer) as backend:
        client = client_of(backend, observer)
        for _ in range(3):
            response = ask(client)
            assert (response.status, response.body) == (status, body)
            assert ("X", "0") not in response.headers
    assert observer.reused == [False, True, True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ],
)
def test_an_answer_without_a_length_ends_with_its_connection(answer: bytes) -> None:
    with raw_backend(answer, close_after=True) as backend:
        client = client_of(backend)
        assert [ask(client).body for _ in range(2)] == [b"until the end"] * 2
    assert backend.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ok(headers=b"Connection: close\r\n"),
        ok() + b"more than was announced",
        ok() + ok(b"an answer nobody asked for"),
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    observer = Connections()
    with raw_backend(answer) as backend:
        client = client_of(backend, observer)
        assert [ask(client).body for _ in range(2)] == [b"ok"] * 2
    assert observer.reused == [False, False]


def test_head_has_no_body_whatever_its_length_says() -> None:
    with raw_backend(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n") as backend:
        client = client_of(backend)
        for _ in range(2):
            response = ask(client, "HEAD", b"")
            assert (response.status, response.body) == (200, b"")
    assert backend.connections == 1


def test_headers_keep_order_case_and_every_value() -> None:
    raw = b"Set-Cookie: a\r\nx-Y: \xc3\xa9\r\nSet-Cookie: b\r\nX-Raw: \xff\r\nX-Empty:\r\n"
    with raw_backend(ok(b"", raw)) as backend:
        assert ask(client_of(backend)).headers == [
            ("Set-Cookie", "a"),
            ("x-Y", "é"),
            ("Set-Cookie", "b"),
            ("X-Raw", "ÿ"),
            ("X-Empty", ""),
            ("Content-Length", "0"),
        ]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc",
        b"HTTP/1.1 020 OK\r\n\r\nabc",
        b"HTTP/1.1 099 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 000 OK\r\n\r\n" + ok(),
        ok(b"a" * MAX_BODY),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (2 << 20),
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_broken_and_oversize_answers_are_failures(answer: bytes) -> None:
    with raw_backend(answer, close_after=True) as backend:
        with pytest.raises(BackendFailed) as failure:
            ask(client_of(backend))
        assert failure.value.values.get("sent", True) and not isinstance(failure.value, BackendTimeout)
    assert len(backend.requests) == 1


def test_an_answer_just_under_the_limit_is_one() -> None:
    with raw_backend(ok(b"a" * (MAX_BODY - 1))) as backend:
        assert len(ask(client_of(backend)).body) == MAX_BODY - 1


def test_a_connection_closed_while_idle_is_replaced_unseen() -> None:
    observer = Connections()
    with raw_backend(ok()) as backend:
        client = client_of(backend, observer)
        ask(client)
        backend.hang_up()
        assert ask(client, repeatable=False).body == b"ok"
    assert len(backend.requests) == 2


def hang_up_on_second(request: bytes, number: int) -> bytes | None:
    return None if number == 2 else ok()


def test_a_kept_connection_that_dies_under_the_request_is_replaced_once_where_that_is_safe() -> None:
    with raw_backend(hang_up_on_second) as backend:
        client = client_of(backend)
        ask(client)
        assert ask(client).body == b"ok"
        assert len(backend.requests) == 3
    with raw_backend(hang_up_on_second) as backend:
        client = client_of(backend)
        ask(client)
        with pytest.raises(BackendFailed):
            ask(client, repeatable=False)
        assert len(backend.requests) == 2


def test_a_new_connection_that_dies_is_not_replaced() -> None:
    with raw_backend(None) as backend:
        with pytest.raises(BackendFailed):
            ask(client_of(backend))
        assert len(backend.requests) == 1


def test_nothing_is_repeated_once_a_byte_of_an_answer_came() -> None:
    def half_on_second(request: bytes, number: int) -> bytes:
        return ok() if number == 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"

    with raw_backend(half_on_second) as backend:
        client = client_of(backend)
        ask(client)
        with pytest.raises(BackendTimeout):
            ask(client, timeout_s=0.3)
        assert len(backend.requests) == 2


def wait_for(event: threading.Event) -> Callable[[bytes, int], bytes]:
    def script(request: bytes, number: int) -> bytes:
        event.wait(10)
        return ok()

    return script


def test_the_time_is_a_wall() -> None:
    done = threading.Event()
    with raw_backend(wait_for(done)) as backend:
        started = time.monotonic()
        with pytest.raises(BackendTimeout):
            ask(client_of(backend), timeout_s=0.3)
        assert 0.25 < time.monotonic() - started < 1.0
        done.set()


def test_a_trickling_answer_does_not_move_the_wall() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def trickle() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
            try:
                while not stop.wait(0.02):
                    sock.sendall(b"a")
            except OSError:
                return

    threading.Thread(target=trickle, daemon=True).start()
    client = HttpClient(
        Origin(False, "127.0.0.1", listener.getsockname()[1]), ConnectionLimits(), max_body_bytes=MAX_BODY
    )
    started = time.monotonic()
    with pytest.raises(BackendTimeout):
        ask(client, timeout_s=0.4)
    assert time.monotonic() - started < 1.0
    stop.set()
    listener.close()


def test_headers_have_a_time_of_their_own() -> None:
    done = threading.Event()
    with raw_backend(wait_for(done)) as backend:
        started = time.monotonic()
        with pytest.raises(BackendTimeout):
            ask(client_of(backend, head_s=0.2), timeout_s=5)
        assert time.monotonic() - started < 1.0
        done.set()


def test_a_refused_connection_is_a_failure_that_sent_nothing() -> None:
    with raw_backend(ok()) as backend:
        client = client_of(backend)
    with pytest.raises(BackendFailed) as failure:
        ask(client)
    assert failure.value.values["sent"] is False


def test_connections_are_bounded_and_waiting_for_one_has_an_end() -> None:
    done = threading.Event()
    observer = Connections()
    with raw_backend(wait_for(done)) as backend:
        client = client_of(backend, observer, max_open=1)
        first = threading.Thread(target=ask, args=(client,))
        first.start()
        while not backend.requests:
            time.sleep(0.005)
        with pytest.raises(BackendTimeout):
            ask(client, timeout_s=0.2)
        done.set()
        first.join()
        assert ask(client).body == b"ok"
    assert backend.connections == 1
    assert len(observer.waits) == 1


def test_idle_connections_are_bounded_in_number_and_age() -> None:
    with raw_backend(ok()) as backend:
        client = client_of(backend, idle_s=0.0)
        ask(client)
        ask(client)
        assert backend.connections == 2


def test_answers_that_come_while_a_large_body_is_sent_are_read() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse_early() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(1000)
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    threading.Thread(target=refuse_early, daemon=True).start()
    client = HttpClient(
        Origin(False, "127.0.0.1", listener.getsockname()[1]), ConnectionLimits(), max_body_bytes=MAX_BODY
    )
    assert ask(client, body=b"a" * 5_000_000).status == 413
    listener.close()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40), st.booleans())
def test_an_answer_is_the_same_however_it_is_cut(body: bytes, size: int, is_chunked: bool) -> None:
    raw = ok(body, b"X-A: 1\r\nX-B: 22\r\n")
    if is_chunked:
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        raw = (
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 22\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunk
            + b"0\r\n\r\n"
        )
    reader = ResponseReader(False, MAX_BODY)
    for start in range(0, len(raw), size):
        assert not reader.complete
        reader.receive(raw[start : start + size])
    assert reader.complete and reader.reusable
    assert (reader.status, reader.body) == (200, body)
    assert reader.headers[:2] == [("X-A", "1"), ("X-B", "22")]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=60))
def test_no_bytes_break_the_reader(head: bytes, body: bytes) -> None:
    reader = ResponseReader(False, MAX_BODY)
    try:
        for chunk in (b"HTTP/1.1 200 OK\r\n" + head, body, b""):
            reader.receive(chunk)
    except BackendFailed:
        return
    assert reader.complete or not reader.reusable


def test_names_are_resolved_once_and_again_when_nobody_answers() -> None:
    with raw_backend(ok()) as backend:
        lookups: list[str] = []
        answers = [("127.0.0.2", 1), ("127.0.0.1", backend.port)]

        def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            lookups.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers[min(len(lookups), 2) - 1])]

        resolver = Resolver("backend.test", backend.port, lookup=lookup)
        client = HttpClient(
            Origin(False, "backend.test", backend.port),
            ConnectionLimits(),
            max_body_bytes=MAX_BODY,
            resolver=resolver,
        )
        assert ask(client).body == b"ok"
        backend.hang_up()
        assert ask(client).body == b"ok"
    assert lookups == ["backend.test", "backend.test"]
    assert b"Host: backend.test:" in backend.requests[0]


def test_a_name_that_cannot_be_resolved_fails_and_a_stuck_resolver_costs_no_more_than_the_time() -> None:
    def unknown(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(OSError, match="not known"):
        Resolver("x.test", 1, lookup=unknown).addresses(time.monotonic() + 1)
    release = threading.Event()

    def stuck(*_: object, **__: object) -> list[tuple[object, ...]]:
        release.wait(10)
        return []

    with pytest.raises(TimeoutError):
        Resolver("x.test", 1, lookup=stuck).addresses(time.monotonic() + 0.1)
    release.set()


def test_old_addresses_serve_while_new_ones_are_asked_for() -> None:
    now = [0.0]
    asked: list[int] = []
    again = threading.Event()

    def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(1)
        if len(asked) == 2:
            again.set()
            raise socket.gaierror(-3, "Temporary failure")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]

    resolver = Resolver("x.test", 80, lookup=lookup, lifetime_s=30, monotonic=lambda: now[0])
    assert resolver.addresses(5.0) == [(socket.AF_INET, ("10.0.0.1", 80))]
    now[0] = 31.0
    deadline = time.monotonic() + 5
    while not again.wait(0.01):  # the first look-up may not have quite ended
        assert resolver.addresses(36.0) == [(socket.AF_INET, ("10.0.0.1", 80))]
        assert time.monotonic() < deadline
    assert resolver.addresses(36.0) == [(socket.AF_INET, ("10.0.0.1", 80))]


def test_tls_is_verified_and_connections_are_kept(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, name="localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(sock, server_side=True) as secured:
                    while secured.recv(4096):
                        secured.sendall(ok())
            except OSError:
                continue

    threading.Thread(target=serve, daemon=True).start()

    def client(host: str, trusted: bool) -> HttpClient:
        def make_context() -> ssl.SSLContext:
            return ssl.create_default_context(cafile=certificates.authority if trusted else None)

        resolver = Resolver(
            host, port, lookup=lambda *_, **__: [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]
        )
        return HttpClient(
            Origin(True, host, port),
            ConnectionLimits(),
            max_body_bytes=MAX_BODY,
            observer=observer,
            tls_context=make_context,
            resolver=resolver,
        )

    observer = Connections()
    good = client("localhost", True)
    assert [ask(good).body for _ in range(2)] == [b"ok", b"ok"]
    assert observer.reused == [False, True]
    good.close()
    for host, trusted in (("localhost", False), ("other.test", True)):
        with pytest.raises(BackendFailed, match="CERTIFICATE_VERIFY_FAILED") as failure:
            ask(client(host, trusted))
        assert failure.value.values["sent"] is False
    listener.close()
