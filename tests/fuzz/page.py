"""docs/fuzz.md: what was fed to what, and what became of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from tests.fuzz.campaign import Outcome
from tests.fuzz.catalogue import FED

HEADING = """\
# Mutated inputs

Written by `make fuzz FUZZ_ARGS="--results DIRECTORY --output docs/fuzz.md"`; `python -m tests.fuzz --help` lists the
options. A target is what the product does with bytes of a stranger, through the functions the product itself calls. A
find is: an error that is not a documented refusal, more than 1 s of CPU for one input, a value that differs after it
was encoded and decoded again, a process that dies or hangs, or memory that grows by more than 32 MiB between a tenth of
a run and its end. Each find becomes a unit test, then a fix. `make test` gives every target a few hundred inputs.
"""

FOUND = """\
## What was found

Each is fixed and has its unit test, and its target was run again after the fix.

| by | what happened |
|---|---|
| `backend` | an answer with a status below 100 was waited for after its end: the worker's loop stood still until the deadline |
| `websocket` | fragments of a message were kept one by one: empty ones without any bound, tiny ones at many times their bytes |
| `live-http2` | header fields that are no text were quoted in the log by the gRPC library, with a traceback |
| `comet` | `Infinity` and numbers of thousands of digits in a node's answer or event raised past the node's errors |
| `documents` | a block event of a year before 1000, such as Go's zero time, was written so that it could not be read again |
| `documents` | field names that are no text in session hashes, intents and a reference miner's records raised past theirs |
| `config` | a bracket that does not close in an address, and values that do not fit their YAML tag, ended `validate` with a traceback |
| `config` | a genesis file nested deeply took seconds and ended with a traceback |
| large bodies (`make stress`) | ten megabytes of header names in a payload, or of empty gRPC-Web frames, took a worker seconds |
"""


def page_of(outcomes: Sequence[Outcome], date: str) -> str:
    """Return the page."""
    return "\n".join([HEADING, conditions(outcomes, date), table(outcomes), FOUND])


def conditions(outcomes: Sequence[Outcome], date: str) -> str:
    pythons = ", ".join(sorted({outcome.python for outcome in outcomes if outcome.python}))
    engines = ", ".join(sorted({engine_of(outcome) for outcome in outcomes}))
    return (
        f"{date}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores shared with other work,"
        f" CPython {pythons}, {engines}.\n"
    )


def engine_of(outcome: Outcome) -> str:
    """The engine with its version."""
    if outcome.order.engine != "atheris":
        return "our own mutations"
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"atheris {version('atheris')} (libFuzzer)"
    except PackageNotFoundError:
        return "atheris"


def table(outcomes: Sequence[Outcome]) -> str:
    """One line for each target and engine; runs with several seeds are added up."""
    lines = [
        "| target | fed with | by | inputs | accepted | seeds | seconds | slowest, ms | memory, MiB | branches | finds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.order.target, outcome.order.engine), []).append(outcome)
    lines += [row(target, engine, group) for (target, engine), group in groups.items()]
    return "\n".join(lines) + (
        "\n\nAccepted: not refused. Memory: resident, a tenth into the run and at its end, of the run in which it grew most;"
        "\nlibFuzzer's own corpus is part of it. For live targets it is that of all serving processes together, half-way"
        "\nand at the end: a gRPC process takes some 40 MiB in its first 12,000 connections, and no more after them."
        "\nBranches: of the instrumented code, as libFuzzer counts them.\n"
    )


def row(target: str, engine: str, runs: Sequence[Outcome]) -> str:
    grown = max(runs, key=lambda run: run.last_kb - run.first_kb)
    branches = max(run.coverage[0] for run in runs)
    cells = (
        f"`{target}`",
        FED[target],
        engine,
        f"{sum(run.count for run in runs):,}",
        f"{sum(run.accepted for run in runs):,}",
        " ".join(str(run.order.seed) for run in sorted(runs, key=lambda run: run.order.seed)),
        f"{sum(run.elapsed_s for run in runs):,.0f}",
        f"{max(run.slowest_s for run in runs) * 1000:.0f}",
        f"{grown.first_kb / 1024:.0f} → {grown.last_kb / 1024:.0f}",
        f"{branches:,}" if branches else "",
        str(sum(len(run.finds) for run in runs)),
    )
    return f"| {' | '.join(cells)} |"
