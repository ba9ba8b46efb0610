"""`redis-debug streams`: the relay streams, or one of them with its readers and newest entries (spec/miner.md §2.1)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from pocket_protocol.errors import PocketError
from pocket_protocol.stream_entry import decode_stream_entry
from relay_cli.redis_debug.deployment import Deployment
from relay_cli.tables import json_option, printable, show, show_rows
from relay_store.relay_stream import DATA_FIELD


@click.command("streams")
@click.option("--supplier", default="", help="This operator's stream alone, with readers and newest entries.")
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(0, 10_000), help="Newest entries shown."
)
@json_option
@click.pass_obj
def streams(deployment: Deployment, supplier: str, limit: int, as_json: bool) -> None:
    """Relay streams: entries that wait, entries pending, and who reads them.

    Entries leave a stream in the transaction that makes leaves of them, so what stands there waits. Never reads more
    than the newest --limit entries.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml streams
      pocket-relay-miner redis-debug --config miner.yaml streams --supplier pokt1… --limit 3
    """
    if not supplier:
        rows = [_overview(deployment, one) for one in deployment.suppliers()]
        show_rows(rows, as_json)
        return
    overview = _overview(deployment, supplier)
    readers, newest = _readers(deployment, supplier), _newest(deployment, supplier, limit)
    if as_json:
        click.echo(json.dumps({**overview, "readers": readers, "newest": newest}))
        return
    show([overview])
    show(readers, title="Consumer groups")
    if limit:
        show(newest, title="Newest entries")


def _overview(deployment: Deployment, supplier: str) -> dict[str, Any]:
    key = deployment.keys.relay_stream(supplier)
    client = deployment.store.node(key)
    groups = client.xinfo_groups(key) if client.exists(key) else []
    first = client.xrange(key, count=1)
    return {
        "supplier": supplier,
        "entries": int(client.xlen(key)),
        "oldest": first[0][0].decode() if first else "",
        "groups": ", ".join(f"{group['name'].decode()} ({group['consumers']} consumers)" for group in groups),
        "pending": sum(int(group["pending"]) for group in groups),
    }


def _readers(deployment: Deployment, supplier: str) -> list[dict[str, Any]]:
    key = deployment.keys.relay_stream(supplier)
    client = deployment.store.node(key)
    groups = client.xinfo_groups(key) if client.exists(key) else []
    return [
        {
            "group": printable(group["name"]),
            "consumers": int(group["consumers"]),
            "pending": int(group["pending"]),
            "last_id": printable(group["last-delivered-id"]),
            "consumer_names": ", ".join(
                f"{printable(consumer['name'])} ({consumer['pending']} pending, idle {consumer['idle']} ms)"
                for consumer in client.xinfo_consumers(key, group["name"])
            ),
        }
        for group in groups
    ]


def _newest(deployment: Deployment, supplier: str, limit: int) -> list[dict[str, Any]]:
    if not limit:
        return []
    key = deployment.keys.relay_stream(supplier)
    rows = deployment.store.node(key).xrevrange(key, count=limit)
    return [_entry(entry_id.decode(), fields) for entry_id, fields in rows]


def _entry(entry_id: str, fields: dict[bytes, bytes]) -> dict[str, Any]:
    body = fields.get(DATA_FIELD, b"")
    row = {"entry": entry_id, "written": _time_of(entry_id), "bytes": len(body)}
    try:
        entry = decode_stream_entry(body)
    except PocketError as error:
        return {
            **row,
            "session": "",
            "service": "",
            "compute_units": 0,
            "relay_hash": "",
            "problem": str(error),
        }
    return {
        **row,
        "session": printable(entry.session_id),
        "service": printable(entry.service_id),
        "compute_units": entry.compute_units_per_relay,
        "relay_hash": entry.relay_hash.hex(),
        "problem": "",
    }


def _time_of(entry_id: str) -> str:
    milliseconds = int(entry_id.partition("-")[0])
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # an id given by hand
        return ""
