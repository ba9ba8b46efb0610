"""A connected socket whose other side has said all it will say: in pieces of one size, then the end."""

from __future__ import annotations

import socket
from typing import Any

PIECES = (65536, 1, 2, 3, 7, 25, 100, 1000)
MOST_PIECES = 100


class MemorySocket:
    """Gives `received` in pieces of `piece` bytes; keeps what is `sent`."""

    def __init__(self, received: bytes, piece: int) -> None:
        self._left = received
        self._piece = max(piece, len(received) // MOST_PIECES)
        self.sent = bytearray()
        self.is_shut = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        taken = self._left[: min(size, self._piece)]
        if not (flags and flags & socket.MSG_PEEK):
            self._left = self._left[len(taken) :]
        return taken

    def sendall(self, data: bytes) -> None:
        if self.is_shut:
            raise BrokenPipeError("shut down for writing")
        self.sent += data

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def shutdown(self, how: int) -> None:
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self.is_shut = True

    def setsockopt(self, *_: Any) -> None:
        return

    def settimeout(self, _: Any) -> None:
        return

    def setblocking(self, _: Any) -> None:
        return

    def close(self) -> None:
        self.is_shut = True
