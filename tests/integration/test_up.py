"""`up` as its user has it: everything comes up, what is killed comes back, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay_cli.run_directory import Run, read_run
from tests.integration.processes import (
    COMMAND,
    command,
    descendants,
    eventually,
    free_port_flags,
    process_table,
    running,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
START_S = 60.0
BACK_S = 60.0
PARTS = {
    "store": "valkey-server",
    "miner": "celery -A mining_tasks worker",
    "beat": "celery -A mining_tasks beat",
    "relayer": "gunicorn",
}


@dataclass
class Up:
    """A running `up` and what it wrote."""

    process: subprocess.Popen[str]
    directory: Path
    log: Path

    @property
    def run(self) -> Run:
        return read_run(self.directory)

    def await_start(self) -> None:
        ended = self.process.poll
        eventually(lambda: self.says("Ctrl-C stops everything") or ended() is not None, START_S)
        assert ended() is None, self.log.read_text()

    def part(self, name: str) -> int:
        """Return the process id of a part's own process, 0 while there is none."""
        for pid, (parent, line) in process_table().items():
            if parent == self.process.pid and PARTS[name] in line:
                return pid
        return 0

    def says(self, text: str) -> bool:
        return text in self.log.read_text()

    def serves(self) -> bool:
        where = ("--localnet", "--dir", str(self.directory), "--service", "develop-http")
        result = run_command("relay", "jsonrpc", *where, "--json")
        return result.returncode == 0 and json.loads(result.stdout)["success"]

    def kill_and_await(self, name: str) -> None:
        """Kill a part as a crash would; it must be back, ready, and said so."""
        before = self.part(name)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self.says(f"{name} was ended by signal 9; starting it again"), BACK_S)
        eventually(lambda: self.part(name) not in (0, before), BACK_S)
        eventually(lambda: self.says(f"{name} is ready again"), BACK_S)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_everything_comes_up_comes_back_and_goes(tmp_path: Path) -> None:
    directory, log = tmp_path / "run", tmp_path / "up.txt"
    few = ("--workers", "1", "--mining-processes", "1")
    with command("up", "--dir", str(directory), *few, *free_port_flags(), log=log) as process:
        up = Up(process, directory, log)
        up.await_start()
        assert up.serves()

        second = run_command("up", "--dir", str(directory))
        assert second.returncode == 1
        assert f"is in use by process {process.pid}: stop it, or choose another --dir" in second.stderr
        assert up.run, "the first one's addresses stay"

        for name in PARTS:
            up.kill_and_await(name)
        eventually(up.serves, BACK_S)

        everything = set(descendants(process.pid))
        assert len(everything) >= 10
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        eventually(lambda: not running(everything), 2)
        assert log.read_text().endswith("all stopped\n")
        assert not up.says("was killed"), log.read_text()
        assert not (directory / "run.json").exists()


@pytest.mark.stress
def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    log = tmp_path / "up.txt"
    few = ("--workers", "1", "--mining-processes", "1")
    with command("up", "--dir", str(tmp_path / "run"), *few, *free_port_flags(), log=log) as process:
        Up(process, tmp_path / "run", log).await_start()
        everything = set(descendants(process.pid))
        process.kill()
        process.wait()
        eventually(lambda: not running(everything), 20)


def test_a_taken_port_is_named_with_its_flag(tmp_path: Path) -> None:
    flags = free_port_flags()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        flags[flags.index("--relayer-port") + 1] = port
        result = run_command("up", "--dir", str(tmp_path / "run"), *flags)
    assert result.returncode == 1
    text = f"Error: 127.0.0.1:{port} for relayer is taken by another process; move it with --relayer-port"
    assert text in result.stderr
