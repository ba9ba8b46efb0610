"""`redis-debug import-sessions`: a reference miner's open sessions become ours."""

from __future__ import annotations

from dataclasses import asdict

import click

from mining_tasks.reference_sessions import ReferenceSessions
from mining_tasks.session_import import ALREADY, IMPORTED, OVER, ForeignMinerAlive, Import, SessionImport
from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, show_rows


@click.command("import-sessions")
@supplier_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done; what is damaged is seen as well.")
@json_option
@click.pass_context
def import_sessions(context: click.Context, supplier: str, dry_run: bool, as_json: bool) -> None:
    """Take over the open sessions of a reference miner from its keys in the same store.

    Stop its miners first, run this, then start ours; a supplier that one of them still holds is left out. Open trees go
    through the supplier's stream; claimed ones become sealed sessions with the claimed root. May be repeated; nothing of
    the reference's is changed. Exit code 1 when a session could not be taken over.
    """
    deployment: Deployment = context.obj
    rows: list[Import] = []
    suppliers = [supplier] if supplier else ReferenceSessions(deployment.store, deployment.keys).suppliers()
    held = False
    for one in suppliers:
        try:
            rows += SessionImport(deployment.store, deployment.keys, one, dry_run=dry_run).run()
        except ForeignMinerAlive as error:
            held = True
            click.echo(f"Error: {error}", err=True)
    documents = [asdict(row) for row in rows]
    show_rows(documents, as_json)
    context.exit(0 if not held and all(row.result in (IMPORTED, ALREADY, OVER) for row in rows) else 1)
