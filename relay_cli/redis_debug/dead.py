"""`redis-debug dead`: the dead letters (decisions.md A)."""

from __future__ import annotations

from typing import Any

import click

from relay_cli.redis_debug.deployment import Deployment
from relay_cli.redis_debug.tables import table_command
from relay_store.dead import dead_letters


@table_command(
    "dead", "Dead letters: stream entries that could not become leaves, and why; `requeue` puts them back."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Per supplier.")
def dead(deployment: Deployment, suppliers: list[str], limit: int) -> list[dict[str, Any]]:
    return [
        {
            "supplier": supplier,
            "letter": letter.letter_id,
            "entry": letter.entry_id,
            "reason": letter.reason,
            "detail": letter.detail,
            "bytes": letter.length,
        }
        for supplier in suppliers
        for letter in dead_letters(deployment.store, deployment.keys, supplier, count=limit)
    ]
