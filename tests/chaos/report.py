"""A run's report, as text and as JSON."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.machine import conditions
from tests.chaos.plan import Fault
from tests.chaos.run import Report, TakeOver

WHO = {"miner": "suppliers of a miner node", "beat": "the beat"}


def spread(values: Iterable[float]) -> str:
    """Return number, minimum, median and maximum of times in seconds."""
    known = sorted(values)
    if not known:
        return "none"
    middle = statistics.median(known)
    return f"{len(known)} times: min {known[0]:.2f} s, median {middle:.2f} s, max {known[-1]:.2f} s"


def take_over_seconds(take_overs: Iterable[TakeOver], who: str, *, alone: bool) -> list[float]:
    """The times after hits on `who`; `alone` leaves out those near another fault."""
    return [
        seconds
        for one in take_overs
        if one.fault.target.startswith(who) and (one.alone or not alone)
        for seconds in one.seconds
        if seconds is not None
    ]


def report_text(report: Report) -> str:
    """Return what a person wants to know, problems last."""
    order, verdict = report.order, report.verdict
    kinds = Counter(fault.kind for fault in report.done)
    lines = [
        "",
        f"{order.shape.scenario}, seed {order.seed}, plan {plan_digest(order.plan())}: {len(report.done)} faults ({len(report.missed)} missed) in"
        f" {order.sessions} sessions of {order.shape.suppliers} suppliers, {report.seconds:.0f} s",
        "faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
        "restarts: " + ", ".join(f"{name} {count}" for name, count in sorted(report.restarts.items())),
        f"relays: {verdict.answered} answered, {verdict.claimed} claimed, {sum(verdict.missing.values())} missing,"
        f" {verdict.unknown} without a whole answer, {sum(verdict.refused.values())} refused",
        *(f"  missing {count}: {why or 'NO EXCUSE'}" for why, count in verdict.missing.items()),
        f"  too late as the relayers counted: {verdict.too_late}; leaves that were not answered:"
        f" {verdict.unanswered}, not acknowledged to the relayers: {verdict.unacknowledged}",
        *(f"  refused {count}: {text}" for text, count in Counter(verdict.refused).most_common(12)),
        "books: " + ", ".join(f"{name} {value:,}" for name, value in verdict.totals.items() if value),
        "chain: " + ", ".join(f"{name.rpartition('.')[2]} {n}" for name, n in sorted(verdict.chain.items())),
        *(f"  failed transactions {count}: {text}" for text, count in report.journal.failed.most_common(12)),
        "claims, blocks after the window's opening: " + _blocks(report.journal.claim_blocks),
        "proofs, blocks after the window's opening: " + _blocks(report.journal.proof_blocks),
    ]
    for who, what in WHO.items():
        for alone in (True, False):
            times = spread(take_over_seconds(report.take_overs, who, alone=alone))
            lines.append(f"take-over of {what}{', no other fault near' if alone else ''}: {times}")
    lines += [f"PROBLEM {text}" for text in verdict.problems]
    lines.append("the ledger closes" if verdict.passed else f"FAILED: {len(verdict.problems)} problems")
    return "\n".join(lines)


def _blocks(counts: Counter[int]) -> str:
    if not counts:
        return "none"
    spread_out = sorted(counts.elements())
    middle = statistics.median(spread_out)
    return f"{len(spread_out)}: min {spread_out[0]}, median {middle:g}, max {spread_out[-1]}"


def write_report(report: Report, path: Path) -> None:
    """Write everything as JSON, for `tests.chaos.page` too."""
    content: dict[str, Any] = {
        "order": asdict(report.order),
        "plan": plan_digest(report.order.plan()),
        "conditions": conditions(""),
        "load": report.load,
        "passed": report.verdict.passed,
        **asdict(report.verdict),
        "faults": [str(fault) for fault in report.done],
        "kinds": Counter(fault.kind for fault in report.done),
        "missed": report.missed,
        "take_overs": [
            {
                "fault": str(one.fault),
                "target": one.fault.target,
                "seconds": one.seconds,
                "alone": one.alone,
            }
            for one in report.take_overs
        ],
        "claim_blocks": report.journal.claim_blocks,
        "proof_blocks": report.journal.proof_blocks,
        "restarts": report.restarts,
        "failed_transactions": dict(report.journal.failed),
        "seconds": round(report.seconds, 1),
        "supervisors": report.told,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def plan_digest(plan: Iterable[Fault]) -> str:
    """Return a few characters that are the same for the same schedule."""
    return hashlib.sha256("\n".join(map(str, plan)).encode()).hexdigest()[:12]
