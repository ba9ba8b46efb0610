"""`pocket-relay-miner relayer`: the front ends of one machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from operations.config_file import ConfigInvalid
from operations.overrides import Overrides
from relay_cli.serve.relayer_process import GUNICORN
from relay_cli.supervisor.supervisor import bound_resources
from relay_cli.validate.command import EXISTING, config_file_of, validate_subcommand
from relayer_web.config import CONFIG_VARIABLE, load_relayer_config


@click.group(invoke_without_command=True)
@click.option("--config", type=EXISTING, help=f"The YAML file; else {CONFIG_VARIABLE} names it.")
@click.option("--redis-url", default="", metavar="URL", help="Store to use instead of the file's.")
@click.pass_context
def relayer(context: click.Context, config: Path | None, redis_url: str) -> None:
    """Serve relays: verify, forward, sign, and record each one for mining.

    Runs gunicorn in this process's place: SIGTERM drains and ends it. A URL with a password is better given as
    POCKET_REDIS_URL in the environment than on the command line.

    \b
    Example:
      pocket-relay-miner relayer --config relayer.yaml
      pocket-relay-miner relayer validate --config relayer.yaml
    """
    if context.invoked_subcommand:
        return
    os.environ[CONFIG_VARIABLE] = config_file_of(config, CONFIG_VARIABLE)
    os.environ.update(Overrides(redis_url=redis_url).environment())
    try:
        loaded = load_relayer_config(os.environ[CONFIG_VARIABLE])
    except ConfigInvalid as invalid:
        raise click.ClickException(f"configuration is invalid:\n{invalid}") from None
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    bound_resources()
    os.execv(GUNICORN[0], GUNICORN)


relayer.add_command(validate_subcommand("relayer"))
