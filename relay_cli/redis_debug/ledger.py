"""`redis-debug ledger`: the books (decisions.md F)."""

from __future__ import annotations

import json
from typing import Any

import click

from mining_tasks.ledger import Row, grand_total, read_ledger
from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, show

_ALWAYS_SHOWN = ("wal", "leaves", "claimed_relays", "claimed_upokt", "settled_upokt")


@click.command("ledger")
@supplier_option
@json_option
@click.pass_context
def ledger(context: click.Context, supplier: str, as_json: bool) -> None:
    """What became of every relay and every uPOKT: per session, and in total.

    Exit code 1 when something does not add up.
    """
    deployment: Deployment = context.obj
    suppliers = [supplier] if supplier else deployment.suppliers()
    ledgers = [read_ledger(deployment.store, deployment.keys, one) for one in suppliers]
    problems = [f"{one.supplier}: {problem}" for one in ledgers for problem in one.problems()]
    if as_json:
        document = {"suppliers": [one.to_json() for one in ledgers], "totals": grand_total(ledgers)}
        click.echo(json.dumps({**document, "problems": problems}))
    else:
        show([_ledger_row(row) for one in ledgers for row in one.rows])
        show(
            [{name: value for name, value in grand_total(ledgers).items() if value or name in _ALWAYS_SHOWN}]
        )
        for problem in problems:
            click.echo(f"PROBLEM: {problem}")
    context.exit(1 if problems else 0)


def _ledger_row(row: Row) -> dict[str, Any]:
    names = (
        "supplier",
        "session",
        "service",
        "session_end",
        "state",
        "leaves",
        "duplicates",
        "late",
        "below",
    )
    amounts = ("claimed_upokt", "settled_upokt", "cut_upokt", "expired_upokt", "pending_upokt", "outcome")
    return {name: getattr(row, name) for name in (*names, "dead", "claimed_relays", *amounts)}
