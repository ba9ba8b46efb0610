"""A body that is handed on while it is still coming (spec/relayer.md §1.6)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

from relayer_web.backends.connections import ConnectionPool
from relayer_web.backends.contract import BackendFailed, BackendTimeout
from relayer_web.backends.http_response import ResponseReader

RECEIVE_BYTES: Final = 65536
SHORTEST_WAIT_S: Final = 0.001


class HttpBodyStream:
    """The rest of an answer whose head was read: the `BodyStream` of one connection of `pool`."""

    def __init__(
        self, sock: socket.socket, reader: ResponseReader, deadline: float, pool: ConnectionPool
    ) -> None:
        """`deadline`: monotonic seconds, of the whole answer."""
        self._sock: socket.socket | None = sock
        self._reader = reader
        self._deadline = deadline
        self._pool = pool
        self._failure = ""
        self._calls: list[Callable[[str], None]] = []

    def read(self, wait_s: float) -> bytes | None:
        reader = self._reader
        if chunk := reader.take():
            return chunk
        if reader.complete:
            return None
        received = self._receive(wait_s)
        if received is None:
            return b""
        try:
            reader.receive(received)
        except BackendFailed as error:
            self._failure = str(error)
            raise
        chunk = reader.take()
        return None if reader.complete and not chunk else chunk

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._reader.complete and self._reader.reusable:
            self._pool.give_back(sock)
        else:
            self._pool.discard(sock)
        for call in self._calls:
            call(self._failure)

    def on_close(self, call: Callable[[str], None]) -> None:
        self._calls.append(call)

    def _receive(self, wait_s: float) -> bytes | None:
        """Receive something, None when nothing came in time."""
        assert self._sock is not None, "closed"
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise BackendTimeout(what="stream")
        try:
            self._sock.settimeout(max(min(wait_s, left_s), SHORTEST_WAIT_S))
            return self._sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            return None
        except OSError as error:
            self._failure = f"receive: {error.strerror or error}"
            raise BackendFailed(what=self._failure) from None
