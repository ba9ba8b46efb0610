"""`redis-debug meter`: what sessions have used of their limits (spec/relayer.md §3.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click

from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, printable, show_rows


@click.command("meter")
@supplier_option
@click.option("--session", default="", help="Only this session id.")
@click.option("--app", default="", help="Only this application's sessions.")
@click.option("--service", default="", help="Only this service's sessions.")
@click.option("--all", "every_key", is_flag=True, help="Every key of metering instead: type, TTL, value.")
@json_option
@click.pass_obj
def meter(
    deployment: Deployment,
    supplier: str,
    session: str,
    app: str,
    service: str,
    every_key: bool,
    as_json: bool,
) -> None:
    """What each session and supplier has used of its limit, in uPOKT.

    \b
    Example:
      pocket-relay-miner redis-debug --config relayer.yaml meter --app pokt1…
      pocket-relay-miner redis-debug --config relayer.yaml meter --all

    Name a relayer.yaml where relay_meter.redis_key_prefix is not the default.
    """
    rows = list(_every_key(deployment)) if every_key else []
    if not every_key:
        wanted = {"supplier": supplier, "session": session, "application": app, "service": service}
        rows = [
            row
            for row in _meters(deployment, session or "*", supplier or "*")
            if all(value in ("", row[name]) for name, value in wanted.items())
        ]
    show_rows(rows, as_json)


def _meters(deployment: Deployment, session: str, supplier: str) -> list[dict[str, Any]]:
    keys = deployment.keys
    pairs: set[tuple[str, str]] = set()
    for spell in (keys.meter_meta, keys.meter_consumed):
        shape = re.compile(re.escape(spell("*", "*")).replace(r"\*", "([^:]+)"))
        for key in deployment.names(spell(session, supplier)):
            if found := shape.fullmatch(key):
                pairs.add((found[1], found[2]))
    pipeline = deployment.store.client.pipeline(transaction=False)
    for pair in sorted(pairs):
        pipeline.get(keys.meter_meta(*pair))
        pipeline.get(keys.meter_consumed(*pair))
        pipeline.ttl(keys.meter_consumed(*pair))
    replies = pipeline.execute()
    return [_row(*pair, *replies[3 * place : 3 * place + 3]) for place, pair in enumerate(sorted(pairs))]


def _row(
    session: str, supplier: str, meta: bytes | None, consumed: bytes | None, ttl_s: int
) -> dict[str, Any]:
    limits = _document(meta)
    used, limit = _whole(consumed), _whole(limits.get("max_stake_upokt"))
    return {
        "session": session,
        "supplier": supplier,
        "application": printable(limits.get("app_address", "")),
        "service": printable(limits.get("service_id", "")),
        "session_end": _whole(limits.get("session_end_height")),
        "consumed_upokt": used,
        "limit_upokt": limit,
        "left_upokt": max(limit - used, 0),
        "used": f"{used / limit:.1%}" if limit else "no limit known",
        "ttl_s": ttl_s,
    }


def _document(meta: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(meta or b"{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _whole(value: Any) -> int:
    try:
        return int(value or 0)
    except (ValueError, TypeError):
        return 0


def _every_key(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Yield the keys of metering, those of older releases of the reference among them (spec/miner.md §6.1)."""
    keys, client = deployment.keys, deployment.store.client
    patterns = (
        keys.meter_meta("*", "*"),
        keys.meter_consumed("*", "*"),
        keys.meter_active_sessions(),
        keys.service_factor(),
        keys.service_factor("*"),
        keys.legacy_params_pattern(),
        keys.legacy_app_stake("*"),
        keys.legacy_compute_units("*"),
    )
    for pattern in patterns:
        for key in deployment.names(pattern):
            kind = client.type(key).decode()
            value = (
                client.get(key)
                if kind == "string"
                else f"{client.scard(key)} members"
                if kind == "set"
                else ""
            )
            yield {
                "key": printable(key),
                "type": kind,
                "ttl_s": int(client.ttl(key)),
                "value": printable(value if value is not None else "")[:200],
            }
