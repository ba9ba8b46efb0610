"""The metrics endpoint as a child of gunicorn's master, started again when it dies.

The child reads its standard input and ends with it. Only the master and its workers hold the other end, so it never
outlives them, however they end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

import gevent

CHECK_S = 1.0


class MetricsChild:
    """Keeps `python -m operations.metrics_server address directory probes…` running.

    The master reaps all its children, so the child's end may be seen here or there; both count.
    """

    def __init__(self, address: str, directory: str, probes: Sequence[str] = ()) -> None:
        self._arguments = [
            sys.executable,
            "-m",
            "operations.metrics_server",
            address,
            directory,
            *probes,
        ]
        self._input, self._our_end = os.pipe()
        self._master = os.getpid()
        self._process_id = 0

    def start(self) -> None:
        """Start the child and a greenlet that looks after it."""
        self._spawn()
        gevent.spawn(self._keep)

    def stop(self) -> None:
        """End the child."""
        self._master = 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process_id, signal.SIGTERM)

    def _spawn(self) -> None:
        output = os.open(os.devnull, os.O_WRONLY)
        try:
            self._process_id = os.posix_spawn(
                sys.executable,
                self._arguments,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._input, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGTERM, signal.SIGINT],
            )
        finally:
            os.close(output)

    def _keep(self) -> None:
        """Runs in the master; a worker forked meanwhile inherits the greenlet and ends it."""
        while True:
            gevent.sleep(CHECK_S)
            if os.getpid() != self._master:
                return
            if self._has_ended():
                self._spawn()

    def _has_ended(self) -> bool:
        try:
            return os.waitpid(self._process_id, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True
