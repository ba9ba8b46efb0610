"""Supervised processes: order, readiness, restarts, and that nothing is ever left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay_cli.supervisor.guardian import groups_left, is_alive
from relay_cli.supervisor.probes import accepts, http_ok, pongs
from relay_cli.supervisor.spec import Port, PortTaken, ProcessSpec, RunEnded, StartFailed
from relay_cli.supervisor.supervisor import Supervisor

WRITES_FILE = """
import os, pathlib, signal, sys, time
path = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (path.unlink(), sys.exit(0)))
path.write_text(str(os.getpid()))
while True:
    time.sleep(60)
"""
STUBBORN_WITH_CHILD = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
while True:
    time.sleep(60)
"""


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def writer(
    directory: Path, name: str, stage: int = 0, code: str = WRITES_FILE, **values: object
) -> ProcessSpec:
    path = directory / name
    command = (sys.executable, "-c", code, str(path))
    ready = lambda: path.exists() and path.read_text() != ""  # noqa: E731
    return ProcessSpec(name, command, stage, ready, **values)  # type: ignore[arg-type]


def supervised(directory: Path, *specs: ProcessSpec) -> tuple[Supervisor, list[str]]:
    lines: list[str] = []
    return Supervisor(specs, directory / "logs", lines.append), lines


def test_all_is_ready_after_start_and_ended_in_order_after_stop(tmp_path: Path) -> None:
    late = writer(tmp_path, "late", stage=2)
    early = writer(tmp_path, "early", stage=1)
    supervisor, lines = supervised(tmp_path, late, early)
    supervisor.start()
    pids = [int((tmp_path / name).read_text()) for name in ("early", "late")]
    assert all(map(runs, pids))
    assert supervisor.child("early").process_id == pids[0], "the leash became the command"
    supervisor.stop()
    assert not any(map(runs, pids))
    assert not (tmp_path / "early").exists(), "it was asked to end, not killed"
    assert lines == []


def test_a_stage_starts_when_the_one_before_is_ready(tmp_path: Path) -> None:
    seen: list[bool] = []
    first = writer(tmp_path, "first", stage=0)
    second = writer(tmp_path, "second", stage=1)
    watching = ProcessSpec(
        "second",
        second.command,
        1,
        lambda: bool(seen.append((tmp_path / "first").exists()) or second.ready()),
    )
    supervisor, _ = supervised(tmp_path, watching, first)
    supervisor.start()
    supervisor.stop()
    assert seen and all(seen)


def test_a_killed_process_is_started_again_and_said_so(tmp_path: Path) -> None:
    supervisor, lines = supervised(tmp_path, writer(tmp_path, "worker"))
    supervisor.start()
    try:
        first = int((tmp_path / "worker").read_text())
        os.kill(first, signal.SIGKILL)
        child = supervisor.child("worker")
        eventually(lambda: child.process_id not in (None, first) and child.was_ready)
        assert supervisor.restarts == {"worker": 1}
        assert "worker was ended by signal 9; starting it again in 0.2 s" in lines
        assert "worker is ready again" in lines
    finally:
        supervisor.stop()


def test_the_end_of_one_that_cannot_start_again_ends_the_run(tmp_path: Path) -> None:
    chain = writer(tmp_path, "chain", restarts=False)
    supervisor, _ = supervised(tmp_path, chain, writer(tmp_path, "other"))
    supervisor.start()
    try:
        supervisor.check()
        os.kill(int((tmp_path / "chain").read_text()), signal.SIGKILL)
        assert supervisor.over.wait(10)
        with pytest.raises(RunEnded, match="chain was ended by signal 9"):
            supervisor.check()
    finally:
        supervisor.stop()
    assert not (tmp_path / "other").exists()


def test_a_process_that_fails_at_start_shows_its_last_lines_and_stops_the_rest(tmp_path: Path) -> None:
    good = writer(tmp_path, "good")
    bad = ProcessSpec("bad", (sys.executable, "-c", "print('no such config'); exit(3)"), 1, lambda: False)
    supervisor, _ = supervised(tmp_path, good, bad)
    with pytest.raises(
        StartFailed, match=r"(?s)bad ended with code 3 while starting.*bad\.log.*no such config"
    ):
        supervisor.start()
    assert supervisor.child("good").process_id is None
    assert not (tmp_path / "good").exists()


def test_a_process_that_never_gets_ready_is_named(tmp_path: Path) -> None:
    slow = ProcessSpec(
        "slow",
        (sys.executable, "-c", WRITES_FILE, str(tmp_path / "slow")),
        0,
        lambda: False,
        start_timeout_s=0.2,
    )
    supervisor, _ = supervised(tmp_path, slow)
    with pytest.raises(StartFailed, match="slow was not ready within 0 s"):
        supervisor.start()
    assert supervisor.child("slow").process_id is None


def test_an_interrupt_ends_a_start_that_has_not_finished(tmp_path: Path) -> None:
    interrupted = threading.Event()
    never = ProcessSpec(
        "never",
        (sys.executable, "-c", WRITES_FILE, str(tmp_path / "never")),
        1,
        lambda: bool(interrupted.set()),
    )
    supervisor, _ = supervised(tmp_path, writer(tmp_path, "first"), never)
    with pytest.raises(StartFailed, match="stopped while starting"):
        supervisor.start(interrupted)
    assert not (tmp_path / "first").exists() and supervisor.child("never").process_id is None


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    supervisor, _ = supervised(tmp_path, ProcessSpec("gone", ("/no/such/program",), 0, lambda: False))
    with pytest.raises(StartFailed, match=r"/no/such/program: No such file"):
        supervisor.start()


def test_a_taken_port_is_named_with_the_setting_that_moves_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        spec = writer(tmp_path, "web", ports=(Port(address, "--relayer-port"),))
        supervisor, _ = supervised(tmp_path, spec)
        with pytest.raises(PortTaken, match=f"{address} for web is taken .* move it with --relayer-port"):
            supervisor.start()
    assert not (tmp_path / "web").exists()


def test_one_that_will_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    spec = writer(tmp_path, "grandchild", code=STUBBORN_WITH_CHILD, stop_timeout_s=0.2)
    supervisor, lines = supervised(tmp_path, spec)
    supervisor.start()
    pids = [int((tmp_path / "grandchild").read_text()), supervisor.child("grandchild").process_id or 0]
    supervisor.stop()
    eventually(lambda: not any(map(runs, pids)))
    assert lines == ["grandchild did not end in 0 s and was killed"]


KILLED_SUPERVISOR = """
import pathlib, sys, time
from relay_cli.supervisor import guardian
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.supervisor.supervisor import Supervisor
directory = pathlib.Path(sys.argv[1])
def spec(name, code):
    path = directory / name
    return ProcessSpec(name, (sys.executable, "-c", code, str(path)), 0, lambda: path.exists() and path.read_text())
supervisor = Supervisor([spec("polite", sys.argv[2]), spec("stubborn", sys.argv[3])], directory, print)
supervisor.start()
print(*(child.process_id for child in supervisor.children), flush=True)
time.sleep(60)
"""


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_SUPERVISOR, str(tmp_path), WRITES_FILE, STUBBORN_WITH_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        groups = [int(text) for text in process.stdout.readline().split()]
        grandchild = int((tmp_path / "stubborn").read_text())
        assert len(groups) == 2 and all(map(runs, [*groups, grandchild]))
        process.kill()
    eventually(lambda: not runs(groups[0]), within_s=5)
    assert not (tmp_path / "polite").exists(), "the kernel asked it to end"
    eventually(lambda: not any(map(runs, [*groups, grandchild])), within_s=20)


def test_the_guardian_knows_which_groups_are_left() -> None:
    assert groups_left(["+11\n", "+12\n", "-11\n", "nonsense\n", "+x\n"]) == {12}
    assert not is_alive(2**22 + 1)


def test_probes_say_no_where_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert accepts(address)()
    assert not accepts(address)()
    assert not http_ok(f"http://{address}/")()
    assert not pongs(address)()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address)
