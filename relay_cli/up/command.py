"""`pocket-relay-miner up`: everything on one machine, until Ctrl-C."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import click

from pocket_protocol.curve import load_curve
from pocket_protocol.errors import PocketError
from relay_cli.run_directory import DEFAULT_DIRECTORY
from relay_cli.stop_signals import stop_requested
from relay_cli.up.layout import Layout
from relay_cli.up.network import Network, addresses, running
from relay_cli.up.ports import choose_ports, given_ports, port_options

WAIT_S = 0.2


@click.command()
@click.option(
    "--dir", "directory", default=DEFAULT_DIRECTORY, show_default=True, type=click.Path(path_type=Path)
)
@click.option(
    "--suppliers", default=2, show_default=True, type=click.IntRange(1, 100), help="On the local chain."
)
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Front-end processes."
)
@click.option("--mining-processes", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--block-time", default=1.0, show_default=True, type=click.FloatRange(0.1, 600), help="Seconds."
)
@click.option("--any-port", is_flag=True, help="Move default ports that are taken to free ones.")
@port_options
def up(directory: Path, block_time: float, any_port: bool, **options: Any) -> None:
    """Run everything on this machine: store, local chain, test backend, relayer, miner, Flower.

    The store is embedded, with its own data directory. Configuration, keys, logs and addresses (run.json) are in
    --dir. What dies is started again; Ctrl-C stops all. The chain begins anew at each start, and its keys are public:
    for development only.

    \b
    Example:
      pocket-relay-miner up
      pocket-relay-miner relay jsonrpc --localnet --service develop-http
      curl -s http://127.0.0.1:8081/ready
    """
    ports = choose_ports(given_ports(options), any_port)
    layout = Layout(
        directory=directory.absolute(),
        ports=ports,
        suppliers=options["suppliers"],
        front_end_workers=options["workers"],
        mining_processes=options["mining_processes"],
        block_time_s=block_time,
    )
    try:
        with stop_requested() as stop, running(layout, load_curve(), click.echo, stop) as network:
            show(network)
            stay(network, stop)
            click.echo("stopping")
    except (PocketError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("all stopped")


def show(network: Network) -> None:
    """Print where everything is."""
    click.echo(f"running; configuration, keys and logs are in {network.layout.directory}")
    for what, where in addresses(network.run):
        click.echo(f"  {what:<20} {where}")
    click.echo("try: pocket-relay-miner relay jsonrpc --localnet --service develop-http")
    click.echo("Ctrl-C stops everything")


def stay(network: Network, stop: threading.Event) -> None:
    """Return when asked to stop. Raises `RunEnded` when the run cannot go on."""
    while not stop.wait(WAIT_S):
        network.supervisor.check()
