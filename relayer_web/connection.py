"""One client connection of the relay port: requests in, answers out, until either side is done.

The direct way: head parsed in C, body by its Content-Length, relay function, answer. Everything else (service
routes, chunked bodies, no body) is un-read into gunicorn's parser and goes through WSGI and Flask, where the same
relay function is a view. A connection may change ways between requests.

Deadlines (looked after by the sweeper): the whole head and the whole body each have `client_timeout_s`, an idle
connection `idle_s`, writing an answer `client_timeout_s`; while a relay is served the pipeline has its own.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from relayer_web.handover import (
    HTTP2_PREFACE,
    HTTP2_REFUSAL,
    foreign_protocol_answer,
    is_websocket,
    may_be_http2,
)
from relayer_web.http_answer import CONTINUE, chunk, encode_answer, error_answer
from relayer_web.http_head import UNKNOWN_LENGTH, Head, HeadLimits, RequestError, parse_head
from relayer_web.inbound import Answer, Chunks, Inbound
from relayer_web.service_routes import is_service_route
from relayer_web.sweeper import NEVER, Sweeper, is_closed, shut
from relayer_web.unread_answers import UnreadAnswers
from relayer_web.websocket.handshake import Upgrade

RECEIVE_BYTES: Final = 65536
QUIET_S: Final = 1.0
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 1 << 20
SMALL_BODY_BYTES: Final = 65536
UNREAD_BODY: Final = "failed to read request body"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of client connections. `max_buffered_bytes`: large bodies of one process being read, and being sent."""

    head: HeadLimits = field(default_factory=HeadLimits)
    max_body_bytes: int = 10_485_760
    client_timeout_s: float = 30.0
    idle_s: float = 120.0
    max_buffered_bytes: int = 268_435_456


class Shell:
    """What all connections of one worker share. `direct` off sends every request through WSGI.

    `http2(client, first, peer)` carries an HTTP/2 connection to its end; False when nobody takes it.
    """

    def __init__(
        self,
        *,
        limits: ConnectionLimits,
        relay: Callable[[Inbound], Answer],
        http2: Callable[[socket.socket, bytes, str], bool] = lambda client, first, peer: False,
        websocket: Callable[[Upgrade], Answer | None],
        on_unanswered: Callable[[Inbound, Answer], None],
        sweeper: Sweeper,
        is_stopping: Callable[[], bool],
        direct: bool = True,
    ) -> None:
        self.limits = limits
        self.relay = relay
        self.http2 = http2
        self.websocket = websocket
        self.on_unanswered = on_unanswered
        self.sweeper = sweeper
        self.is_stopping = is_stopping
        self.direct = direct
        self.buffered_bytes = 0
        self.unread = UnreadAnswers(limits.max_buffered_bytes)


WsgiExchange = Callable[["ClientConnection", Head, bool], bool]


class ClientConnection:
    """Serves `sock`. `through_wsgi(connection, head, keep_alive)` does one exchange the other way."""

    def __init__(
        self, sock: socket.socket, peer: str, shell: Shell, through_wsgi: WsgiExchange, *, takes_relays: bool
    ) -> None:
        self.sock = sock
        self.peer = peer
        self.buffer = b""
        self.deadline = NEVER
        self.idle = False
        self.expired = False
        self.served = 0
        self._idle_since = time.monotonic()
        self._shell = shell
        self._through_wsgi = through_wsgi
        self._takes_relays = takes_relays
        self._writing = False

    def may_end(self, now: float) -> bool:
        """Quiet for a while: a client about to send its next request would lose it; served, it is told to close."""
        return self.idle and now - self._idle_since > QUIET_S

    def expire(self) -> None:
        """Called by the sweeper: end what this connection waits for."""
        self.deadline = NEVER
        self.expired = True
        shut(self.sock, socket.SHUT_RDWR if self._writing else socket.SHUT_RD)

    def run(self) -> None:
        """Serve until the connection is to be closed. Raises OSError when it breaks."""
        self._shell.sweeper.add(self)
        try:
            while self._serve_one():
                pass
        except RequestError as error:
            self._refuse(error_answer(error.status, error.text))
        finally:
            self._shell.sweeper.remove(self)

    def _serve_one(self) -> bool:
        """Serve the next request; False when there is none or the connection is done."""
        head = self._read_head()
        if head is None:
            return False
        if self._takes_relays and is_websocket(head.headers):
            return self._become_websocket(head)
        refusal = self._refusal(head)
        if refusal is not None:
            self._refuse(refusal)
            return False
        keep_alive = head.keep_alive and not self._shell.is_stopping()
        if self._is_direct(head):
            return self._serve_directly(head, keep_alive)
        return self._through_wsgi(self, head, keep_alive)

    def _become_websocket(self, head: Head) -> bool:
        """Hand the connection over; it does not come back."""
        raw, received, self.buffer = self.buffer[: head.size], self.buffer[head.size :], b""
        upgrade = Upgrade(self.sock, raw, received, head.headers, head.path, self.peer)
        answer = self._shell.websocket(upgrade)
        if answer is not None:
            self._refuse(answer)
        return False

    def _refusal(self, head: Head) -> Answer | None:
        """The answer to what need not be read any further."""
        if not self._takes_relays:
            return None
        if head.length > self._shell.limits.max_body_bytes:
            path = head.target.decode("latin-1")
            return self._shell.relay(Inbound(b"", head.headers, self.peer, oversize=True, path=path))
        return foreign_protocol_answer(head.headers)

    def _is_direct(self, head: Head) -> bool:
        return (
            head.length != UNKNOWN_LENGTH
            and self._takes_relays
            and self._shell.direct
            and head.target.startswith(b"/")
            and not is_service_route(head.path)
        )

    def _serve_directly(self, head: Head, keep_alive: bool) -> bool:
        self.buffer = self.buffer[head.size :]
        inbound = Inbound(
            self._read_body(head),
            head.headers,
            self.peer,
            method=head.method.decode("latin-1"),
            path=head.target.decode("latin-1"),
        )
        answer = self._shell.relay(inbound)
        encoded = encode_answer(
            answer,
            keep_alive=keep_alive,
            is_http_1_1=head.is_http_1_1,
            head_request=head.method == b"HEAD",
        )
        if answer.chunks is not None:
            self._stream(encoded, answer.chunks, head.is_http_1_1)
            return False
        try:
            self.send(encoded)
        except OSError:
            self._shell.on_unanswered(inbound, answer)
            raise
        self.served += 1
        return keep_alive

    def _stream(self, head: bytes, chunks: Chunks, is_chunked: bool) -> None:
        """Send an answer bit by bit. Its end is only sent when it was reached."""
        try:
            self.send(head)
            for data in chunks:
                if data:
                    self.send(chunk(data) if is_chunked else data)
                else:
                    self.check_client()
            if is_chunked:
                self.send(chunk(b""))
        finally:
            chunks.close()
        self._linger()

    def check_client(self) -> None:
        """Raise OSError when the client has left; does not wait."""
        if is_closed(self.sock):
            raise ConnectionAbortedError("client left")

    def send(self, encoded: bytes) -> None:
        """Send all of it within the client's time."""
        with self.writing(len(encoded)):
            self.sock.sendall(encoded)

    @contextmanager
    def writing(self, size: int) -> Iterator[None]:
        """The client has its time to read the `size` bytes that are written in this block."""
        self.start_clock()
        self._writing = True
        try:
            if size > SMALL_BODY_BYTES:
                with self._shell.unread.sending(self, size):
                    yield
            else:
                yield
        finally:
            self._writing = False
            self.stop_clock()

    def start_clock(self) -> None:
        """The client has its time for what comes now."""
        self.deadline = time.monotonic() + self._shell.limits.client_timeout_s

    def stop_clock(self) -> None:
        """It is our turn."""
        self.deadline = NEVER

    def continue_if_expected(self, head: Head, *, has_body: bool) -> None:
        """Tell a client that waits for it to send its body."""
        if head.expects_continue and not has_body:
            self.sock.sendall(CONTINUE)

    def _read_head(self) -> Head | None:
        """Return the next head, None at the end of the connection. Raises `RequestError`."""
        limits = self._shell.limits
        self.buffer = self.buffer.lstrip(b"\r\n")
        searched, parse_at = 0, 1
        if self.buffer:
            self.start_clock()
        while True:
            buffer = self.buffer
            if buffer and not (self.served == 0 and self._is_http2(buffer)):
                if len(buffer) >= parse_at or b"\r\n\r\n" in buffer[searched:]:
                    head = parse_head(buffer, limits.head)
                    if head is not None:
                        self.stop_clock()
                        return head
                    parse_at = 2 * len(buffer)
                searched = max(0, len(buffer) - 3)
            if not self._receive_more():
                return None

    def _is_http2(self, buffer: bytes) -> bool:
        """Tell whether this may still become the HTTP/2 preface; hand the connection over when it has."""
        if not may_be_http2(buffer):
            return False
        if len(buffer) >= len(HTTP2_PREFACE):
            self._become_http2()
            raise ConnectionAbortedError("HTTP/2")
        return True

    def _become_http2(self) -> None:
        """Have the connection carried to its end by whoever speaks HTTP/2; it does not come back."""
        self.stop_clock()
        first, self.buffer = self.buffer, b""
        if not (self._takes_relays and self._shell.http2(self.sock, first, self.peer)):
            self.sock.sendall(HTTP2_REFUSAL)
            self._linger()

    def _receive_more(self) -> bool:
        """Add what comes next to the buffer; False at the end. Raises `RequestError` when time is up."""
        if not self.buffer and not self.idle:
            limits = self._shell.limits
            self.idle = True
            self._idle_since = time.monotonic()
            self.deadline = time.monotonic() + (limits.idle_s if self.served else limits.client_timeout_s)
        chunk = self._receive(RECEIVE_BYTES)
        if not chunk:
            if self.expired and self.buffer:
                raise RequestError(408, "request timeout")
            return False
        self.buffer = self.buffer + chunk if self.buffer else chunk.lstrip(b"\r\n")
        if self.buffer and self.idle:
            self.idle = False
            self.start_clock()
        return True

    def _receive(self, size: int) -> bytes:
        """Receive, b"" at the end or when the sweeper made it end."""
        try:
            return self.sock.recv(size)
        except OSError:
            if self.expired:
                return b""
            raise

    def _read_body(self, head: Head) -> bytes:
        """Return the body and keep what follows it. Raises `RequestError`."""
        length = head.length
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        if len(body) == length:
            return body
        self.continue_if_expected(head, has_body=bool(body))
        shell = self._shell
        reserved = length if length > SMALL_BODY_BYTES else 0
        if shell.buffered_bytes + reserved > shell.limits.max_buffered_bytes:
            raise RequestError(503, "too many large requests")
        shell.buffered_bytes += reserved
        self.start_clock()
        try:
            return self._received(body, length)
        finally:
            self.stop_clock()
            shell.buffered_bytes -= reserved

    def _received(self, first: bytes, length: int) -> bytes:
        parts = [first]
        missing = length - len(first)
        while missing:
            chunk = self._receive(min(missing, 4 * RECEIVE_BYTES))
            if not chunk:
                if self.expired:
                    raise RequestError(408, "request timeout")
                raise RequestError(400, UNREAD_BODY)
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def _refuse(self, answer: Answer) -> None:
        """Answer, say that the connection ends, and let the client read it before it does."""
        self.send(encode_answer(answer, keep_alive=False))
        self._linger()

    def _linger(self) -> None:
        """Closing with bytes unread would reset the connection and could take the answer with it."""
        shut(self.sock, socket.SHUT_WR)
        self.deadline = time.monotonic() + LINGER_S
        left = LINGER_BYTES
        while left > 0 and not self.expired:
            chunk = self._receive(RECEIVE_BYTES)
            if not chunk:
                return
            left -= len(chunk)
