"""A process beside gunicorn's workers (metrics, gRPC): a child of the master, started again when it dies.

The child reads its standard input and ends with it. Only the master and its workers hold the other end, so it never
outlives them, however they end. The master reaps all its children, so the child's end may be seen here or there;
both count.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import gevent

CHECK_S: Final = 0.2
LASTED_S: Final = 10.0
LONGEST_PAUSE_S: Final = 5.0
STANDARD_ERROR: Final = 2


class SideProcess:
    """Keeps `python -m module arguments…` running. `on_end(process_id)` hears of each end."""

    def __init__(
        self, module: str, arguments: Sequence[str], on_end: Callable[[int], None] = lambda process_id: None
    ) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._on_end = on_end
        self._input, self._our_end = os.pipe()
        self._master = os.getpid()
        self._wanted = True
        self.process_id = 0

    def start(self) -> None:
        """Start the child and a greenlet that looks after it."""
        self._spawn()
        gevent.spawn(self._keep)

    def stop(self) -> None:
        """Ask the child to end, and start it no more. Does not wait."""
        self._wanted = False
        self._signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of a child that was asked to; kill it when it takes longer."""
        deadline = time.monotonic() + timeout_s
        while self.process_id and not self._has_ended():
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
                return
            gevent.sleep(CHECK_S / 10)
        self._forget()

    @property
    def is_running(self) -> bool:
        return bool(self.process_id)

    def _spawn(self) -> None:
        output = os.open(os.devnull, os.O_WRONLY)
        try:
            self.process_id = os.posix_spawn(
                sys.executable,
                self._command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._input, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGTERM, signal.SIGINT],
            )
        finally:
            os.close(output)

    def _keep(self) -> None:
        """Runs in the master; a worker forked meanwhile inherits the greenlet and ends it.

        One that dies soon after its start is started again after a pause that grows, so that a file which is being
        repaired does not cost a core.
        """
        started, pause_s = time.monotonic(), 0.0
        while True:
            gevent.sleep(CHECK_S)
            if os.getpid() != self._master:
                return
            if not self.process_id or not self._has_ended():
                continue
            self._forget()
            if not self._wanted:
                return
            lasted_s = time.monotonic() - started
            pause_s = 0.0 if lasted_s > LASTED_S else min(2 * pause_s + CHECK_S, LONGEST_PAUSE_S)
            gevent.sleep(pause_s)
            if self._wanted:
                self._spawn()
                started = time.monotonic()

    def _has_ended(self) -> bool:
        try:
            return os.waitpid(self.process_id, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def _forget(self) -> None:
        process_id, self.process_id = self.process_id, 0
        if process_id:
            self._on_end(process_id)

    def _signal(self, number: int) -> None:
        if self.process_id:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process_id, number)


def _inherited() -> list[int]:
    """The open files a child would have beside its standard streams: gunicorn's listeners.

    With them it would hold the addresses when the workers have gone, and clients would wait for nobody.
    """
    numbers = [int(path.name) for path in Path("/dev/fd").iterdir()]
    return [number for number in numbers if number > STANDARD_ERROR and _is_inheritable(number)]


def _is_inheritable(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:  # that of the listing itself
        return False
