"""`make chaos`: faults against a whole deployment under load, and the runs that show its size (docs/chaos.md)."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tests.bench.machine import conditions
from tests.chaos.idle import idle
from tests.chaos.many_claims import many_claims
from tests.chaos.network import Shape
from tests.chaos.plan import KINDS
from tests.chaos.report import report_text, write_report
from tests.chaos.rolling import rolling_restart
from tests.chaos.run import Order, run
from tests.chaos.soak import soak

CHAOS = ("standard", "sentinel", "cluster", "redlock")
SCALE = ("many-claims", "idle", "soak", "rolling-restart")
MOST_SUPPLIERS = 15


@click.command(context_settings={"max_content_width": 110})
@click.option("--scenario", default="standard", show_default=True, type=click.Choice([*CHAOS, *SCALE]))
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed draws the same schedule.")
@click.option("--faults", default=100, show_default=True, type=click.IntRange(1), help="In the whole run.")
@click.option("--sessions", type=click.IntRange(1), help="Under load.  [default: 30; soak: 200; rolling: 8]")
@click.option(
    "--suppliers", type=click.IntRange(1), help="[default: 8, at most 15; many-claims: 600; idle: 1000]"
)
@click.option("--block-time", default=0.5, show_default=True, type=click.FloatRange(0.2), help="Seconds.")
@click.option("--session-blocks", default=20, show_default=True, type=click.IntRange(5))
@click.option(
    "--window-blocks", default=40, show_default=True, type=click.IntRange(10), help="Of both windows."
)
@click.option("--rate", default=40.0, show_default=True, help="Relays a second that the client sends.")
@click.option("--relays", default=3, show_default=True, help="many-claims: of each supplier.")
@click.option("--seconds", default=60.0, show_default=True, help="idle: how long to look.")
@click.option("--date", default="", help="rolling-restart: the day, for its page.")
@click.option("--output", type=click.Path(path_type=Path), help="rolling-restart: write its page here.")
@click.option("--only", multiple=True, metavar="KIND", help="Draw only these kinds; `--plan` shows them.")
@click.option("--plan", is_flag=True, help="Only print the schedule.")
@click.option("--keep", is_flag=True, help="Keep the directory of a run that passed, too.")
@click.option("--directory", type=click.Path(path_type=Path), help="For logs and data; else a temporary one.")
def main(scenario: str, plan: bool, keep: bool, directory: Path | None, **numbers: Any) -> None:
    """Break things under load, by a schedule drawn from a seed, and see whether the ledger closes.

    Two relayers, two miner nodes, two beats, the store or stores of the scenario, a chain with two nodes behind a
    proxy. The client counts every answer. In the end each relay answered 200 must be in a claim or be one that the
    store may lose, each claim and each proof in its window, and no proof sent twice. Exit 1 when not; the run's
    directory stays then.

    \b
    standard     one store (AOF everysec); kills, pauses, store, node, clock and connection faults
    sentinel     a master, two replicas, three Sentinels; failovers
    cluster      three masters for the data, a broker apart
    redlock      one store, leases over three more
    many-claims  no faults: hundreds of suppliers whose windows open at the same block
    idle         no faults: a thousand suppliers with nothing to do
    soak         no faults: hundreds of short sessions, and what is left of them
    rolling-restart  no faults: relayers are replaced one after the other under every kind of load

    \b
    Examples:
      python -m tests.chaos --faults 10 --sessions 3          # about two minutes
      python -m tests.chaos --seed 7                          # 100 faults over 30 sessions, about 7 minutes
      python -m tests.chaos --scenario sentinel --faults 30 --sessions 12
      python -m tests.chaos --scenario many-claims --suppliers 100
    """
    order = None if scenario in SCALE else _order(scenario, numbers)
    if plan and order:
        for fault in order.plan():
            click.echo(str(fault))
        return
    where = (directory or Path(tempfile.mkdtemp(prefix="pocket-chaos-"))).resolve()
    finish(lambda: _run(where, order) if order else _scale(where, scenario, numbers), where, keep)


def _order(scenario: str, numbers: dict[str, Any]) -> Order:
    kinds, only = {kind.name for kind in KINDS[scenario]}, numbers["only"]
    if unknown := set(only) - kinds:
        text = f"{', '.join(unknown)}: {scenario} knows {', '.join(sorted(kinds))}"
        raise click.BadParameter(text, param_hint="--only")
    suppliers = numbers["suppliers"] or 8
    if suppliers > MOST_SUPPLIERS:
        raise click.BadParameter(
            f"at most {MOST_SUPPLIERS}: all are in each session", param_hint="--suppliers"
        )
    blocks = numbers["session_blocks"], numbers["window_blocks"]
    shape = Shape(scenario, suppliers, numbers["block_time"], *blocks)
    sessions = numbers["sessions"] or 30
    return Order(shape, numbers["seed"], numbers["faults"], sessions, numbers["rate"], only)


def _run(where: Path, order: Order) -> bool:
    report = run(where, order, click.echo)
    write_report(report, where / "report.json")
    click.echo(report_text(report))
    return report.verdict.passed


def _scale(where: Path, scenario: str, numbers: dict[str, Any]) -> bool:
    suppliers, told = numbers["suppliers"], list[str]()

    def tell(line: str) -> None:
        told.append(line)
        click.echo(line)

    given = conditions("")
    if scenario == "many-claims":
        passed = many_claims(where, suppliers or 600, numbers["relays"], tell)
    elif scenario == "idle":
        passed = idle(where, suppliers or 1000, numbers["seconds"], tell)
    elif scenario == "rolling-restart":
        sessions = numbers["sessions"] or 8
        passed = rolling_restart(where, sessions, numbers["date"], numbers["output"], tell)
    else:
        passed = soak(where, numbers["sessions"] or 200, numbers["rate"], tell)
    content = {"scenario": scenario, "passed": passed, "told": told, "conditions": given}
    (where / "report.json").write_text(json.dumps(content, indent=1) + "\n")
    return passed


def finish(run_it: Callable[[], bool], where: Path, keep: bool) -> None:
    """Run, and leave nothing behind but the directory of a run that did not pass."""
    passed = False
    try:
        passed = run_it()
    finally:
        if passed and not keep:
            shutil.rmtree(where, ignore_errors=True)
        else:
            click.echo(f"logs, journal and report: {where}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main(prog_name="python -m tests.chaos")
