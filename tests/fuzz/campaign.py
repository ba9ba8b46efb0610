"""Runs targets one after the other, each in a process of its own, and tells how they do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.judge import ROOT, Find, Progress, keep
from tests.fuzz.worker import LOG, PROGRESS, RESULT, Order

POLL_S = 0.2
SAY_EVERY_S = 15.0
HANGS_AFTER_S = 60.0
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a target's run ended; `coverage` is libFuzzer's count of branches and features, zeros without it."""

    order: Order
    count: int
    accepted: int
    elapsed_s: float
    slowest_s: float
    first_kb: int
    last_kb: int
    finds: tuple[Find, ...]
    coverage: tuple[int, int] = (0, 0)
    python: str = ""

    def document(self) -> dict[str, Any]:
        """What is kept of a run."""
        return {**asdict(self), "coverage": list(self.coverage)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Outcome:
        """The run that `document` was kept of."""
        finds = tuple(Find(**find) for find in document["finds"])
        return cls(
            **{
                **document,
                "order": Order(**document["order"]),
                "finds": finds,
                "coverage": tuple(document["coverage"]),
            }
        )


def has_atheris() -> bool:
    """Whether the coverage-guided engine is installed."""
    from importlib.util import find_spec

    return find_spec("atheris") is not None


def run_target(
    name: str,
    *,
    engine: str,
    inputs: int,
    seed: int,
    seconds: float,
    directory: Path,
    say: Callable[[str], None],
) -> Outcome:
    """Run one target to its end; a process that dies or hangs is a find with its last input."""
    own = Path(tempfile.mkdtemp(prefix=f"{name.rpartition(':')[2]}-", dir=directory))
    order = Order(name, engine, inputs, seed, seconds, str(own))
    started = time.monotonic()
    with (own / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", json.dumps(asdict(order))],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        try:
            hung = _watch(process, own, name, say)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and the store it may have started
            process.wait()
    if (own / RESULT).is_file():
        return _outcome(order, own)
    count, accepted, data = Progress.read(own / PROGRESS)
    text = (own / LOG).read_bytes()[-1500:].decode("utf-8", "replace")
    kind = "hang" if hung else f"process ended with {process.returncode}"
    find = Find(kind, "", text, keep(own, data))
    return Outcome(order, count, accepted, time.monotonic() - started, 0.0, 0, 0, (find,))


def _watch(process: subprocess.Popen[bytes], own: Path, name: str, say: Callable[[str], None]) -> bool:
    """Wait for the end; True when it was given up because one input took too long."""
    started = said = moved = time.monotonic()
    seen = -1
    while process.poll() is None:
        time.sleep(POLL_S)
        now = time.monotonic()
        count, accepted, _ = Progress.read(own / PROGRESS)
        if count != seen:
            seen, moved = count, now
        elif now - moved > HANGS_AFTER_S:
            return True
        if now - said > SAY_EVERY_S:
            said = now
            say(f"{name}: {count:,} inputs, {accepted:,} accepted, {count / (now - started):,.0f} a second")
    return False


def _outcome(order: Order, own: Path) -> Outcome:
    result = json.loads((own / RESULT).read_text())
    seen = _COVERAGE.findall((own / LOG).read_text("utf-8", "replace"))
    return Outcome(
        order,
        result["count"],
        result["accepted"],
        result["elapsed_s"],
        result["slowest_s"],
        result["first_kb"],
        result["last_kb"],
        tuple(Find(**find) for find in result["finds"]),
        (int(seen[-1][0]), int(seen[-1][1])) if seen else (0, 0),
        result["python"],
    )


def lines_of(outcome: Outcome) -> Sequence[str]:
    """What is said of a run that has ended."""
    order = outcome.order
    covered = f", {outcome.coverage[0]} branches" if outcome.coverage[0] else ""
    lines = [
        f"{order.target}: {outcome.count:,} inputs in {outcome.elapsed_s:.0f} s, {outcome.accepted:,} accepted,"
        f" slowest {outcome.slowest_s * 1000:.0f} ms, {outcome.first_kb:,} → {outcome.last_kb:,} KiB{covered},"
        f" {len(outcome.finds)} finds"
    ]
    for find in outcome.finds:
        where = Path(order.directory) / find.input_path if find.input_path else ""
        lines += [f"  {find.kind} at {find.place}: {find.text}", f"    {where}"]
    return lines
