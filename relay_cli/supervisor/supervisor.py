"""Starts processes stage by stage, restarts what dies, stops all in reverse order."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from relay_cli.supervisor.child import Child
from relay_cli.supervisor.probes import check_free
from relay_cli.supervisor.spec import ProcessSpec, RunEnded, StartFailed

WATCH_S = 0.1
WANTED_DESCRIPTORS = 65_536

Tell = Callable[[str], None]


class Supervisor:
    """Runs `specs` until `stop`.

    A thread of its own starts and watches them (the kernel ends children with the thread that made them).
    `log_directory` None leaves all output on this process's. `tell` gets a line for everything worth knowing.
    """

    def __init__(self, specs: Sequence[ProcessSpec], log_directory: Path | None, tell: Tell) -> None:
        self._tell = tell
        self.children = [
            Child(spec, log_directory / f"{spec.name}.log" if log_directory else None, self._notice)
            for spec in sorted(specs, key=lambda spec: spec.stage)
        ]
        self._guardian: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor")
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self.over = threading.Event()  # set when the run cannot go on; `check` says why

    def start(self, interrupted: threading.Event | None = None) -> None:
        """Start everything and return when all is ready; setting `interrupted` meanwhile ends the attempt.

        Raises `PortTaken`, `StartFailed`; nothing is left running then.
        """
        for child in self.children:
            for port in child.spec.ports:
                check_free(port, child.spec)
        self._thread.start()
        while not self._started.wait(WATCH_S):
            if interrupted is not None and interrupted.is_set():
                self._stopping.set()
        if self._failure:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Stop everything, the last stage first; returns when nothing runs any more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise `RunEnded` when a process that cannot be started again has ended."""
        if self.over.is_set() and self._failure:
            raise self._failure

    def child(self, name: str) -> Child:
        return next(child for child in self.children if child.spec.name == name)

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process had to be started again; only those that had."""
        return {child.spec.name: child.restarts for child in self.children if child.restarts}

    def _run(self) -> None:
        try:
            bound_resources()
            self._start_guardian()
            self._start_all()
        except Exception as error:  # handed to the thread that waits in start()
            self._failure = error
            self._stopping.set()
        self._started.set()
        while not self._stopping.wait(WATCH_S):
            for child in self.children:
                self._watch(child)
        self._stop_all()

    def _start_all(self) -> None:
        for _, stage in itertools.groupby(self.children, key=lambda child: child.spec.stage):
            members = list(stage)
            for child in members:
                child.start()
            for child in members:
                self._await_ready(child)

    def _await_ready(self, child: Child) -> None:
        """Raise `StartFailed` with the last log lines unless the process gets ready in time."""
        deadline = time.monotonic() + child.spec.start_timeout_s
        while not child.is_ready():
            code = child.exit_code()
            if code is not None:
                raise StartFailed(f"{child.spec.name} {ended(code)} while starting{shown_tail(child)}")
            if time.monotonic() > deadline:
                limit = f"{child.spec.start_timeout_s:.0f} s"
                raise StartFailed(f"{child.spec.name} was not ready within {limit}{shown_tail(child)}")
            if self._stopping.wait(WATCH_S / 2):
                raise StartFailed("stopped while starting")

    def _watch(self, child: Child) -> None:
        if child.process_id is None:
            if time.monotonic() >= child.restart_at:
                child.start()
            return
        code = child.exit_code()
        if code is not None:
            child.collect()
            if not child.spec.restarts:
                self._failure = RunEnded(f"{child.spec.name} {ended(code)}{shown_tail(child)}")
                self.over.set()
                child.restart_at = float("inf")
                return
            delay_s = child.schedule_restart()
            self._tell(f"{child.spec.name} {ended(code)}; starting it again in {delay_s:.1f} s")
        elif not child.was_ready and child.is_ready():
            self._tell(f"{child.spec.name} is ready again")

    def _stop_all(self) -> None:
        """Stop stage by stage from the last; the processes of one stage at the same time."""
        stages = itertools.groupby(reversed(self.children), key=lambda child: child.spec.stage)
        for _, stage in stages:
            stopping = [threading.Thread(target=self._stop_child, args=(child,)) for child in stage]
            for thread in stopping:
                thread.start()
            for thread in stopping:
                thread.join()
        if self._guardian and self._guardian.stdin:
            self._guardian.stdin.close()
            self._guardian.wait()

    def _stop_child(self, child: Child) -> None:
        if not child.stop():
            self._tell(f"{child.spec.name} did not end in {child.spec.stop_timeout_s:.0f} s and was killed")

    def _start_guardian(self) -> None:
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "relay_cli.supervisor.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def _notice(self, mark: str, group: int) -> None:
        if self._guardian and self._guardian.stdin:
            try:
                self._guardian.stdin.write(f"{mark}{group}\n")
                self._guardian.stdin.flush()
            except (BrokenPipeError, ValueError):
                self._tell("the guardian process is gone; it would clean up if this one were killed")
                self._guardian = None


def bound_resources() -> None:
    """Allow many open files, for this process and all it starts, and no core files: they would hold keys."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def ended(code: int) -> str:
    """Say how a process ended."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def shown_tail(child: Child) -> str:
    """Return the last log lines, with where they came from."""
    tail = child.tail()
    return f"\n--- {child.log_path} ---\n{tail}" if tail else ""
