"""The command `pocket-relay-miner`: a table of subcommands, each imported only when it is used.

So `conformance` does not load Celery and `relayer` does not load the local chain.
"""

from __future__ import annotations

import platform
from typing import Final

import click

from pocket_protocol import __version__
from relay_cli.lazy_group import LazyCommand, LazyGroup

COMMANDS: Final[dict[str, LazyCommand]] = {
    "demo": LazyCommand(
        "relay_cli.demo.command:demo", "Do the main job once on this machine, start to paid."
    ),
    "up": LazyCommand("relay_cli.up.command:up", "Run everything on this machine, with a local chain."),
    "relayer": LazyCommand("relay_cli.serve.relayer:relayer", "Serve relays (production)."),
    "miner": LazyCommand("relay_cli.serve.miner:miner", "Mine, claim and prove relays (production)."),
    "relay": LazyCommand("relay_cli.relay.command:relay", "Send signed relays as a gateway, or a load test."),
    "validate": LazyCommand("relay_cli.validate.command:validate", "Check a configuration file."),
    "keys": LazyCommand("relay_cli.key_listing:keys", "List the addresses of a key source."),
    "doctor": LazyCommand("relay_cli.doctor:doctor", "Find what would keep this machine from mining."),
    "metrics": LazyCommand(
        "relay_cli.metrics.command:metrics", "Show the numbers of a running relayer or miner."
    ),
    "redis-debug": LazyCommand("relay_cli.redis_debug.command:redis_debug", "Look into the store."),
    "localnet": LazyCommand("localnet.command:localnet", "Run a local Pocket chain."),
    "backend": LazyCommand("localnet.backend_command:backend", "Run the test backend."),
    "conformance": LazyCommand(
        "relay_cli.conformance.command:conformance",
        "Check this implementation against recorded vectors.",
    ),
    "version": LazyCommand("relay_cli.main:version", "Print the version and what it runs on."),
}


@click.group(
    name="pocket-relay-miner",
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def cli() -> None:
    """Relay miner for Pocket Network (Shannon): serves relays, claims and proves them.

    \b
    Example:
      pocket-relay-miner conformance tests/vectors/*.json.gz
      pocket-relay-miner COMMAND -h      how to use a command, with an example
    """


@click.command()
def version() -> None:
    """Print the version and the Python it runs on.

    \b
    Example:
      pocket-relay-miner version
    """
    click.echo(f"pocket-relay-miner {__version__} (Python {platform.python_version()})")


def main() -> None:
    """Run the command line (entry point of the installed script)."""
    cli()
