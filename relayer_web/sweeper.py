"""Deadlines of all client connections, looked at by one greenlet instead of a timer each."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

import gevent

SWEEP_S: Final = 0.25
NEVER: Final = float("inf")


class Watched(Protocol):
    """What has a deadline in monotonic seconds."""

    deadline: float

    def may_end(self, now: float) -> bool:
        """Whether nothing is lost when the connection ends now."""

    def expire(self) -> None:
        """Make whatever the connection waits for end now."""


class Sweeper:
    """Expires connections past their deadline, and unused ones once `is_stopping` says so."""

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping
        self._watched: set[Watched] = set()

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, connection: Watched) -> None:
        self._watched.add(connection)

    def remove(self, connection: Watched) -> None:
        self._watched.discard(connection)

    def start(self) -> None:
        gevent.spawn(self._run)

    def sweep(self) -> None:
        """Look at every connection once."""
        now = time.monotonic()
        stopping = self._is_stopping()
        for connection in list(self._watched):
            if connection.deadline <= now or (stopping and connection.may_end(now)):
                connection.expire()

    def _run(self) -> None:
        while True:
            gevent.sleep(SWEEP_S)
            self.sweep()


def shut(sock: socket.socket, how: int) -> None:
    """Shut a socket down so that a greenlet waiting on it wakes; one already gone is fine."""
    with contextlib.suppress(OSError):
        sock.shutdown(how)


def is_closed(sock: socket.socket) -> bool:
    """Tell whether the other side has ended the connection; does not wait."""
    raw = getattr(sock, "_sock", sock)  # a patched socket would wait
    try:
        return not raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
