"""`redis-debug dead`: the dead letters (decisions.md A)."""

from __future__ import annotations

import click

from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, show_rows
from relay_store.dead import dead_letters


@click.command("dead")
@supplier_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Per supplier.")
@json_option
@click.pass_obj
def dead(deployment: Deployment, supplier: str, limit: int, as_json: bool) -> None:
    """Dead letters: stream entries that could not become leaves, and why; `requeue` puts them back."""
    rows = [
        {
            "supplier": one,
            "letter": letter.letter_id,
            "entry": letter.entry_id,
            "reason": letter.reason,
            "detail": letter.detail,
            "bytes": letter.length,
        }
        for one in ([supplier] if supplier else deployment.suppliers())
        for letter in dead_letters(deployment.store, deployment.keys, one, count=limit)
    ]
    show_rows(rows, as_json)
