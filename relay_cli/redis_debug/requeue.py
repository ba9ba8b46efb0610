"""`redis-debug requeue`: dead letters back into their streams (decisions.md A, B2)."""

from __future__ import annotations

import click

from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, show_rows
from relay_store.dead import DeadLetter, Requeued, all_dead_letters, requeue


@click.command("requeue")
@supplier_option
@click.option("--reason", default="", help="Only letters with this reason.")
@click.option("--letter", "letter_id", default="", help="Only the letter with this id.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
@click.pass_context
def requeue_letters(
    context: click.Context, supplier: str, reason: str, letter_id: str, dry_run: bool, as_json: bool
) -> None:
    """Put dead letters back into their streams, oldest first, when what was wrong has been put right.

    Each becomes a new entry that is judged like any other: a relay whose session was claimed meanwhile is late.
    Exit code 1 when one could not go back.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml dead
      pocket-relay-miner redis-debug --config miner.yaml requeue --reason "kills worker" --dry-run
    """
    deployment: Deployment = context.obj
    rows = [
        {
            "supplier": one,
            "letter": letter.letter_id,
            "reason": letter.reason,
            "result": _would_be(letter) if dry_run else _put_back(deployment, one, letter),
        }
        for one in ([supplier] if supplier else deployment.suppliers())
        for letter in all_dead_letters(deployment.store, deployment.keys, one)
        if reason in ("", letter.reason) and letter_id in ("", letter.letter_id)
    ]
    show_rows(rows, as_json)
    context.exit(0 if all(row["result"] == Requeued.DONE.value for row in rows) else 1)


def _put_back(deployment: Deployment, supplier: str, letter: DeadLetter) -> str:
    return requeue(deployment.store, deployment.keys, supplier, letter).value


def _would_be(letter: DeadLetter) -> str:
    return (Requeued.DONE if letter.is_whole else Requeued.CUT).value
