"""`pocket-relay-miner miner`: worker, beat and metrics of one node under one supervisor."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from mining_tasks.config import CONFIG_VARIABLE, load_miner_config
from operations.config_file import ConfigInvalid
from operations.overrides import Overrides
from pocket_protocol.errors import PocketError
from relay_cli.serve.miner_processes import MinerNode, miner_processes
from relay_cli.stop_signals import stop_requested
from relay_cli.supervisor.supervisor import Supervisor
from relay_cli.validate.command import EXISTING, config_file_of, validate_subcommand


@click.group(invoke_without_command=True)
@click.option("--config", type=EXISTING, help=f"The YAML file; else {CONFIG_VARIABLE} names it.")
@click.option("--redis-url", default="", metavar="URL", help="Store to use instead of the file's.")
@click.option("--consumer-group", default="", help="Consumer group of the relay streams.")
@click.option("--consumer-name", default="", help="Name of this miner where miners of the reference look.")
@click.option("--keys-file", default="", metavar="PATH", help="Keys to use instead of the file's.")
@click.option("--keys-dir", default="", metavar="PATH", help="Directory of keys instead of the file's.")
@click.option(
    "--flower",
    default="",
    metavar="HOST:PORT",
    help="Run Flower, Celery's monitor, there (it has no password).",
)
@click.pass_context
def miner(context: click.Context, config: Path | None, flower: str, **overrides: str) -> None:
    """Mine relays: gather them into trees, claim, prove, and watch the chain settle.

    Any number of nodes may run on any number of machines; suppliers are shared out among them. What dies is started
    again. SIGTERM ends the node after the work in hand; its suppliers go to the other nodes.

    \b
    Example:
      pocket-relay-miner miner --config miner.yaml
      pocket-relay-miner miner validate --config miner.yaml
    """
    if context.invoked_subcommand:
        return
    path = config_file_of(config, CONFIG_VARIABLE)
    os.environ.update(Overrides(**overrides).environment())
    try:
        loaded = load_miner_config(path)
    except ConfigInvalid as invalid:
        raise click.ClickException(f"configuration is invalid:\n{invalid}") from None
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    try:
        run_node(MinerNode(path, loaded.config, flower=flower))
    except PocketError as error:
        raise click.ClickException(str(error)) from None


def run_node(node: MinerNode) -> None:
    """Run a node until SIGTERM or Ctrl-C. Raises `PortTaken`, `StartFailed`."""
    with TemporaryDirectory(prefix="pocket-miner-metrics-") as fresh, stop_requested() as stop:
        if not node.config.extensions.state_dir:  # other nodes of this machine have none either
            node = replace(node, metrics_directory=Path(fresh))
        supervisor = Supervisor(miner_processes(node), None, lambda text: click.echo(text, err=True))
        try:
            supervisor.start(stop)
            stop.wait()
        finally:
            supervisor.stop()


miner.add_command(validate_subcommand("miner"))
