"""HTTP on bare sockets: what is sent and received is what a test says, byte for byte."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class RawAnswer:
    """An answer with header names in lower case; `closed`: the connection was ended after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool


def open_connection(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection: socket.socket, method: str = "POST") -> RawAnswer | None:
    """Read one answer; None when the connection ended, cleanly or not, without one."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read()
    except (http.client.RemoteDisconnected, ConnectionResetError, http.client.BadStatusLine):
        return None
    headers = {name.lower(): value for name, value in response.getheaders()}
    return RawAnswer(response.status, headers, body, headers.get("connection", "").lower() == "close")


def exchange(address: tuple[str, int], raw: bytes) -> RawAnswer | None:
    """Send bytes on a new connection and read one answer."""
    with open_connection(address) as connection:
        try:
            connection.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was read: the answer is there
        return read_answer(connection)


def post(body: bytes, *headers: str, method: str = "POST", target: str = "/") -> bytes:
    """Return the bytes of a request with Host and Content-Length, and `headers` after them."""
    lines = [f"{method} {target} HTTP/1.1", "Host: relayer", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@dataclass
class ScriptedBackend:
    """A backend whose next answer, as bytes, is told to it; it keeps what it was asked."""

    address: str = ""
    answer: bytes = b""
    received: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


def answer_bytes(status: int, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """Return the bytes of an answer with exactly these headers."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@contextmanager
def scripted_backend() -> Iterator[ScriptedBackend]:
    backend = ScriptedBackend()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = dict(self.headers.items())
            backend.received.append((self.command, self.path, headers, body))
            self.wfile.write(backend.answer)

        do_GET = do_POST = do_PUT = do_DELETE = do

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    backend.address = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
