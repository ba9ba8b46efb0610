"""A small HTTP/1.1 server: a thread per connection, keep-alive, streaming, and sockets handed over.

Made for the local chain and the test backend, where the standard library's server would cost more than the
work behind it. Not for the open network.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from pocket_protocol.errors import Malformed

MAX_HEAD_BYTES: Final = 256 * 1024
MAX_BODY_BYTES: Final = 128 * 1024 * 1024
_RECEIVE_BYTES: Final = 256 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_NO_BODY: Final = (204, 304)


class BadRequest(Malformed):
    """Bytes that are no HTTP request this server reads."""

    reason = "bad_http_request"
    summary = "bad HTTP request"


class AddressTaken(OSError):
    """A port that cannot be listened on."""


@dataclass(slots=True)
class Request:
    """One request. `headers` keep their order and spelling; `raw_head` is what was received."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    version: str
    raw_head: bytes

    def header(self, name: str, default: str = "") -> str:
        lowered = name.lower()
        return next((value for key, value in self.headers if key.lower() == lowered), default)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    @property
    def keeps_alive(self) -> bool:
        connection = self.header("Connection").lower()
        return "close" not in connection and (self.version != "HTTP/1.0" or "keep-alive" in connection)


@dataclass(slots=True)
class Response:
    """One answer. An iterator as body is streamed; `close` ends the connection after it."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    close: bool = False


@dataclass(slots=True)
class Takeover:
    """The handler wants the connection: `run` gets the socket and what was received beyond the request."""

    run: Callable[[socket.socket, bytes], None]


Handle = Callable[[Request], Response | Takeover]


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of `host:port`. Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.strip("[]") or "0.0.0.0", int(port)


def listen(address: str, backlog: int = 1024) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises `AddressTaken`."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AddressTaken(f"cannot listen on {address}: {error.strerror}") from error
    listener.listen(backlog)
    return listener


class _Connection:
    """Reads requests off one socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def _more(self) -> bool:
        received = self.sock.recv(_RECEIVE_BYTES)
        self.buffer += received
        return bool(received)

    def _take(self, size: int) -> bytes:
        parts, missing = [self.buffer], size - len(self.buffer)
        while missing > 0:
            received = self.sock.recv(_RECEIVE_BYTES)
            if not received:
                raise BadRequest("connection closed inside a body")
            parts.append(received)
            missing -= len(received)
        whole = b"".join(parts)
        self.buffer = whole[size:]
        return whole[:size]

    def _line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > MAX_HEAD_BYTES or not self._more():
                raise BadRequest("chunk without end")
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        return line

    def _chunked(self) -> bytes:
        body = bytearray()
        while True:
            try:
                size = int(self._line().split(b";")[0], 16)
            except ValueError as error:
                raise BadRequest("chunk size") from error
            if size < 0 or len(body) + size > MAX_BODY_BYTES:
                raise BadRequest("body too large")
            if size == 0:
                while self._line():
                    pass
                return bytes(body)
            body += self._take(size)
            self._line()

    def read(self) -> Request | None:
        """Return the next request, None at the end of the connection. Raises `BadRequest`, OSError."""
        while (end := self.buffer.find(_HEAD_END)) < 0:
            if len(self.buffer) > MAX_HEAD_BYTES:
                raise BadRequest("head too large")
            if not self._more():
                return None
        head, self.buffer = self.buffer[: end + 4], self.buffer[end + 4 :]
        request = _parse_head(head)
        if request.header("Expect").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in request.header("Transfer-Encoding").lower():
            request.body = self._chunked()
        elif length := request.header("Content-Length"):
            if not length.isdigit() or int(length) > MAX_BODY_BYTES:
                raise BadRequest("content length")
            request.body = self._take(int(length))
        return request


def _parse_head(head: bytes) -> Request:
    lines = head[:-4].decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("request line")
    headers = []
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        if not separator:
            raise BadRequest("header line")
        headers.append((name, value.strip(" \t")))
    return Request(parts[0], parts[1], headers, b"", parts[2], head)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def _write(sock: socket.socket, request: Request, response: Response, close: bool) -> bool:
    """Send an answer; return whether the connection must end."""
    streamed = not isinstance(response.body, bytes)
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    if response.content_type:
        lines.append(f"Content-Type: {response.content_type}")
    lines += [f"{name}: {value}" for name, value in response.headers]
    if streamed:
        chunked = request.version == "HTTP/1.1"
        close = close or not chunked
        if chunked:
            lines.append("Transfer-Encoding: chunked")
    elif response.status not in _NO_BODY:
        lines.append(f"Content-Length: {len(response.body)}")  # type: ignore[arg-type]
    if close:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if request.method == "HEAD" or response.status in _NO_BODY:
        sock.sendall(head)
    elif isinstance(response.body, bytes):
        sock.sendall(head + response.body)
    else:
        sock.sendall(head)
        _stream(sock, response.body, request.version == "HTTP/1.1")
    return close


def _stream(sock: socket.socket, body: Iterator[bytes], chunked: bool) -> None:
    for part in body:
        if part:
            sock.sendall(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


class HttpServer:
    """Serves `handle` on an address until stopped; `port` is the one really taken."""

    def __init__(self, address: str, handle: Handle, name: str = "http") -> None:
        """Listen at once. Raises `AddressTaken`, ValueError for an address that is none."""
        self._handle, self._name = handle, name
        self._listener = listen(address)
        self.host, self.port = self._listener.getsockname()[:2]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Serve from threads of its own."""
        threading.Thread(target=self._accept, name=f"{self._name}-accept", daemon=True).start()

    def stop(self) -> None:
        """Stop listening and end all connections."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            still_open = list(self._open)
        for sock in still_open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                continue
            threading.Thread(target=self._serve, args=(sock,), name=self._name, daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve_requests(sock)
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _serve_requests(self, sock: socket.socket) -> None:
        connection = _Connection(sock)
        while not self._stopping:
            try:
                request = connection.read()
            except BadRequest as error:
                text = f"{error}\n".encode()
                refused = Request("GET", "/", [], b"", "HTTP/1.1", b"")
                _write(sock, refused, Response(400, text, "text/plain"), close=True)
                return
            if request is None:
                return
            answer = self._handle(request)
            if isinstance(answer, Takeover):
                answer.run(sock, connection.buffer)
                return
            if _write(sock, request, answer, close=answer.close or not request.keeps_alive):
                return
