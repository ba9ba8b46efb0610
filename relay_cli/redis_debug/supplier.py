"""`redis-debug supplier`: who mines for whom, and what relayers are told of a supplier (spec/miner.md §1.6, §5.1, §9)."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import click

from relay_cli.redis_debug.deployment import Deployment
from relay_cli.redis_debug.fleet import (
    CONTAMINATED,
    LIVE,
    SILENT,
    Holding,
    MinerNode,
    known_suppliers,
    read_holdings,
    read_nodes,
)
from relay_cli.tables import json_option, show, show_fields, show_rows
from relay_store.relay_stream import stream_length, stream_lengths
from relay_store.sessions import Sessions


@click.command("supplier")
@click.option("--supplier", default="", help="One supplier: stake, owner, lease, sessions.")
@click.option("--list", "listing", is_flag=True, help="What relayers are told of each supplier.")
@click.option("--claims", is_flag=True, help="Who owns which supplier (the default).")
@json_option
@click.pass_obj
def supplier(deployment: Deployment, supplier: str, listing: bool, claims: bool, as_json: bool) -> None:
    """Who owns which supplier, how evenly, and what is wrong with it.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml supplier
      pocket-relay-miner redis-debug --config miner.yaml supplier --list
      pocket-relay-miner redis-debug --config miner.yaml supplier --supplier pokt1…
    """
    if bool(supplier) + listing + claims > 1:
        raise click.UsageError("use one of --supplier, --list and --claims")
    nodes = read_nodes(deployment)
    if supplier:
        _one(deployment, supplier, nodes, as_json)
        return
    suppliers = known_suppliers(deployment)
    holdings = read_holdings(deployment, suppliers, nodes)
    if listing:
        rows = [_registered(holding) for holding in holdings]
        show_rows(rows, as_json)
        return
    _overview(deployment, holdings, nodes, as_json)


def _overview(deployment: Deployment, holdings: list[Holding], nodes: list[MinerNode], as_json: bool) -> None:
    live = [node for node in nodes if node.live]
    staked = sum(holding.is_staked for holding in holdings)
    owned = [holding for holding in holdings if _owner(holding)]
    low, high = (len(holdings) // len(live), math.ceil(len(holdings) / len(live))) if live else (0, 0)
    summary = {
        "suppliers": len(holdings),
        "staked": staked,
        "not_staked": len(holdings) - staked,
        "owned": len(owned),
        "live_nodes": len(live),
        "fair_share": f"{low}-{high}",
    }
    counts = Counter(_owner(holding) for holding in owned)
    shares = [
        {
            "node": node.name,
            "kind": node.kind,
            "suppliers": counts[node.name],
            "share": _share(counts[node.name], low, high) if node.live else "",
            "status": LIVE if node.live else SILENT,
        }
        for node in nodes
        if node.live or counts[node.name]
    ]
    waiting = stream_lengths(deployment.store, deployment.keys, [holding.supplier for holding in holdings])
    rows = [_owned(holding, waiting[holding.supplier]) for holding in holdings]
    warnings = [text for holding in holdings for text in _warnings(holding)]
    if as_json:
        document = {"summary": summary, "nodes": shares, "suppliers": rows, "warnings": warnings}
        click.echo(json.dumps(document))
        return
    show_fields(summary)
    for warning in warnings:
        click.echo(f"WARNING: {warning}")
    show(shares, title="\nNodes")
    show(rows, title="\nSuppliers")


def _owner(holding: Holding) -> str:
    """Return who works for a supplier: the holder of our lease, else a miner of the reference."""
    return holding.holder or holding.claimed_by


def _share(count: int, low: int, high: int) -> str:
    if count > high:
        return f"over (+{count - high})"
    return f"under (-{low - count})" if count < low else "balanced"


def _warnings(holding: Holding) -> list[str]:
    name, found = holding.supplier, []
    if holding.status == CONTAMINATED:
        found.append(f"{name} is said to be staked for nothing: relayers refuse its relays")
    elif not holding.is_staked:
        found.append(f"{name} is not served: its stake is {holding.status}")
    elif not _owner(holding):
        found.append(f"{name} is staked and nobody owns it: its relays wait")
    if holding.holder and holding.claimed_by and holding.claimed_by != holding.holder:
        found.append(f"{name} is owned by {holding.holder} and claimed by {holding.claimed_by}")
    return found


def _owned(holding: Holding, waiting: int) -> dict[str, Any]:
    return {
        "supplier": holding.supplier,
        "stake": holding.status,
        "owner": _owner(holding),
        "lease_s": _lease_s(holding),
        "epoch": holding.epoch,
        "waiting": waiting,
    }


def _lease_s(holding: Holding) -> float | str:
    if holding.holder and holding.lease_ttl_ms >= 0:
        return round(holding.lease_ttl_ms / 1000, 1)
    return float(holding.claim_ttl_s) if holding.claimed_by and holding.claim_ttl_s >= 0 else "none"


def _registered(holding: Holding) -> dict[str, Any]:
    state = holding.state
    return {
        "supplier": holding.supplier,
        "status": holding.status,
        "staked": "yes" if holding.is_staked else "no",
        "services": ", ".join(state.services) if state else "",
        "last_updated": _moment(state.last_updated) if state else "",
        "updated_by": state.updated_by if state else "",
    }


def _moment(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}" if 0 < unix_s < 2**36 else ""


def _one(deployment: Deployment, name: str, nodes: list[MinerNode], as_json: bool) -> None:
    (holding,) = read_holdings(deployment, [name], nodes)
    sessions = Sessions(deployment.store, deployment.keys, name)
    records = sessions.read_many([session for session, _ in sessions.listed()])
    states = Counter(record.state.value for record in records if record)
    if holding.state is None and not _owner(holding) and not holding.epoch and not states:
        raise click.ClickException(f"nothing is known of {name}")
    endpoints = holding.state.staked_endpoints if holding.state else ()
    fields = {
        **_registered(holding),
        "owner_address": holding.state.owner_address if holding.state else "",
        "unstakes_at": holding.state.unstake_session_end_height if holding.state else 0,
        "endpoints": ", ".join(f"{service} {transport}" for service, transport in endpoints),
        "owner": holding.holder or "nobody",
        "lease_ttl_s": round(holding.lease_ttl_ms / 1000, 1) if holding.lease_ttl_ms >= 0 else "none",
        "epoch": holding.epoch,
        "reference_claim": holding.claimed_by or "nobody",
        "reference_claim_ttl_s": holding.claim_ttl_s if holding.claim_ttl_s >= 0 else "none",
        "waiting": stream_length(deployment.store, deployment.keys, name),
        "sessions": ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
    }
    click.echo(json.dumps(fields)) if as_json else show_fields(fields)
