"""`redis-debug sessions`: ours, one of them whole, or those a reference miner left (spec/miner.md §3.1, §9)."""

from __future__ import annotations

from typing import Any, Final

import click

from mining_tasks.reference_sessions import ReferenceSession, ReferenceSessions
from pocket_protocol.errors import PocketError
from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, printable, show_each, show_rows
from relay_store.session_state import SessionRecord, SessionState
from relay_store.sessions import Sessions

STATES: Final = tuple(state.value for state in SessionState)


@click.command("sessions")
@supplier_option
@click.option("--session", default="", help="Only this session id, with every field of its record.")
@click.option("--state", type=click.Choice(STATES), help="Only sessions in this state.")
@click.option("--reference", is_flag=True, help="The sessions a reference miner keeps in the same store.")
@json_option
@click.pass_obj
def sessions(
    deployment: Deployment, supplier: str, session: str, state: str | None, reference: bool, as_json: bool
) -> None:
    """Sessions by supplier and end height: state, relays, claim and settlement.

    With --session every field of the record, for each supplier that has the session.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml sessions --state proving
      pocket-relay-miner redis-debug --config miner.yaml sessions --session 3f0c… --json
    """
    if reference:
        kept = ReferenceSessions(deployment.store, deployment.keys)
        suppliers = [supplier] if supplier else kept.suppliers()
        rows = [row for one in suppliers for row in _reference_rows(kept, one, session, state)]
        show_rows(rows, as_json)
        return
    records = [
        record
        for one in ([supplier] if supplier else deployment.suppliers())
        for record in _records(deployment, one, session)
        if state in (None, record.state.value)
    ]
    rows = [_fields(deployment, record) if session else _row(record) for record in records]
    show_each(rows) if session and rows and not as_json else show_rows(rows, as_json)


def _records(deployment: Deployment, supplier: str, session: str) -> list[SessionRecord]:
    """Return the records of a supplier; of one session also when it is not listed any more."""
    of_supplier = Sessions(deployment.store, deployment.keys, supplier)
    wanted = [session] if session else [name for name, _ in of_supplier.listed()]
    return [record for record in of_supplier.read_many(wanted, unreadable=_say_unreadable) if record]


def _say_unreadable(session: str, error: PocketError) -> None:
    click.echo(f"session {session}: {error}", err=True)


def _row(record: SessionRecord) -> dict[str, Any]:
    snapshot = record.snapshot

    def more(name: str) -> str:
        return record.more.get(name, b"").decode(errors="replace")

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


def _fields(deployment: Deployment, record: SessionRecord) -> dict[str, Any]:
    snapshot = record.snapshot
    key = deployment.keys.session(snapshot.supplier, snapshot.session_id)
    more = {name: printable(value) for name, value in record.more.items()}
    return {
        "session": snapshot.session_id,
        "supplier": snapshot.supplier,
        "state": record.state.value,
        "service": snapshot.service_id,
        "application": snapshot.application,
        "start_height": snapshot.start_height,
        "end_height": snapshot.end_height,
        "claim_window": f"{snapshot.claim_open}-{snapshot.claim_close}",
        "proof_window": f"{snapshot.proof_open}-{snapshot.proof_close}",
        "compute_units_per_relay": snapshot.cupr,
        "difficulty_target": snapshot.target,
        **dict(record.counters),
        "compute_units": record.counters["leaves"] * snapshot.cupr,
        **dict(sorted(more.items())),
        "ttl_s": int(deployment.store.client.ttl(key)),
    }


def _reference_rows(kept: ReferenceSessions, supplier: str, session: str, state: str) -> list[dict[str, Any]]:
    rows = []
    for one in kept.listed(supplier):
        if session not in ("", one):
            continue
        try:
            found = kept.read(supplier, one)
        except PocketError as error:
            rows.append(_reference_row(supplier, one, None, str(error)))
            continue
        if found and state in (None, found.state.value):
            rows.append(_reference_row(supplier, one, found, ""))
    return rows


def _reference_row(
    supplier: str, session: str, found: ReferenceSession | None, problem: str
) -> dict[str, Any]:
    return {
        "supplier": supplier,
        "session": session,
        "service": found.service_id if found else "",
        "application": found.application if found else "",
        "heights": f"{found.start_height}-{found.end_height}" if found else "",
        "state": found.state.value if found else "",
        "root": found.root.hex() if found else "",
        "claim_tx": found.claim_tx_hash if found else "",
        "problem": problem,
    }
