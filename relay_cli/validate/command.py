"""`pocket-relay-miner validate relayer|miner FILE`: all that is wrong with a configuration, at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import structlog

from operations.config_file import ConfigInvalid, Loaded
from pocket_chain.key_files import KeysInvalid
from pocket_chain.keyring import Keyring
from pocket_chain.queries import ChainQueries
from pocket_protocol.curve import load_curve
from pocket_protocol.errors import PocketError

EXISTING = click.Path(dir_okay=False, path_type=Path)


def check_options(command: Any) -> Any:
    """Give a command the options of a check."""
    options = (
        click.option("--strict", is_flag=True, help="Warnings (unknown and superseded keys) are errors."),
        click.option(
            "--check-stake",
            is_flag=True,
            help="Relayer: ask the chain whether all staked services have backends.",
        ),
        click.option(
            "--node", default="", metavar="HOST:PORT", help="gRPC to ask, instead of the file's node."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("kind", type=click.Choice(["relayer", "miner"]))
@click.argument("file", type=EXISTING)
@check_options
@click.pass_context
def validate(
    context: click.Context, kind: str, file: Path, strict: bool, check_stake: bool, node: str
) -> None:
    """Check a configuration file: every problem with its line, and what would be used instead.

    \b
    Example:
      pocket-relay-miner validate relayer relayer.yaml --strict
      pocket-relay-miner validate relayer relayer.yaml --check-stake
      pocket-relay-miner validate miner miner.yaml

    Exit code 0: the file would start. 1: it would not, or a staked service has no backend.
    """
    context.exit(0 if check_file(kind, file, strict, check_stake, node) else 1)


def check_file(kind: str, file: Path, strict: bool, check_stake: bool, node: str) -> bool:
    """Print what is wrong with a file; return whether it would start."""
    try:
        loaded = _load(kind, file, strict)
    except ConfigInvalid as invalid:
        for problem in (*invalid.warnings, *invalid.problems):
            warning = problem in invalid.warnings
            click.echo(f"{'warning' if warning else 'error'}: {problem}")
        click.echo(f"config is INVALID: {len(invalid.problems)} problem(s) in {file}", err=True)
        return False
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}")
    unread = _unread_keys(loaded.config)
    if unread:
        click.echo(f"warning: {unread}: where this file is used the keys must be there, or nothing starts")
    click.echo(f"config OK: {file} would start")
    if not check_stake:
        return True
    if kind != "relayer":
        raise click.UsageError("--check-stake compares a relayer's backends with the chain")
    return _check_stake(loaded.config, node)


def _load(kind: str, file: Path, strict: bool) -> Loaded[Any]:
    if kind == "relayer":
        from relayer_web.config import load_relayer_config

        return load_relayer_config(file, strict=strict)
    from mining_tasks.config import load_miner_config

    return load_miner_config(file, strict=strict)


def _unread_keys(config: Any) -> str:
    """Return why the keys cannot be read on this machine, which need not be the one the file is for."""
    if not config.keys.has_source:
        return ""
    try:
        Keyring(config.keys, load_curve())
    except KeysInvalid as error:
        return str(error)
    return ""


def _check_stake(config: Any, node: str) -> bool:
    from relay_cli.validate.stake_check import check_stakes

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    section = config.pocket_node
    queries = ChainQueries.of(section)
    if node:
        queries = ChainQueries(node, section.grpc_insecure, section.query_timeout_seconds)
    try:
        suppliers = Keyring(config.keys, load_curve()).addresses
        findings = check_stakes(config, suppliers, queries)
    except KeysInvalid as error:
        raise click.ClickException(f"no supplier to check: {error}") from None
    except PocketError as error:
        raise click.ClickException(f"the chain cannot be asked: {error}") from None
    finally:
        queries.channels.close()
    for finding in findings:
        click.echo(f"  {finding.text}")
    unserved = sum(finding.unserved for finding in findings)
    if unserved:
        click.echo(f"stake check FAILED: {unserved} unserved staked pair(s)")
        return False
    click.echo("stake check OK: every staked (service, transport) pair has a backend")
    return True


def validate_subcommand(kind: str) -> click.Command:
    """Return `validate` as a subcommand of `relayer` and `miner`, the way the reference spells it."""

    @click.command("validate", short_help="Check a configuration file.")
    @click.option("--config", "file", required=True, type=EXISTING, help="The YAML file.")
    @check_options
    @click.pass_context
    def subcommand(context: click.Context, file: Path, strict: bool, check_stake: bool, node: str) -> None:
        context.exit(0 if check_file(kind, file, strict, check_stake, node) else 1)

    subcommand.help = (
        f"Check the {kind}'s configuration: `pocket-relay-miner validate {kind} FILE` by another name."
    )
    return subcommand


def config_file_of(value: Path | None, variable: str) -> str:
    """Return the configuration file's absolute path: the option's, else the variable's. Raises UsageError."""
    path = str(value) if value else os.environ.get(variable, "")
    if not path:
        raise click.UsageError(f"--config is required (or {variable} in the environment)")
    return str(Path(path).absolute())
