"""The gRPC processes beside the workers, and where the workers find them.

Each listens on a socket of its own in a directory of the master; a worker that has an HTTP/2 connection to hand over
takes any that accepts. So one that died, or is being replaced, needs no word to anybody.

    start      the first generation, once the relay port is bound
    renew      a new generation with the configuration as it is now; the old one ends when the new one listens
    drain      no new connections, calls on their way are finished (gRPC tells the clients)
    stop       the end
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gevent

from relayer_web.grpc_sockets import DIRECTORY_VARIABLE
from relayer_web.side_process import SideProcess

MODULE: Final = "relayer_web.grpc_server"
LISTENING_S: Final = 20.0
END_S: Final = 5.0


class GrpcProcesses:
    """`count` processes. `on_end(process_id)` hears of each end."""

    def __init__(self, count: int, on_end: Callable[[int], None] = lambda process_id: None) -> None:
        self._count = count
        self._on_end = on_end
        self._directory: Path | None = None
        self._numbers = itertools.count(1)
        self._running: list[tuple[SideProcess, Path]] = []

    def start(self) -> None:
        """Start a generation, the first one before any worker is forked."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="pocket-grpc-"))
            os.environ[DIRECTORY_VARIABLE] = str(self._directory)
        for _ in range(self._count):
            path = self._directory / f"{next(self._numbers)}.sock"
            process = SideProcess(MODULE, [str(path)], self._on_end)
            process.start()
            self._running.append((process, path))

    def renew(self) -> None:
        """Replace all processes; returns at once."""
        old, self._running = self._running, []
        self.start()
        gevent.spawn(self._retire, old, list(self._running))

    def drain(self) -> None:
        for process, _ in self._running:
            process.stop()

    def stop(self) -> None:
        self.drain()
        for process, _ in self._running:
            process.wait(END_S)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _retire(
        self, old: list[tuple[SideProcess, Path]], successors: list[tuple[SideProcess, Path]]
    ) -> None:
        with gevent.Timeout(LISTENING_S, False):
            while not all(path.exists() for _, path in successors):
                gevent.sleep(0.1)
        for process, path in old:
            process.stop()
            with contextlib.suppress(OSError):
                path.unlink()
