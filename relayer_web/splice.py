"""Two connections made one: what comes from either goes to the other, as it comes (design.md §3.7).

Bytes are held one piece at a time in each direction, so a slow reader slows its writer down and nothing grows. An end
of one direction is passed on and leaves the other open. A side that does not take a piece within its time ends both.
How long a connection may be silent is the affair of the process behind it, which knows whether calls are under way.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

import gevent

from relayer_web.grpc_sockets import GrpcProcessAway
from relayer_web.sweeper import NEVER, Sweeper, shut

PIECE_BYTES: Final = 65536


class Http2Handover:
    """Where a worker's HTTP/2 connections go. `connect(peer)` gives a connection to a gRPC process."""

    def __init__(
        self, connect: Callable[[str], socket.socket], sweeper: Sweeper, *, write_timeout_s: float
    ) -> None:
        self._connect = connect
        self._sweeper = sweeper
        self._write_timeout_s = write_timeout_s

    def take(self, client: socket.socket, first: bytes, peer: str) -> bool:
        """Carry a client's connection to its end; False when there is nobody to carry it to."""
        try:
            behind = self._connect(peer)
        except GrpcProcessAway:
            return False
        with behind:
            Splice(client, behind, first, write_timeout_s=self._write_timeout_s).run(self._sweeper)
        return True


class Splice:
    """A client's connection and the one behind it; `first` are the client's bytes that were read already."""

    def __init__(
        self, client: socket.socket, behind: socket.socket, first: bytes, *, write_timeout_s: float
    ) -> None:
        self._client, self._behind = client, behind
        self._first = first
        self._write_timeout_s = write_timeout_s
        self._deadlines = {client: NEVER, behind: NEVER}

    @property
    def deadline(self) -> float:
        """When the first of the writes under way is given up."""
        return min(self._deadlines.values())

    def may_end(self, now: float) -> bool:
        """Never by itself: the process behind ends connections that nothing is under way on."""
        return False

    def expire(self) -> None:
        """Called by the sweeper: end both."""
        self._deadlines = dict.fromkeys(self._deadlines, NEVER)
        for sock in (self._client, self._behind):
            shut(sock, socket.SHUT_RDWR)

    def run(self, sweeper: Sweeper) -> None:
        """Carry bytes until both directions have ended."""
        sweeper.add(self)
        answers = gevent.spawn(self._carry_answers)
        try:
            self._carry_requests()
            answers.join()
        finally:
            sweeper.remove(self)
            answers.kill()

    def _carry_requests(self) -> None:
        piece = self._first or _read(self._client)
        while piece and self._write(self._behind, piece):
            piece = _read(self._client)
        if not piece:
            shut(self._behind, socket.SHUT_WR)
        # Nobody takes it any more. Closing with it unread would reset the connection and take the last answers along.
        while piece:
            piece = _read(self._client)

    def _carry_answers(self) -> None:
        piece = _read(self._behind)
        while piece and self._write(self._client, piece):
            piece = _read(self._behind)
        if piece:
            shut(self._behind, socket.SHUT_RDWR)
        shut(self._client, socket.SHUT_WR)
        self._deadlines[self._client] = time.monotonic() + self._write_timeout_s

    def _write(self, sink: socket.socket, piece: bytes) -> bool:
        """Write all of a piece; False when the sink takes no more."""
        self._deadlines[sink] = time.monotonic() + self._write_timeout_s
        try:
            sink.sendall(piece)
        except OSError:
            return False
        self._deadlines[sink] = NEVER
        return True


def _read(source: socket.socket) -> bytes:
    """Read what has come, b"" at the end, however it came."""
    try:
        return source.recv(PIECE_BYTES)
    except OSError:
        return b""
