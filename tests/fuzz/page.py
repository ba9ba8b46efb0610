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


def page_of(outcomes: Sequence[Outcome], date: str) -> str:
    """Return the page."""
    return "\n".join([HEADING, conditions(outcomes, date), table(outcomes)])


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
    lines = [
        "| target | fed with | inputs | accepted | seed | seconds | slowest, ms | memory, MiB | branches | finds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(outcome) for outcome in outcomes]
    return "\n".join(lines) + (
        "\n\nAccepted: not refused. Memory: resident, a tenth into the run and at its end; libFuzzer's own corpus is part"
        " of it.\nBranches: of the instrumented code, as libFuzzer counts them.\n"
    )


def row(outcome: Outcome) -> str:
    order = outcome.order
    cells = (
        f"`{order.target}`",
        FED[order.target],
        f"{outcome.count:,}",
        f"{outcome.accepted:,}",
        str(order.seed),
        f"{outcome.elapsed_s:,.0f}",
        f"{outcome.slowest_s * 1000:.0f}",
        f"{outcome.first_kb / 1024:.0f} → {outcome.last_kb / 1024:.0f}",
        f"{outcome.coverage[0]:,}" if outcome.coverage[0] else "",
        str(len(outcome.finds)),
    )
    return f"| {' | '.join(cells)} |"
