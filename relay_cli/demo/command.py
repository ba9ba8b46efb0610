"""`pocket-relay-miner demo`: the main job from nothing to paid, on this machine. What `make run` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pocket_protocol.curve import load_curve
from pocket_protocol.errors import PocketError
from relay_cli.demo.books import Report
from relay_cli.demo.demo_run import DemoRun
from relay_cli.demo.progress import progress_view
from relay_cli.run_directory import DEFAULT_DIRECTORY
from relay_cli.stop_signals import stop_requested
from relay_cli.up.command import show, stay
from relay_cli.up.layout import Layout
from relay_cli.up.network import Network, running
from relay_cli.up.ports import choose_ports, given_ports, port_options

RELAYS = (80, 7200)  # so that one service's claims are above the threshold for proofs, and the other's below
_SHOWN_LOGS = ("miner", "relayer")


@click.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, with everything running.")
@click.option(
    "--relays",
    default=600,
    show_default=True,
    type=click.IntRange(*RELAYS),
    help="In both sessions together.",
)
@click.option(
    "--block-time", default=1.0, show_default=True, type=click.FloatRange(0.25, 60), help="Seconds."
)
@click.option(
    "--dir", "directory", default=DEFAULT_DIRECTORY, show_default=True, type=click.Path(path_type=Path)
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the ledger as one JSON document; progress to stderr."
)
@port_options
def demo(keep: bool, relays: int, block_time: float, directory: Path, as_json: bool, **options: Any) -> None:
    """Do the main job once: serve relays, mine them, claim, prove, be paid, and check the books.

    Starts everything on this machine with a local chain, sends real ring-signed relays of applications delegated to
    a gateway over two services, two suppliers and two whole sessions, and waits until the chain has settled both. The
    claims of one service need a proof, those of the other do not. Then the client's count, the miner's books and the
    chain's events must agree to the relay and to the uPOKT.

    \b
    Example:
      pocket-relay-miner demo
      pocket-relay-miner demo --keep          then look around; Ctrl-C ends it

    Exit code 0: the books close. 1: they do not, or the run did not get to its end; the reason is shown.
    """
    console = Console(stderr=as_json)
    layout = Layout(
        directory=directory.absolute(),
        ports=choose_ports(given_ports(options), anywhere=True),
        block_time_s=block_time,
    )
    try:
        _run(layout, relays, keep, as_json, console)
    except (PocketError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _run(layout: Layout, relays: int, keep: bool, as_json: bool, console: Console) -> None:
    curve = load_curve()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    with stop_requested() as stop:
        say("starting store, local chain, test backend, miner and relayer")
        with running(layout, curve, say, stop) as network:
            try:
                with progress_view(console) as view:
                    report = DemoRun(network, curve, relays, view, stop).run()
            except PocketError:
                say(log_tails(network))
                raise
            print_report(report, console)
            if as_json:
                click.echo(json.dumps(report.to_json()))
            if report.problems:
                say(log_tails(network))
            if keep:
                show(network)
                stay(network, stop)
    if report.problems:
        raise click.exceptions.Exit(1)


def log_tails(network: Network) -> str:
    """Return the last lines of the logs that tell most."""
    supervisor = network.supervisor
    return "\n".join(
        f"--- {supervisor.child(name).log_path} ---\n{supervisor.child(name).tail()}" for name in _SHOWN_LOGS
    )


def print_report(report: Report, console: Console) -> None:
    """Print the ledger, the balances and the verdict."""
    table = Table(
        title="Ledger: a line per session of a supplier", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    for name in ("service", "end", "supplier"):
        table.add_column(name, no_wrap=True)
    for name in ("relays", "wal", "leaves", "claim", "claimed", "settled"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("proof", no_wrap=True)
    for row in report.rows:
        proof = "valid" if row.proved else "MISSING" if row.proof_required else "no need"
        numbers = (row.answered, row.wal, row.leaves, row.num_relays)
        table.add_row(
            *(row.service_id, str(row.session_end), f"…{row.supplier[-6:]}"),
            *map(str, numbers),
            *(f"{row.claimed_upokt:,}", f"{row.settled_upokt:,}", proof),
        )
    plain: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
    console.print(table)
    console.print(
        "relays: answered to the client; wal, leaves: the miner's books; claim: num_relays on the chain",
        **plain,
    )
    for one in report.balances:
        console.print(
            f"{one.supplier}: {one.before_upokt:,} → {one.after_upokt:,} uPOKT"
            f" (earned {one.earned_upokt:,}, proof fees {one.proof_fees_upokt:,}, gas {one.gas_upokt:,})",
            **plain,
        )
    for name, count in report.restarts.items():
        console.print(f"note: {name} had to be started again {count} time(s)", **plain)
    totals = report.to_json()["totals"]
    if report.problems:
        for problem in report.problems:
            console.print(f"PROBLEM: {problem}", **plain)
        return
    console.print(
        f"OK: {totals['answered']} relays answered = {totals['wal']} in the WAL = {totals['leaves']} leaves ="
        f" {totals['num_relays']} claimed; {totals['settled_upokt']:,} uPOKT settled, {report.seconds:.0f} s",
        **plain,
    )
