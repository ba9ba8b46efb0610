"""The figures as Markdown: what is printed, and docs/bench.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.bench import reference_figures as reference
from tests.bench.mining import Cost
from tests.bench.relay_path import Run

PARTS = (
    ("front", ("relayer workers", "relayer parent")),
    ("store", ("store",)),
    ("Celery worker", ("miner workers",)),
    ("its parent", ("miner parent",)),
    ("beat", ("beat",)),
    ("metrics", ("metrics",)),
    ("chain", ("localnet",)),
    ("backend", ("backend",)),
    ("client", ("client",)),
)

HEADING = """# What a relay costs

Written by `make bench BENCH_ARGS="--date YYYY-MM-DD --output docs/bench.md"`; `python -m tests.bench --help` lists the
parts that can be run alone. Absolute figures belong to one machine in one hour: compare columns, and compare the
loop (a fixed piece of work, timed around each run) before comparing pages.
"""

RELAYS_TEXT = """## Relays over HTTP

A whole deployment as `pocket-relay-miner up` starts it: embedded store (AOF, fsync each second), gunicorn, Celery
worker and beat, beside local chain and test backend, all on the same cores. Small JSON-RPC relays, eager validation,
gateway ring of {ring}, distinct, signed in advance, sent over kept-alive connections to two suppliers in turn; {relays:,}
relays a run, {repeats} runs each, of which the least disturbed is shown: that with the fewest cores at work for something
else (last column). CPU is the scheduler's own account per
process, in µs per relay, until the last relay of the run is a leaf of its tree; what an idle process uses meanwhile is in it.
"""


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [list(heading), ["---"] + ["---:"] * (len(heading) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def conditions_section(rows: Sequence[tuple[str, str]]) -> str:
    return "## Conditions\n\n" + "".join(f"- {what}: {value}\n" for what, value in rows)


def relays_section(runs: Sequence[Run], ring: int, repeats: int) -> str:
    heading = ["gunicorn workers, connections", "relays/s", "p50 ms", "p95", "p99"]
    heading += [name for name, _ in PARTS] + ["loop ms", "cores elsewhere"]
    rows = [_run_row(run) for run in runs]
    text = RELAYS_TEXT.format(ring=ring, relays=runs[0].relays, repeats=repeats)
    failures = sum(sum(run.figures.failures.values()) for run in runs)
    ending = f"\nRelays not answered with 200: {failures}.\n"
    return f"{text}\n{table(heading, rows)}{ending}\n{_beside_reference(runs)}"


def _run_row(run: Run) -> list[str]:
    latencies = [f"{run.latency_ms(p):.1f}" for p in (50, 95, 99)]
    cpu = [f"{sum(run.cpu_us[part] for part in parts):.0f}" for _, parts in PARTS]
    name = f"{run.workers}, {run.concurrency}"
    return [name, f"{run.per_second:.0f}", *latencies, *cpu, f"{run.loop_ms:.2f}", f"{run.foreign_cores:.2f}"]


def _beside_reference(runs: Sequence[Run]) -> str:
    heading = ["connections", "relays/s", "reference", "p50 ms", "reference", "p99 ms", "reference"]
    heading += ["front µs", "reference", "budget"]
    rows = []
    for run in runs:
        recorded = reference.RELAYS.get(run.concurrency)
        if recorded is None or run.workers != max(r.workers for r in runs):
            continue
        front = f"{run.front_us:.0f}"
        rows.append(
            [
                *(str(run.concurrency), f"{run.per_second:.0f}", f"{recorded.per_second:.0f}"),
                *(f"{run.latency_ms(50):.1f}", f"{recorded.p50_ms:.1f}"),
                *(f"{run.latency_ms(99):.1f}", f"{recorded.p99_ms:.1f}"),
                *(front, f"{recorded.front_us:.0f}", str(reference.FRONT_BUDGET_US)),
            ]
        )
    text = "Beside the recorded figures of the Go implementation (another day, two cores for everything as here):\n"
    other = (
        f"\nRecorded beside them: Redis {reference.STORE_US} µs a relay (budget here {reference.STORE_BUDGET_US}), "
        f"miner {reference.MINER_US} µs when it drains a backlog (budget here {reference.WORKER_BUDGET_US},\n"
        "sealing apart; the backlog figure of ours is below). What worker and parent cost beyond that figure is tasks,\n"
        "four a second for each busy supplier however many relays they find: it falls as load grows.\n"
    )
    return f"{text}\n{table(heading, rows)}{other}"


def idle_section(percent: dict[str, float]) -> str:
    rows = [
        [name, f"{sum(percent.get(part, 0.0) for part in parts):.2f}"]
        for name, parts in PARTS
        if name != "client"
    ]
    return (
        f"## Idle\n\nPercent of one core while nothing is asked, two suppliers.\n\n{table(['', '%'], rows)}"
    )


def mining_section(
    per_relay: Sequence[Cost], proofs: Sequence[Cost], relay_bytes: int, stored_bytes: float
) -> str:
    rows = [[cost.what, f"{cost.own_us:.1f}", f"{cost.store_us:.1f}"] for cost in per_relay]
    text = "## Mining\n\nA backlog of relays, drained and sealed by one process; CPU in µs per relay.\n"
    whole = [[cost.what, f"{cost.own_us / 1000:.0f}"] for cost in proofs]
    after = f"\nWhole proofs, CPU in ms (budget from 100,000 leaves: {reference.PROOF_BUDGET_MS} ms):\n"
    memory = (
        f"\nMemory of the store: {stored_bytes:.0f} bytes for each mined relay of {relay_bytes} bytes "
        f"(budget: its own bytes + {reference.STORED_BEYOND_BYTES}).\n"
    )
    return f"{text}\n{table(['', 'worker', 'store'], rows)}{after}\n{table(['', 'ms'], whole)}{memory}"


def curve_section(costs: Sequence[tuple[str, float]]) -> str:
    recorded = {"sign (the client's)": reference.RING_SIGN_US, "verify": reference.RING_VERIFY_US}
    rows = []
    for what, median_us in costs:
        ring = recorded.get(what.removeprefix("ring of 2: ")) if what.startswith("ring") else None
        rows.append([what, f"{median_us:.0f}", str(ring) if ring else ""])
    return f"## Curve\n\nMedian µs of one operation.\n\n{table(['', 'ours', 'reference'], rows)}"
