"""Real processes of the command, and what of them is left."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from relay_cli.up.ports import ROLES
from tests.stores import is_free

COMMAND = (sys.executable, "-m", "relay_cli")


def free_port_flags() -> list[str]:
    """Return flags that put every part of `up` on a free port, so that several can run at once."""
    numbers = random.sample(range(20_000, 32_000), 400)
    free = (number for number in numbers if is_free(number))
    return [part for role in ROLES for part in (f"--{role}-port", str(next(free)))]


def eventually(condition: Callable[[], object], within_s: float) -> None:
    """Wait for something another process does; fail when it does not."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def process_table() -> dict[int, tuple[int, str]]:
    """Return process id -> (parent, command line) of all processes that run."""
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state != "Z":
            table[int(entry.name)] = (int(parent), command)
    return table


def descendants(root: int) -> dict[int, str]:
    """Return process id -> command line of everything below `root`."""
    table, found, parents = process_table(), {}, {root}
    while parents:
        children = {pid for pid, (parent, _) in table.items() if parent in parents and pid not in found}
        found.update({pid: table[pid][1] for pid in children})
        parents = children
    return found


def running(pids: Iterator[int] | set[int]) -> set[int]:
    """Return which of these processes still run."""
    table = process_table()
    return {pid for pid in pids if pid in table}


@contextmanager
def command(*arguments: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command with its output in `log`; whatever of it is left at the end is killed."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=output, stderr=subprocess.STDOUT, text=True, env=environment
        )
    try:
        yield process
    finally:
        left = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in running(set(left)):
            os.kill(pid, 9)
