"""`pocket-relay-miner redis-debug`: tables of what the store holds; only `import-sessions` writes (decisions.md F)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from mining_tasks.ledger import Row, grand_total, read_ledger
from mining_tasks.reference_sessions import ReferenceSessions
from mining_tasks.session_import import ALREADY, IMPORTED, OVER, Import, SessionImport
from operations.config_file import ConfigInvalid
from pocket_protocol.errors import PocketError
from relay_cli.redis_debug.deployment import Deployment, open_deployment
from relay_store.dead import dead_letters
from relay_store.session_state import SessionRecord
from relay_store.sessions import Sessions
from relay_store.store_errors import store_errors

_ALWAYS_SHOWN = ("wal", "leaves", "claimed_relays", "claimed_upokt", "settled_upokt")
WIDTH_OF_FILES = 400  # characters: addresses stay whole where nobody looks at columns


@click.group("redis-debug")
@click.option(
    "--redis",
    "redis_url",
    default="",
    metavar="URL",
    help="The store.  [default: the file's, or redis://localhost:6379]",
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="A miner.yaml or relayer.yaml: store and key names."
)
@click.pass_context
def redis_debug(context: click.Context, redis_url: str, config: Path | None) -> None:
    """Look into the store: sessions, streams, dead letters. Only import-sessions changes anything.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml sessions
      pocket-relay-miner redis-debug --redis redis://127.0.0.1:6390/0 streams --json
    """
    try:
        deployment = open_deployment(redis_url, config)
    except (ConfigInvalid, PocketError) as error:
        raise click.ClickException(str(error)) from None
    context.obj = deployment
    context.call_on_close(deployment.store.close)


def table_command(name: str, help_text: str) -> Callable[[Callable[..., list[dict[str, Any]]]], Any]:
    """Make a subcommand of a function that returns rows: a table, or JSON with --json."""

    def decorate(rows_of: Callable[..., list[dict[str, Any]]]) -> Any:
        @redis_debug.command(name, help=help_text)
        @click.option("--supplier", default="", help="Only this operator address.")
        @click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
        @click.pass_obj
        @wraps(rows_of)
        def command(deployment: Deployment, supplier: str, as_json: bool, **options: Any) -> None:
            try:
                suppliers = [supplier] if supplier else deployment.suppliers()
                rows = rows_of(deployment, suppliers, **options)
            except PocketError as error:
                raise click.ClickException(str(error)) from None
            click.echo(json.dumps(rows)) if as_json else show(rows)

        return command

    return decorate


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    if not rows:
        console.print("nothing found")
        return
    table = Table(box=None, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(
            name.upper().replace("_", " "), justify="right" if isinstance(value, int) else "left"
        )
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
    console.print(f"{len(rows)} row(s)")


@redis_debug.command("ledger")
@click.option("--supplier", default="", help="Only this operator address.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.pass_context
def ledger(context: click.Context, supplier: str, as_json: bool) -> None:
    """What became of every relay and every uPOKT: per session, and in total.

    Exit code 1 when something does not add up.
    """
    deployment: Deployment = context.obj
    try:
        suppliers = [supplier] if supplier else deployment.suppliers()
        ledgers = [read_ledger(deployment.store, deployment.keys, one) for one in suppliers]
    except PocketError as error:
        raise click.ClickException(str(error)) from None
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


@table_command("sessions", "The sessions of all suppliers: state, relays, claim and settlement.")
@click.option("--state", default="", help="Only sessions in this state.")
@click.option("--session", default="", help="Only this session id.")
def sessions(deployment: Deployment, suppliers: list[str], state: str, session: str) -> list[dict[str, Any]]:
    rows = []
    for supplier in suppliers:
        of_supplier = Sessions(deployment.store, deployment.keys, supplier)
        listed = [name for name, _ in of_supplier.listed() if session in ("", name)]
        records = [record for record in of_supplier.read_many(listed) if record]
        rows += [_session_row(record) for record in records if state in ("", record.state.value)]
    return rows


def _session_row(record: SessionRecord) -> dict[str, Any]:
    snapshot = record.snapshot

    def more(name: str) -> str:
        return record.more.get(name, b"").decode()

    return {
        "supplier": snapshot.supplier,
        "session": snapshot.session_id,
        "service": snapshot.service_id,
        "heights": f"{snapshot.start_height}-{snapshot.end_height}",
        "state": record.state.value,
        **dict(record.counters),
        "claimed_upokt": more("claimed_upokt"),
        "proof": more("proof_requirement"),
        "settled_upokt": more("settled_upokt"),
        "outcome": more("settlement_outcome"),
    }


@table_command("streams", "The relay streams: entries waiting, pending, and who reads them.")
def streams(deployment: Deployment, suppliers: list[str]) -> list[dict[str, Any]]:
    rows = []
    for supplier in suppliers:
        key = deployment.keys.relay_stream(supplier)
        client = deployment.store.node(key)
        with store_errors():
            exists = client.exists(key)
            groups = client.xinfo_groups(key) if exists else []
            first = client.xrange(key, count=1) if exists else []
            length = client.xlen(key)
        rows.append(
            {
                "supplier": supplier,
                "entries": int(length),
                "oldest": first[0][0].decode() if first else "",
                "groups": ", ".join(
                    f"{group['name'].decode()} ({group['consumers']} consumers)" for group in groups
                ),
                "pending": sum(int(group["pending"]) for group in groups),
            }
        )
    return rows


@table_command("dead", "Dead letters: stream entries that could not become leaves, and why.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Per supplier.")
def dead(deployment: Deployment, suppliers: list[str], limit: int) -> list[dict[str, Any]]:
    return [
        {
            "supplier": supplier,
            "entry": letter.entry_id,
            "reason": letter.reason,
            "detail": letter.detail,
            "bytes": letter.length,
        }
        for supplier in suppliers
        for letter in dead_letters(deployment.store, deployment.keys, supplier, count=limit)
    ]


@redis_debug.command("import-sessions")
@click.option("--supplier", default="", help="Only this operator address.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done; what is damaged is seen as well.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def import_sessions(context: click.Context, supplier: str, dry_run: bool, as_json: bool) -> None:
    """Take over the open sessions of a reference miner from its keys in the same store.

    Stop its miners first, run this, then start ours. Open trees go through the supplier's stream; claimed ones become
    sealed sessions with the claimed root. May be repeated; nothing of the reference's is changed. Exit code 1 when a
    session could not be taken over.
    """
    deployment: Deployment = context.obj
    rows: list[Import] = []
    try:
        suppliers = (
            [supplier] if supplier else ReferenceSessions(deployment.store, deployment.keys).suppliers()
        )
        for one in suppliers:
            rows += SessionImport(deployment.store, deployment.keys, one, dry_run=dry_run).run()
    except PocketError as error:
        raise click.ClickException(str(error)) from None
    documents = [asdict(row) for row in rows]
    click.echo(json.dumps(documents)) if as_json else show(documents)
    context.exit(0 if all(row.result in (IMPORTED, ALREADY, OVER) for row in rows) else 1)
