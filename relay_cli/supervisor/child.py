"""One supervised process over its restarts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from relay_cli.supervisor.guardian import kill_group
from relay_cli.supervisor.spec import ProcessSpec

FIRST_RESTART_S = 0.2
LAST_RESTART_S = 5.0
STABLE_AFTER_S = 20.0
TAIL_LINES = 25
_TAIL_BYTES = 16384
_GROUP_NOTICE = Callable[[str, int], None]


class Child:
    """Starts, watches and ends one process, in a process group of its own so that no terminal signal reaches it.

    `log_path` None leaves its output on the supervisor's own. `notice` is told of groups that come and go.
    Used by one thread: the kernel ends the children of a thread that ends.
    """

    def __init__(self, spec: ProcessSpec, log_path: Path | None, notice: _GROUP_NOTICE) -> None:
        self.spec, self.log_path = spec, log_path
        self.restarts = 0
        self.was_ready = False
        self._notice = notice
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._failures = 0  # in a row
        self.restart_at = 0.0

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process."""
        leash = [sys.executable, "-m", "relay_cli.supervisor.leash", str(os.getpid())]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **self.spec.environment}
        log = self._open_log()
        try:
            self._process = subprocess.Popen(
                [*leash, *self.spec.command],
                stdin=subprocess.PIPE,  # never written to; it ends with this process
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                env=environment,
                cwd=self.spec.directory,
                start_new_session=True,
            )
        finally:
            if log:
                log.close()
        self._notice("+", self._process.pid)
        self._started_at = time.monotonic()
        self.was_ready = False

    def exit_code(self) -> int | None:
        """Return how the process ended, None while it runs."""
        return self._process.poll() if self._process else None

    def is_ready(self) -> bool:
        """Ask the probe, and remember a yes."""
        if not self.was_ready and self.exit_code() is None:
            self.was_ready = self.spec.ready()
        return self.was_ready

    def schedule_restart(self) -> float:
        """Decide when to start again after an end; return the seconds until then."""
        stable = time.monotonic() - self._started_at > STABLE_AFTER_S
        self._failures = 0 if stable else self._failures + 1
        delay_s = min(FIRST_RESTART_S * 2.0 ** max(self._failures - 1, 0), LAST_RESTART_S)
        self.restart_at = time.monotonic() + delay_s
        self.restarts += 1
        return delay_s

    def collect(self) -> None:
        """After an end: end what is left of the process's group, and forget it."""
        if self._process is None:
            return
        kill_group(self._process.pid)
        self._notice("-", self._process.pid)
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def stop(self) -> bool:
        """Ask the process to end and wait; return whether it did so in time."""
        process = self._process
        if process is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(self.spec.stop_timeout_s)
            in_time = True
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            process.wait()
            in_time = False
        self.collect()
        return in_time

    def tail(self) -> str:
        """Return the last lines of the log."""
        if self.log_path is None:
            return ""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    def _open_log(self) -> IO[bytes] | None:
        if self.log_path is None:
            return None
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        return self.log_path.open("ab")
