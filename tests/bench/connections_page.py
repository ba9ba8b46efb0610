"""docs/connections.md: the figures of `connections` as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.connections import (
    REPEATS,
    STREAMS,
    WATCHED_S,
    WEBSOCKETS,
    WORKERS,
    Condition,
    delays_ms,
)
from tests.bench.page import table

HEADING = """# What connections cost

Written by `python -m tests.bench connections --date YYYY-MM-DD --output docs/connections.md`. Absolute figures belong to
one machine in one hour: compare the rows of a table.
"""

TEXT = """## Relays beside many connections

A whole deployment on the same cores as [bench](bench.md) has it, {workers} front-end processes. On top of each other: {websockets:,}
WebSockets with signed handshakes, each of which has had one relay answered and then sits idle but for the pings; {streams} clients that read
streams of an event a second, each a signed batch; and two rude clients: one that sends messages of 15 MiB and reads their
answers whole, one a second, and one that sends as large ones and reads nothing, until it is cut off after 10 s and comes back.
Beside them, small JSON-RPC relays over HTTP, so many connections at a time; {repeats} runs each, of which the least disturbed
is shown.
"""


def connections_section(conditions: Sequence[Condition]) -> str:
    text = TEXT.format(workers=WORKERS, websockets=WEBSOCKETS, streams=STREAMS, repeats=REPEATS)
    parts = [text, _latencies(conditions), _memory(conditions), _seen(conditions)]
    return "\n".join(parts)


def _latencies(conditions: Sequence[Condition]) -> str:
    heading = ["open meanwhile", "connections", "relays/s", "p50 ms", "p95", "p99", "front µs a relay"]
    heading += ["not answered 200", "cores elsewhere"]
    rows = [
        [
            *(condition.name, str(run.concurrency), f"{run.per_second:.0f}"),
            *(f"{run.latency_ms(p):.1f}" for p in (50, 95, 99)),
            *(f"{run.front_us:.0f}", str(sum(run.figures.failures.values())), f"{run.foreign_cores:.2f}"),
        ]
        for condition in conditions
        for run in condition.runs
    ]
    return table(heading, rows) + "\nThe CPU of the other connections is in `front µs a relay`.\n"


def _memory(conditions: Sequence[Condition]) -> str:
    base, sockets, streams, _ = conditions
    text = (
        f"## Memory and CPU\n\nOf the {WORKERS} front-end processes together. Resident memory (pages they share are counted in each), and its\n"
        f"proportional share (PSS); CPU as percent of one core over {WATCHED_S:.0f} s in which nothing else is asked.\n"
    )
    heading = ["open", "resident MiB", "PSS MiB", "peak MiB under load", "front CPU %", "store CPU %"]
    rows = [
        [
            condition.name,
            *(
                f"{kib / 1024:.1f}"
                for kib in (condition.resident_kib, condition.shared_out_kib, condition.peak_kib)
            ),
            f"{condition.idle_percent.get('relayer workers', 0):.1f}",
            f"{condition.idle_percent.get('store', 0):.1f}",
        ]
        for condition in conditions
    ]
    each = (
        ("WebSocket", (sockets.shared_out_kib - base.shared_out_kib) / WEBSOCKETS),
        ("stream", (streams.shared_out_kib - sockets.shared_out_kib) / STREAMS),
    )
    ending = "".join(f"- {kib:.0f} KiB a {what}.\n" for what, kib in each)
    return f"{text}\n{table(heading, rows)}\n{ending}"


def _seen(conditions: Sequence[Condition]) -> str:
    _, sockets, streams, giants = conditions
    text = "## What those clients saw\n"
    heading = ["", "number", "p50 ms", "p95", "p99"]
    timed = [
        ("WebSocket: opened and first relay answered, 50 at a time", sockets.seen.first_answers_s),
        ("stream: opened and first batch, 50 at a time", streams.seen.first_answers_s),
        ("event of a stream, backend to client", streams.seen.event_delays_s),
        ("the same beside the rude clients", giants.seen.event_delays_s),
        ("message of 15 MiB, sent and answered", giants.seen.giant_answers_s),
    ]
    rows = [[name, f"{len(times):,}", *delays_ms(times)] for name, times in timed]
    counted = "; ".join(
        f"{condition.name}: {', '.join(f'{what} {number}' for what, number in sorted(condition.seen.counts.items()))}"
        for condition in conditions
        if condition.seen.counts
    )
    note = (
        "An event waits up to 100 ms for others to be signed with it. What large messages cost in the backend and in these\n"
        "clients, on the same cores, is in their times.\n"
    )
    return f"{text}\n{table(heading, rows)}\n{note}\nCounted: {counted}.\n"
