"""The command `pocket-relay-miner`: a table of subcommands, each imported only when it is used.

So `conformance` does not load Celery and `relayer` does not load the local chain.
"""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from typing import Final

import click

from pocket_protocol import __version__


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a subcommand is defined, and its line in the overview."""

    target: str  # module:attribute
    summary: str

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


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
    "redis-debug": LazyCommand("relay_cli.redis_debug.command:redis_debug", "Look into the store."),
    "localnet": LazyCommand("localnet.command:localnet", "Run a local Pocket chain."),
    "backend": LazyCommand("localnet.backend_command:backend", "Run the test backend."),
    "conformance": LazyCommand(
        "relay_cli.conformance.command:conformance",
        "Check this implementation against recorded vectors.",
    ),
    "version": LazyCommand("relay_cli.main:version", "Print the version and what it runs on."),
}


class LazyGroup(click.Group):
    """A group that shows `COMMANDS` without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = COMMANDS.get(cmd_name)
        return command.load() if command else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


@click.group(
    name="pocket-relay-miner",
    cls=LazyGroup,
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
