"""Real miner processes beside a local chain that makes blocks by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mining_tasks.config import CONFIG_VARIABLE, load_miner_config
from mining_tasks.wiring import keys_of, open_store
from pocket_protocol.types import SupplierAddress
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.session_state import SessionRecord
from relay_store.sessions import Sessions

ROOT = Path(__file__).resolve().parents[1]
CELERY = (sys.executable, "-m", "celery", "-A", "mining_tasks")
WORKER = ("worker", "--without-gossip", "--without-mingle")


@dataclass
class MinerProcesses:
    """Workers and beats under one configuration file."""

    config_path: Path
    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = load_miner_config(self.config_path).config
        self.store: Store = open_store(self.config, "test")
        self.keys: Keys = keys_of(self.config.redis, self.config.extensions)

    def start(self, *arguments: str, application: str = "mining_tasks") -> subprocess.Popen[bytes]:
        """Start `celery -A application …`, its output in a file."""
        command = (*CELERY[:-1], application, *arguments)
        environment = {**os.environ, CONFIG_VARIABLE: str(self.config_path)}
        output = self.directory / f"{arguments[0]}-{len(self.running)}.log"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.directory,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def owner(self, supplier: str) -> str | None:
        """The token that holds the supplier's lease now."""
        token = self.store.client.get(self.keys.lease(supplier))
        return None if token is None else token.decode()

    def record(self, supplier: SupplierAddress, session: str) -> SessionRecord | None:
        return Sessions(self.store, self.keys, supplier).read(session)

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.directory.glob("*.log"))
        )

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float) -> float:
        """Poll until `condition`; return the seconds it took. Fails with the processes' output."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > timeout_s:
                raise AssertionError(f"{what}: not within {timeout_s} s\n{self.logs()}")
            time.sleep(0.05)
        return time.monotonic() - started

    def stop(self) -> None:
        """End whatever of it still runs, children included."""
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.store.close()


@contextmanager
def miner_processes(config_path: Path, directory: Path) -> Iterator[MinerProcesses]:
    """Lend processes that end with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    processes = MinerProcesses(config_path, directory)
    try:
        yield processes
    finally:
        processes.stop()
