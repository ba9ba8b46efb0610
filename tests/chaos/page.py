"""docs/chaos.md's figures, from the reports of runs: `python -m tests.chaos.page docs/chaos.md REPORT…`.

What stands between the page's two markers is replaced; the words around it are a person's.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from tests.bench.page import table

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
UNTOLD = ("Date", "Load average before")
Report = dict[str, Any]


def figures(reports: Sequence[Report]) -> str:
    """Return the page's figures: chaos runs side by side, then what the scale runs told."""
    chaos = [report for report in reports if "order" in report]
    parts = [_machine(reports)]
    if chaos:
        parts += [_runs(chaos), _relays(chaos), _kinds(chaos), _take_overs(chaos), _blocks(chaos)]
    parts += [_told(report) for report in reports if "told" in report]
    return "\n".join(parts)


def _machine(reports: Sequence[Report]) -> str:
    rows = {what: value for report in reports for what, value in report["conditions"] if what not in UNTOLD}
    return "### Machine\n\n" + "".join(f"- {what}: {value}\n" for what, value in rows.items())


def _name(report: Report) -> str:
    order = report["order"]
    return f"{order['shape']['scenario']} {order['seed']}" + (" (some kinds)" if order["only"] else "")


def _runs(reports: Sequence[Report]) -> str:
    heading = ["run: scenario, seed", "plan", "faults", "missed", "sessions", "suppliers", "seconds"]
    heading += ["load average before", "after", "ledger"]
    rows = []
    for one in reports:
        order = one["order"]
        rows.append(
            [
                *(_name(one), f"`{one['plan']}`", str(len(one["faults"])), str(len(one["missed"]))),
                *(str(order["sessions"]), str(order["shape"]["suppliers"]), f"{one['seconds']:.0f}"),
                *one["load"],
                "closes" if one["passed"] else f"**{len(one['problems'])} problems**",
            ]
        )
    return (
        "### Runs\n\n`plan` is a digest of the schedule of faults: the same seed draws the same.\n\n"
        + table(heading, rows)
    )


def _relays(reports: Sequence[Report]) -> str:
    heading = ["run", "answered", "claimed", "missing", "leaves without an answer", "answers cut off"]
    heading += ["refused", "claims", "proofs", "claims again", "proofs again", "transactions that failed"]
    rows = []
    for one in reports:
        chain = one["chain"]
        counts = (
            chain.get(f"pocket.proof.Event{what}", 0)
            for what in ("ClaimCreated", "ProofSubmitted", "ClaimUpdated", "ProofUpdated")
        )
        rows.append(
            [
                *(_name(one), str(one["answered"]), str(one["claimed"]), _missing(one["missing"])),
                *(str(one["unanswered"]), str(one["unknown"]), str(sum(one["refused"].values()))),
                *map(str, counts),
                str(sum(one["failed_transactions"].values())),
            ]
        )
    return f"### Relays\n\n{table(heading, rows)}"


def _missing(missing: dict[str, int]) -> str:
    return "; ".join(f"{count} {why or 'without excuse'}" for why, count in missing.items() if count) or "0"


def _kinds(reports: Sequence[Report]) -> str:
    counts = [Counter(report["kinds"]) for report in reports]
    names = sorted(set().union(*counts))
    heading = ["faults", *map(_name, reports)]
    rows = [[name, *(str(count[name] or "") for count in counts)] for name in names]
    restarts = [Counter(report["restarts"]) for report in reports]
    started = sorted(set().union(*restarts))
    again = [[name, *(str(count[name] or "") for count in restarts)] for name in started]
    return (
        f"### Faults\n\n{table(heading, rows)}\nProcesses that were started again:\n\n"
        f"{table(['process', *heading[1:]], again)}"
    )


def _take_overs(reports: Sequence[Report]) -> str:
    heading = ["run", "of", "other faults", "times", "min s", "median s", "max s"]
    rows = [
        [_name(report), what, near, *cells]
        for report in reports
        for who, what in (("miner", "a node's suppliers"), ("beat", "the beat"))
        for near, alone in (("none near", True), ("near", False))
        if (cells := list(_spread(_seconds(report, who, alone))))
    ]
    return (
        "### Take-over\n\nFrom the fault (a kill, or a pause longer than a lease lives) until another process held the"
        f" lease, seen every 0.05 s.\n\n{table(heading, rows)}"
    )


def _seconds(report: Report, who: str, alone: bool) -> list[float]:
    return [
        seconds
        for one in report["take_overs"]
        if one["target"].startswith(who) and one["alone"] is alone
        for seconds in one["seconds"]
        if seconds is not None
    ]


def _spread(values: Iterable[float], form: str = ".2f") -> Iterator[str]:
    known = sorted(values)
    if known:
        yield str(len(known))
        yield from (f"{value:{form}}" for value in (known[0], statistics.median(known), known[-1]))


def _blocks(reports: Sequence[Report]) -> str:
    heading = ["run", "of", "times", "min", "median", "max"]
    rows = []
    for one in reports:
        for what in ("claim", "proof"):
            counted = Counter({int(blocks): count for blocks, count in one[f"{what}_blocks"].items()})
            rows.append([_name(one), f"{what}s", *_spread(counted.elements(), "g")])
    blocks = sorted({one["order"]["shape"]["window_blocks"] for one in reports})
    return (
        "### Blocks after the window's opening\n\nEach window is "
        f"{' or '.join(map(str, blocks))} blocks long.\n\n{table(heading, rows)}"
    )


def _told(report: Report) -> str:
    lines = "\n".join(report["told"])
    ending = "passed" if report["passed"] else "**did not pass**"
    return f"### {report['scenario']}\n\nThe run {ending}:\n\n```\n{lines}\n```\n"


@click.command()
@click.argument("page", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(page: Path, reports: Sequence[Path]) -> None:
    """Write the figures of REPORTS (report.json of each run) between the markers of PAGE."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise click.ClickException(f"{page} has no {BEGIN} and {END}")
    written = figures([json.loads(path.read_text()) for path in reports])
    page.write_text(f"{before}{BEGIN}\n\n{written}\n{END}{after}")


if __name__ == "__main__":
    main(prog_name="python -m tests.chaos.page")
