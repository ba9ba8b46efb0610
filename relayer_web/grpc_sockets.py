"""Connections from a worker to a gRPC process of the same deployment.

Who the client is would be lost on the way: a local socket has no address. So the worker's end is bound to an
abstract name that says it, and the gRPC library shows that name as its peer.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import unquote

DIRECTORY_VARIABLE: Final = "POCKET_RELAYER_GRPC_SOCKETS"
PATIENCE_S: Final = 5.0
PAUSE_S: Final = 0.05
CONNECT_S: Final = 1.0
_PEER_WORD: Final = "pocket-peer"


class GrpcProcessAway(OSError):
    """No gRPC process accepts connections."""


class GrpcSockets:
    """Connects to the processes in `directory`, one after the other in turn; "" where gRPC is not served."""

    def __init__(
        self,
        directory: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = Path(directory) if directory else None
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = itertools.count()
        self._numbers = itertools.count()

    def connect(self, peer: str) -> socket.socket:
        """Return a connection for a client at address `peer`, waiting a little for a process being started.

        Raises `GrpcProcessAway`.
        """
        if self._directory is None:
            raise GrpcProcessAway
        deadline = self._monotonic() + PATIENCE_S
        while True:
            paths = sorted(self._directory.glob("*.sock"))
            first = next(self._turn)
            for offset in range(len(paths)):
                sock = self._connected(paths[(first + offset) % len(paths)], peer)
                if sock is not None:
                    return sock
            if self._monotonic() >= deadline:
                raise GrpcProcessAway
            self._sleep(PAUSE_S)

    def _connected(self, path: Path, peer: str) -> socket.socket | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(f"\0{_PEER_WORD}/{peer}/{os.getpid()}/{next(self._numbers)}")
            sock.settimeout(CONNECT_S)
            sock.connect(str(path))
            sock.settimeout(None)
        except OSError:
            sock.close()
            return None
        return sock


def peer_address(peer: str) -> str:
    """Return the client's address, without its port, from what the gRPC library calls the peer; "" for unknown."""
    scheme, _, rest = peer.partition(":")
    rest = unquote(rest)
    if scheme == "unix-abstract":
        word, _, named = rest.partition("/")
        return named.partition("/")[0] if word == _PEER_WORD else ""
    if scheme in ("ipv4", "ipv6"):
        return rest.rpartition(":")[0].strip("[]")
    return ""
