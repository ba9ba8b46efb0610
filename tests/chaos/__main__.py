"""`make chaos`: faults against a whole deployment under load, and the runs that show its size (docs/chaos.md)."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from tests.chaos.network import Shape
from tests.chaos.plan import KINDS
from tests.chaos.report import report_text, write_report
from tests.chaos.run import Order, run

CHAOS = ("standard", "sentinel", "cluster", "redlock")


@click.command(context_settings={"max_content_width": 110})
@click.option("--scenario", default="standard", show_default=True, type=click.Choice(CHAOS))
@click.option("--seed", default=1, show_default=True, type=int, help="The same seed draws the same schedule.")
@click.option("--faults", default=100, show_default=True, type=click.IntRange(1), help="In the whole run.")
@click.option("--sessions", default=30, show_default=True, type=click.IntRange(1), help="Under load.")
@click.option("--suppliers", default=8, show_default=True, type=click.IntRange(1, 15))
@click.option("--block-time", default=0.5, show_default=True, type=click.FloatRange(0.2), help="Seconds.")
@click.option("--session-blocks", default=20, show_default=True, type=click.IntRange(5))
@click.option(
    "--window-blocks", default=40, show_default=True, type=click.IntRange(10), help="Of both windows."
)
@click.option("--rate", default=40.0, show_default=True, help="Relays a second that the client sends.")
@click.option("--only", multiple=True, metavar="KIND", help="Draw only these kinds; `--plan` shows them.")
@click.option("--plan", is_flag=True, help="Only print the schedule.")
@click.option("--keep", is_flag=True, help="Keep the directory of a run that passed, too.")
@click.option("--directory", type=click.Path(path_type=Path), help="For logs and data; else a temporary one.")
def main(
    scenario: str,
    seed: int,
    faults: int,
    sessions: int,
    suppliers: int,
    block_time: float,
    session_blocks: int,
    window_blocks: int,
    rate: float,
    only: tuple[str, ...],
    plan: bool,
    keep: bool,
    directory: Path | None,
) -> None:
    """Break things under load, by a schedule drawn from a seed, and see whether the ledger closes.

    Two relayers, two miner nodes, two beats, the store or stores of the scenario, a chain with two nodes behind a
    proxy. The client counts every answer. In the end each relay answered 200 must be in a claim or be one that the
    store may lose, each claim and each proof in its window, and no proof sent twice. Exit 1 when not; the run's
    directory stays then.

    \b
    standard   one store (AOF everysec); kills, pauses, store, node, clock and connection faults
    sentinel   a master, two replicas, three Sentinels; failovers
    cluster    three masters for the data, a broker apart
    redlock    one store, leases over three more

    \b
    Examples:
      python -m tests.chaos --faults 10 --sessions 3          # about a minute and a half
      python -m tests.chaos --seed 7                          # 100 faults over 30 sessions, about 8 minutes
      python -m tests.chaos --scenario sentinel --faults 30 --sessions 12
    """
    unknown = set(only) - {kind.name for kind in KINDS[scenario]}
    if unknown:
        known = ", ".join(sorted(kind.name for kind in KINDS[scenario]))
        raise click.BadParameter(f"{', '.join(unknown)}: {scenario} knows {known}", param_hint="--only")
    shape = Shape(scenario, suppliers, block_time, session_blocks, window_blocks)
    order = Order(shape, seed, faults, sessions, rate, only)
    if plan:
        for fault in order.plan():
            click.echo(str(fault))
        return
    where = (directory or Path(tempfile.mkdtemp(prefix="pocket-chaos-"))).resolve()
    finish(lambda: _run(where, order), where, keep)


def _run(where: Path, order: Order) -> bool:
    report = run(where, order, click.echo)
    write_report(report, where / "report.json")
    click.echo(report_text(report))
    return report.verdict.passed


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
