"""`up` as its user has it: everything comes up, what is killed comes back, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay_cli.run_directory import Run, read_run
from tests.integration.processes import COMMAND, command, descendants, eventually, running

pytestmark = pytest.mark.slow
START_S = 60.0
PARTS = {"store": "valkey-server", "miner": "celery -A mining_tasks worker", "relayer": "gunicorn"}


@dataclass
class Up:
    process: subprocess.Popen[str]
    directory: Path
    log: Path

    @property
    def run(self) -> Run:
        return read_run(self.directory)

    def part(self, name: str) -> int:
        """Return the process id of a part's own process."""
        return next(
            (
                pid
                for pid, line in descendants(self.process.pid).items()
                if PARTS[name] in line and self._is_child(pid)
            ),
            0,
        )

    def _is_child(self, pid: int) -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(self.process.pid)

    def serves(self) -> bool:
        arguments = (
            "relay",
            "jsonrpc",
            "--localnet",
            "--dir",
            str(self.directory),
            "--service",
            "develop-http",
            "--json",
        )
        result = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
        return result.returncode == 0 and json.loads(result.stdout)["success"]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("up")
    log = directory / "up.txt"
    arguments = (
        "up",
        "--dir",
        str(directory / "run"),
        "--any-port",
        "--workers",
        "1",
        "--mining-processes",
        "1",
    )
    with command(*arguments, log=log) as process:
        eventually(
            lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None, START_S
        )
        assert process.poll() is None, log.read_text()
        yield Up(process, directory / "run", log)


def test_relays_are_served(up: Up) -> None:
    assert up.serves()


def test_a_second_one_on_the_same_directory_says_so(up: Up) -> None:
    result = subprocess.run(
        [*COMMAND, "up", "--dir", str(up.directory), "--any-port"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"is in use by process {up.process.pid}: stop it, or choose another --dir" in result.stderr
    assert up.run, "the first one's addresses stay"


@pytest.mark.parametrize("name", ["relayer", "miner", "store"])
def test_a_killed_part_comes_back(up: Up, name: str) -> None:
    before = up.part(name)
    os.kill(before, signal.SIGKILL)
    text = f"{name} was ended by signal 9; starting it again"
    eventually(lambda: text in up.log.read_text(), 20)
    eventually(lambda: up.part(name) not in (0, before), 20)
    eventually(lambda: f"{name} is ready again" in up.log.read_text(), 40)
    eventually(up.serves, 30)


def test_ctrl_c_stops_everything_and_leaves_nothing(up: Up) -> None:
    left = set(descendants(up.process.pid))
    assert len(left) >= 9
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.log.read_text()
    assert running(left) == set()
    assert up.log.read_text().endswith("all stopped\n")
    assert "was killed" not in up.log.read_text()
    assert not (up.directory / "run.json").exists()


def test_a_taken_port_is_named_with_its_flag(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        result = subprocess.run(
            [*COMMAND, "up", "--dir", str(tmp_path / "run"), "--any-port", "--relayer-port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    text = f"Error: 127.0.0.1:{port} for relayer is taken by another process; move it with --relayer-port"
    assert text in result.stderr
