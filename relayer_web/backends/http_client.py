"""HTTP/1.1 towards one origin, for the relay path (spec/relayer.md §1.4, §2.7).

One call is one request and its whole answer within one deadline. Redirects are answers like others. The client
repeats a request only in one case: a kept connection turned out to be closed before a byte of an answer came, and
doing it twice does no harm; then once, on a new connection.

It works on plain sockets, so the same code serves gevent workers (patched) and threads.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relayer_web.backends.connections import ConnectionLimits, ConnectionPool
from relayer_web.backends.contract import BackendFailed, BackendResponse, BackendTimeout
from relayer_web.backends.http_response import ResponseReader
from relayer_web.backends.http_stream import HttpBodyStream
from relayer_web.backends.observer import BackendObserver
from relayer_web.backends.resolver import Resolver

RECEIVE_BYTES = 65536
FIRST_SERVER_ERROR = 500
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go: https or http, host without brackets, port."""

    secure: bool
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A checked request: token method, target of visible ASCII, headers without framing, line breaks or Host.

    `repeatable`: doing it twice does no harm. `may_stream`: see `BackendRequest`.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    repeatable: bool
    may_stream: bool = False


class HttpClient:
    """Sends requests to one origin. Answers of `max_body_bytes` or more are failures."""

    def __init__(
        self,
        origin: Origin,
        limits: ConnectionLimits,
        *,
        max_body_bytes: int,
        head_s: float = 0.0,
        service_id: str = "",
        observer: BackendObserver | None = None,
        tls_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        resolver: Resolver | None = None,
    ) -> None:
        """`head_s`: time until the answer's headers are complete, 0 for no limit of its own."""
        self._origin = origin
        self._max_body_bytes = max_body_bytes
        self._head_s = head_s
        self._service_id = service_id
        self._observer = observer or BackendObserver()
        self._pool = ConnectionPool(
            resolver or Resolver(origin.host, origin.port),
            limits,
            (tls_context(), origin.host) if origin.secure else None,
            on_wait=lambda seconds: self._observer.waited(service_id, seconds),
            on_dial=lambda seconds: self._observer.dialled(service_id, seconds),
        )

    def call(self, request: OutgoingRequest, deadline: float) -> BackendResponse:
        """Send and return the whole answer before `deadline` (monotonic seconds).

        Raises `BackendTimeout` and `BackendFailed`; its value `sent` is False when the backend saw nothing.
        """
        encoded = _encoded(request, self._origin.authority)
        sock, reused = self._pool.take(deadline)
        self._observer.connected(self._service_id, reused)
        try:
            return self._exchange(sock, request, encoded, deadline)
        except _ClosedUnanswered:
            if not (reused and request.repeatable):
                raise
        sock, _ = self._pool.take(deadline, fresh=True)
        return self._exchange(sock, request, encoded, deadline)

    def check_connection(self, deadline: float) -> None:
        """Make a connection and close it. Raises like `call`."""
        sock, _ = self._pool.take(deadline, fresh=True)
        self._pool.discard(sock)

    def connect(self, deadline: float) -> socket.socket:
        """Return a new connection that is the caller's own and counts in no pool. Raises like `call`."""
        return self._pool.connect(deadline)

    def close(self) -> None:
        self._pool.close()

    def _exchange(
        self, sock: socket.socket, request: OutgoingRequest, encoded: bytes, deadline: float
    ) -> BackendResponse:
        reader = ResponseReader(request.method == "HEAD", self._max_body_bytes)
        kept = False
        try:
            self._send(sock, encoded, deadline)
            self._receive(sock, reader, deadline, request.may_stream)
            if not reader.complete and reader.status >= FIRST_SERVER_ERROR:
                return BackendResponse(
                    reader.status, reader.headers, b""
                )  # refused: its rest is not waited for
            if request.may_stream and reader.is_stream and reader.has_body:
                kept = True
                stream = HttpBodyStream(sock, reader, deadline, self._pool)
                return BackendResponse(reader.status, reader.headers, b"", stream=stream)
            if reader.reusable:
                kept = True
                self._pool.give_back(sock)
            return BackendResponse(reader.status, reader.headers, reader.body)
        finally:
            if not kept:
                self._pool.discard(sock)

    def _send(self, sock: socket.socket, encoded: bytes, deadline: float) -> None:
        """Send all, unless the backend hangs up; it may have answered before it did."""
        try:
            sock.settimeout(_remaining(deadline))
            sock.sendall(encoded)
        except TimeoutError:
            raise BackendTimeout(what="sending") from None
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return
        except OSError as error:
            raise BackendFailed(what=f"send: {error.strerror or error}") from None

    def _receive(
        self, sock: socket.socket, reader: ResponseReader, deadline: float, may_stream: bool
    ) -> None:
        """Receive to the end, or to the end of the head when the answer is a stream and may be one."""
        head_deadline = min(deadline, time.monotonic() + self._head_s) if self._head_s else deadline
        while not reader.complete:
            try:
                sock.settimeout(_remaining(deadline if reader.head_complete else head_deadline))
                chunk = sock.recv(RECEIVE_BYTES)
            except TimeoutError:
                raise BackendTimeout(what="answer") from None
            except OSError as error:
                if not reader.started and isinstance(error, ConnectionError):
                    raise _ClosedUnanswered(what="connection reset") from None
                raise BackendFailed(what=f"receive: {error.strerror or error}") from None
            if not chunk and not reader.started:
                raise _ClosedUnanswered(what="connection closed")
            reader.receive(chunk)
            if may_stream and reader.is_stream:
                return


class _ClosedUnanswered(BackendFailed):
    """The connection ended before a byte of an answer came."""


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _encoded(request: OutgoingRequest, authority: str) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1\r\nHost: {authority}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in request.headers]
    if request.body or request.method in _WITH_LENGTH:
        lines.append(f"Content-Length: {len(request.body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "replace") + request.body
