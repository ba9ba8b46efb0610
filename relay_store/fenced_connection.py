"""Connections that do not reconnect between WATCH and EXEC (decisions.md B0).

The client library opens a lost connection again without a word, also between WATCH and EXEC: the server
has then forgotten what was watched, and the transaction goes through unfenced. Both ways into a new
connection (`connect` and the one `send_packed_command` takes) are closed here while `watching` is set.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.retry import Retry


class _Fenced:
    """Mixed into a connection class of the client library."""

    watching = False

    def connect(self) -> None:
        self._refuse_while_watching()
        super().connect()  # type: ignore[misc]

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_while_watching()
        super().connect_check_health(*args, **kwargs)  # type: ignore[misc]

    def _refuse_while_watching(self) -> None:
        if self.watching and self._sock is None:  # type: ignore[attr-defined]
            raise LostConnection("connection was lost between WATCH and EXEC")


@functools.cache
def fenced_class(connection_class: type) -> type:
    """Return the fenced variant of a connection class (TCP, TLS, Unix socket, Sentinel)."""
    return type(f"Fenced{connection_class.__name__}", (_Fenced, connection_class), {})


def _is_clean(connection: Any) -> bool:
    """Whether the server has neither closed the connection nor left a reply in it."""
    try:
        return not connection.can_read()
    except LostConnection:
        return False


class FencedConnections:
    """Idle fenced connections of this process, by the pool whose server they go to."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._idle: dict[int, list[Any]] = {}
        self._pools: dict[int, Any] = {}  # keeps the pools alive whose id() is a key above

    @contextmanager
    def lend(self, pool: Any) -> Iterator[Any]:
        """Lend a connected one. It is kept only when given back not watching and after no error."""
        connection = self._take(pool)
        try:
            connection.connect()
            if not _is_clean(connection):
                connection.disconnect()
                connection.connect()
            yield connection
        except BaseException:
            connection.watching = False
            connection.disconnect()
            raise
        if connection.watching:
            connection.watching = False
            connection.disconnect()
        self._idle.setdefault(id(pool), []).append(connection)

    def _take(self, pool: Any) -> Any:
        if self._pid != os.getpid():  # the parent's sockets are not ours to use or to close
            self._pid, self._idle, self._pools = os.getpid(), {}, {}
        self._pools[id(pool)] = pool
        try:
            return self._idle.setdefault(id(pool), []).pop()
        except IndexError:
            pass
        options = {**pool.connection_kwargs, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0}
        return fenced_class(pool.connection_class)(**options)

    def close(self) -> None:
        if self._pid == os.getpid():
            for connections in self._idle.values():
                for connection in connections:
                    connection.disconnect()
        self._idle, self._pools = {}, {}
