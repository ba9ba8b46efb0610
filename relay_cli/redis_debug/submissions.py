"""`redis-debug submissions`: what was sent for sessions, and what the chain made of it (spec/miner.md §4.5).

The records are written when the chain has decided, by our miners and by the reference's, and live a day. Success is
what the chain says where the record has it; the reference's own tool knows only what the node answered.
"""

from __future__ import annotations

import json
from typing import Any, Final

import click

from mining_tasks.submission_records import FOUND
from relay_cli.redis_debug.deployment import Deployment
from relay_cli.tables import json_option, printable, show, show_each

SUCCESS: Final = "✓ SUCCESS"
FAILED: Final = "✗ FAILED"
MISSING: Final = "⊗ MISSING"
NOTHING: Final = "-"
SHOWN_OF_AN_ID: Final = 12
READ_AT_ONCE: Final = 500


@click.command("submissions")
@click.option("--supplier", default="", help="Only this operator address.")
@click.option("--service", default="", help="Only this service.")
@click.option("--app", default="", help="Only this application.")
@click.option("--session", default="", help="Only this session id, with every field.")
@click.option(
    "--session-end", default=0, type=click.IntRange(0), help="Only sessions that end at this height."
)
@click.option("--failed-only", is_flag=True, help="Only those whose claim or proof failed or is missing.")
@click.option("--success-only", is_flag=True, help="Only those where nothing failed.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(0), help="Newest ones shown; 0: all."
)
@json_option
@click.pass_obj
def submissions(
    deployment: Deployment,
    supplier: str,
    service: str,
    app: str,
    session: str,
    session_end: int,
    failed_only: bool,
    success_only: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Claims and proofs as they were sent, newest session first. Records live for a day.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml submissions --failed-only
      pocket-relay-miner redis-debug --config miner.yaml submissions --session 3f0c…
    """
    if failed_only and success_only:
        raise click.UsageError("use one of --failed-only and --success-only")
    wanted = {"supplier": supplier, "service": service, "application": app, "session_id": session}
    wanted |= {"session_end": session_end} if session_end else {}
    records = [
        record
        for record in _records(deployment, supplier or "*")
        if all(value in ("", record.get(name)) for name, value in wanted.items())
        and not (failed_only and not _failed(record))
        and not (success_only and _failed(record))
    ]
    records.sort(
        key=lambda record: (_number(record, "session_start"), _number(record, "claim_submit_timestamp")),
        reverse=True,
    )
    records = records[: limit or None]
    if as_json:
        click.echo(json.dumps(records))
    elif session and records:
        show_each(records)
    else:
        show([_row(record) for record in records])


def _records(deployment: Deployment, supplier: str) -> list[dict[str, Any]]:
    """Return the readable records; what is no record is reported and passed over."""
    names = deployment.names(deployment.keys.submission_pattern(supplier))
    records = []
    for start in range(0, len(names), READ_AT_ONCE):
        some = names[start : start + READ_AT_ONCE]
        pipeline = deployment.store.client.pipeline(transaction=False)
        for name in some:
            pipeline.get(name)
        for name, raw in zip(some, pipeline.execute(), strict=True):
            if raw is None:
                continue  # ran out meanwhile
            try:
                record = json.loads(raw)
                if not isinstance(record, dict):
                    raise ValueError("not an object")
                records.append(record)
            except (ValueError, RecursionError):
                click.echo(f"unreadable record: {printable(name)}", err=True)
    return records


def status(record: dict[str, Any], phase: str) -> str:
    """Return what became of a claim or proof: by what the chain says, else by what the node answered."""
    sent = bool(record.get(f"{phase}_tx_hash"))
    outcome = record.get(f"{phase}_on_chain_outcome")
    if outcome:
        return SUCCESS if outcome == FOUND else FAILED if sent else MISSING
    if record.get(f"{phase}_success") is True:
        return SUCCESS
    if sent or record.get(f"{phase}_error_reason"):
        return FAILED
    return MISSING if phase == "proof" and record.get("proof_required") is True else NOTHING


def _failed(record: dict[str, Any]) -> bool:
    return any(status(record, phase) in (FAILED, MISSING) for phase in ("claim", "proof"))


def _number(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0


def _row(record: dict[str, Any]) -> dict[str, Any]:
    session = str(record.get("session_id", ""))
    return {
        "session_end": _number(record, "session_end"),
        "service": record.get("service", ""),
        "supplier": record.get("supplier", ""),
        "claim_status": status(record, "claim"),
        "proof_status": status(record, "proof"),
        "relays": _number(record, "num_relays"),
        "cu": _number(record, "compute_units"),
        "session_id": session[:SHOWN_OF_AN_ID] + ("…" if len(session) > SHOWN_OF_AN_ID else ""),
        "reason": record.get("claim_error_reason") or record.get("proof_error_reason") or "",
    }
