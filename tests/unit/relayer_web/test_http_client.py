"""The backend client against real sockets: reuse of connections, time and size limits, TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relayer_web.backends.connections import ConnectionLimits
from relayer_web.backends.contract import BackendFailed, BackendTimeout
from relayer_web.backends.http_client import HttpClient, Origin
from relayer_web.backends.resolver import Resolver
from tests.raw_backend import ok, raw_backend
from tests.tls import make_certificates
from tests.unit.relayer_web.backend_calls import MAX_BODY, Connections, ask, client_of


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
