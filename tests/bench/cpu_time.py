"""CPU time of a running deployment, process by process, from the scheduler's own account (Linux)."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from tests.integration.stage import Deployment

CLOCK_NS = 1_000_000_000
Account = dict[tuple[str, int], int]  # (part, process id) -> nanoseconds on a core

METRICS_SERVER = "operations.metrics_server"


def cpu_ns(process_id: int) -> int:
    """Nanoseconds that the living threads of a process have run; 0 when it is gone."""
    total = 0
    try:
        for thread in os.scandir(f"/proc/{process_id}/task"):
            total += int(Path(thread.path, "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return total
    return total


def children_of(process_id: int) -> list[int]:
    """The direct children of a process, whichever of its threads started them."""
    children: list[int] = []
    try:
        for thread in os.scandir(f"/proc/{process_id}/task"):
            children += [int(number) for number in Path(thread.path, "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return children
    return children


def account(deployment: Deployment) -> Account:
    """What every process has used so far, under the name of the part it belongs to."""
    used: Account = {}
    for child in deployment.supervisor.children:
        if child.process_id is not None:
            _add_tree(used, child.process_id, child.spec.name, top=True)
    return used


def _add_tree(used: Account, process_id: int, name: str, *, top: bool) -> None:
    part = _part(name, process_id, top)
    used[part, process_id] = cpu_ns(process_id)
    for child in children_of(process_id):
        _add_tree(used, child, name, top=False)


def _part(name: str, process_id: int, top: bool) -> str:
    """Masters and parents apart from the processes that do the work; all metric servers together."""
    if name in ("relayer", "miner"):
        if not top and _serves_metrics(process_id):
            return "metrics"
        return f"{name} {'parent' if top else 'workers'}"
    return "metrics" if name.endswith("-metrics") else name


def _serves_metrics(process_id: int) -> bool:
    try:
        return METRICS_SERVER.encode() in Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return False


def spent_ns(before: Account, after: Account) -> Counter[str]:
    """What each part used between two accounts. A process that ended in between counts as far as it was seen."""
    spent: Counter[str] = Counter()
    for (part, process_id), now in after.items():
        spent[part] += now - before.get((part, process_id), 0)
    return spent


def idle_percent(deployment: Deployment, seconds: float) -> dict[str, float]:
    """Percent of one core that each part uses while nothing is asked of it."""
    before, started = account(deployment), time.monotonic_ns()
    time.sleep(seconds)
    elapsed = time.monotonic_ns() - started
    return {part: 100 * ns / elapsed for part, ns in spent_ns(before, account(deployment)).items()}
