"""One side of a bridge: a WebSocket protocol without I/O of its own on a connected socket (decisions D8).

One thread reads a peer, any may write. Text frames are bytes like binary ones: relays travel in both, and nobody
looks whether they are UTF-8. Times are monotonic seconds.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, State

from pocket_protocol.errors import Unavailable
from relayer_web.sweeper import NEVER, shut

MAX_MESSAGE_BYTES: Final = 15 * 1024 * 1024
RECEIVE_BYTES: Final = 65536
WRITE_S: Final = 10.0
READ_S: Final = 30.0
UNSENT_REPLIES: Final = 64  # pongs that may wait for a slow write before reading waits too
SMALL_BYTES: Final = 65536

LOG: Final = logging.getLogger("relayer_web.websocket")
LOG.setLevel(logging.ERROR)

Message = tuple[Opcode, bytes]


class TooMuchUnfinished(Unavailable):
    """Large messages of many connections are in the works at the same time."""

    reason = "buffers_full"
    summary = "too many large messages"


class Unfinished:
    """Bytes of the large messages of all connections of a process; each has at most `message_bytes`.

    They count while they arrive, while they wait for their answer, and until a slow peer has read it.
    """

    def __init__(self, message_bytes: int = MAX_MESSAGE_BYTES, limit_bytes: int = 0) -> None:
        """`limit_bytes` 0: 32 messages of the largest size, at least 256 MiB."""
        self.message_bytes = message_bytes
        self._limit_bytes = limit_bytes or max(268_435_456, 32 * message_bytes)
        self.held_bytes = 0

    def change(self, by: int) -> None:
        """Take or give back. Raises `TooMuchUnfinished`."""
        if by > 0 and self.held_bytes + by > self._limit_bytes:
            raise TooMuchUnfinished
        self.held_bytes += by

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold a message of `size` bytes; small ones do not count. Raises `TooMuchUnfinished`."""
        size = size if size > SMALL_BYTES else 0
        self.change(size)
        try:
            yield
        finally:
            self.change(-size)


class Peer:
    """Reads whole messages from `sock`, writes frames to it. `events`: what was read with the handshake."""

    def __init__(
        self, sock: socket.socket, protocol: Protocol, unfinished: Unfinished, events: Sequence[Any] = ()
    ) -> None:
        self._sock = sock
        self._protocol = protocol
        self.unfinished = unfinished
        self._events = list(events)
        self._state = threading.Lock()  # of the protocol; held for moments
        self._writing = threading.Lock()  # of the socket; held while a slow peer reads
        self._opcode = Opcode.BINARY
        self._begun = bytearray()  # of a message in fragments
        self._held = 0
        self._heard_at = time.monotonic()
        self._waiting_since = NEVER
        self._write_deadline = NEVER

    @property
    def close_received(self) -> Close | None:
        """The peer's close frame."""
        return self._protocol.close_rcvd

    @property
    def has_closed(self) -> bool:
        """Whether no more messages will come, though bytes may."""
        return self._protocol.close_rcvd is not None or self._protocol.parser_exc is not None

    @property
    def broke_rules(self) -> bool:
        """Whether the peer sent what is no WebSocket message; it was told so."""
        return isinstance(self._protocol.parser_exc, ProtocolError | PayloadTooBig | UnicodeDecodeError)

    @property
    def sent_too_much(self) -> bool:
        """Whether a message was over the limit; the peer was told so."""
        return isinstance(self._protocol.parser_exc, PayloadTooBig)

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard for too long while we listened."""
        return now - max(self._waiting_since, self._heard_at) > READ_S

    def is_stuck(self, now: float) -> bool:
        """Whether the peer takes too long to read a frame."""
        return now > self._write_deadline

    def messages(self) -> Iterator[Message]:
        """Yield whole messages until the peer closes or vanishes. Raises `TooMuchUnfinished`."""
        events: list[Any] | None = self._events
        self._events = []
        while events is not None:
            yield from self._whole(events)
            if self.has_closed:
                return
            events.clear()  # nothing large is kept while we wait
            events = self._receive()

    def drain(self) -> None:
        """Pass over what still comes, until the connection ends."""
        while self._receive() is not None:
            pass

    def send(self, opcode: Opcode, data: bytes) -> None:
        """Send one message and wait until it is sent. Raises OSError when it cannot be."""
        with self._state:
            if self._protocol.state is not State.OPEN:
                raise ConnectionAbortedError("closing")
            send = self._protocol.send_text if opcode is Opcode.TEXT else self._protocol.send_binary
            send(data)
        self._flush(wait=True)

    def ping(self) -> None:
        """Send a ping. Raises OSError."""
        with self._state:
            if self._protocol.state is State.OPEN:
                self._protocol.send_ping(b"")
        self._flush(wait=False)

    def close(self, code: int | None, reason: str) -> None:
        """Send a close frame, unless one was sent before. What comes from now on is passed over."""
        with self._state:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, reason)
        with contextlib.suppress(OSError):
            self._flush(wait=False)

    def shut(self) -> None:
        """End the connection at once; whoever waits for it wakes."""
        shut(self._sock, socket.SHUT_RDWR)

    def release(self) -> None:
        """Forget what is held; the peer is not used any more.

        The protocol's parser knows the protocol, and the last frame: only the collector would find out that they have
        gone, and it comes late (heap).
        """
        self._hold(0)
        self._sock.close()
        with contextlib.suppress(ValueError):  # it runs, in a thread that is being ended
            self._protocol.parser.close()
        if self._protocol.parser_exc is not None:
            self._protocol.parser_exc.with_traceback(None)

    def _receive(self) -> list[Any] | None:
        """The next events, None at the end of the connection."""
        self._waiting_since = time.monotonic()
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        finally:
            self._waiting_since = NEVER
        with self._state:
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            events = self._protocol.events_received()
        with contextlib.suppress(OSError):  # then the next read tells
            self._flush(wait=len(self._protocol.writes) > UNSENT_REPLIES)
        if not data:
            return None
        if events:
            self._heard_at = time.monotonic()
        self._hold(len(self._protocol.reader.buffer) + len(self._begun))
        return events

    def _hold(self, size: int) -> None:
        size = size if size > SMALL_BYTES else 0
        if size != self._held:
            self.unfinished.change(size - self._held)
            self._held = size

    def _whole(self, events: Sequence[Any]) -> Iterator[Message]:
        """Put fragments together, as they come: kept one by one, tiny ones would take many times their bytes."""
        for frame in events:
            if not isinstance(frame, Frame) or frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            if frame.opcode is not Opcode.CONT:
                self._opcode = frame.opcode
            if not frame.fin:
                self._begun += frame.data
                continue
            message = bytes(self._begun + frame.data if self._begun else frame.data)
            self._begun.clear()
            yield self._opcode, message

    def _flush(self, *, wait: bool) -> None:
        """Send what the protocol wants sent. Without `wait`, whoever is writing takes it along."""
        while self._protocol.writes:
            if not self._writing.acquire(blocking=wait):
                return
            try:
                with self._state:
                    parts = self._protocol.data_to_send()
                self._write(parts)
            finally:
                self._writing.release()

    def _write(self, parts: Sequence[bytes]) -> None:
        self._write_deadline = time.monotonic() + WRITE_S
        try:
            for data in parts:
                if data:
                    self._sock.sendall(data)
                else:
                    shut(self._sock, socket.SHUT_WR)
        finally:
            self._write_deadline = NEVER
