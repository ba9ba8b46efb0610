"""`redis-debug flush`: delete keys, after a typed confirmation, and not what something alive needs unless forced."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import click

from relay_cli.redis_debug.deployment import Deployment
from relay_cli.redis_debug.key_kinds import CONSEQUENCES, KeyKinds, Needed
from relay_cli.redis_debug.keys import default_patterns
from relay_cli.tables import json_option, printable

SHOWN: Final = 20
BATCH: Final = 100
WORD: Final = "DELETE"


@click.command("flush")
@click.option("--pattern", default="", help="Delete the keys that match, as of SCAN.")
@click.option("--all", "everything", is_flag=True, help="Delete all of ours and of the reference's.")
@click.option("--force", is_flag=True, help="Also delete what something alive needs, or what is not known.")
@json_option
@click.pass_obj
def flush(deployment: Deployment, pattern: str, everything: bool, force: bool, as_json: bool) -> None:
    """Delete keys from every master. Stop relayers and miners first.

    Shows what would go and asks for the word DELETE. Trees and records of sessions that are not over, streams with
    waiting relays, what belongs to suppliers with such, and keys this program does not know are refused without
    --force. There is no way back. Exit code 1 when it was refused or not confirmed.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml flush --pattern 'ha:cache:application:*'
    """
    if bool(pattern) == everything:
        raise click.UsageError("use one of --pattern and --all")
    patterns = default_patterns(deployment) if everything else (pattern,)
    names = sorted({name for one in patterns for name in deployment.scan(one)})
    if not names:
        click.echo(json.dumps({"deleted": 0})) if as_json else click.echo(
            "no key matches; nothing was deleted"
        )
        return
    _describe(deployment, names, force)
    if (
        click.prompt(f"Type '{WORD}' to delete {len(names)} keys", default="", show_default=False, err=True)
        != WORD
    ):
        raise click.ClickException("Aborted. No keys were deleted.")
    deleted = _delete(deployment, names)
    click.echo(json.dumps({"deleted": deleted}) if as_json else f"{deleted} keys deleted")


def _describe(deployment: Deployment, names: list[bytes], force: bool) -> None:
    """Say what would go. Raises ClickException when something alive is among it, unless forced."""
    click.echo(f"{len(names)} keys match:", err=True)
    for name in names[:SHOWN]:
        click.echo(f"  {printable(name)}", err=True)
    if len(names) > SHOWN:
        click.echo(f"  … and {len(names) - SHOWN} more", err=True)
    kinds, needed = KeyKinds(deployment.keys), Needed(deployment)
    named = [kinds.of(name) for name in names]
    for kind, count in sorted(Counter(one.kind for one in named).items()):
        consequence = f": {CONSEQUENCES[kind]}" if kind in CONSEQUENCES else ""
        click.echo(f"WARNING: {count} × {kind}{consequence}", err=True)
    alive = Counter(one.kind for one in named if needed.by_the_living(one))
    if alive and not force:
        listed = ", ".join(f"{count} × {kind}" for kind, count in sorted(alive.items()))
        raise click.ClickException(f"still needed or not known: {listed}. No keys were deleted; see --force.")


def _delete(deployment: Deployment, names: list[bytes]) -> int:
    deleted = 0
    for start in range(0, len(names), BATCH):
        pipeline = deployment.store.client.pipeline(transaction=False)
        some = names[start : start + BATCH]
        for name in some:
            pipeline.unlink(name)
        deleted += sum(pipeline.execute())
        click.echo(f"{start + len(some)} of {len(names)}", err=True)
    return deleted
