"""`redis-debug leader`: the beat that ticks, the leader of a reference deployment, and the nodes (spec/miner.md §9)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import click

from relay_cli.redis_debug.deployment import Deployment
from relay_cli.redis_debug.fleet import (
    LIVE,
    OURS,
    REFERENCE,
    SILENT,
    MinerNode,
    known_suppliers,
    name_of,
    read_holdings,
    read_nodes,
)
from relay_cli.tables import json_option, show
from relay_store.connection import Store, connect
from relay_store.store_errors import StoreUnavailable, store_errors

REFERENCE_TTL_MS: Final = 30_000
MASTER_TIMEOUT_S: Final = 1.0


@click.command("leader")
@json_option
@click.pass_context
def leader(context: click.Context, as_json: bool) -> None:
    """Who ticks (the beat), who leads a reference deployment in the same store, and which nodes live.

    Miner nodes of ours need no leader: each follows the chain itself. Only the beat, the safety net, is a singleton.
    A lease is healthy in the first third of its life time, ok in the second, a warning in the last. Exit code 1 when
    no beat holds the lease, unless only a reference deployment is at work.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml leader
    """
    deployment: Deployment = context.obj
    nodes = read_nodes(deployment)
    beat = _beat(deployment, nodes)
    rows = [beat, *_reference(deployment, nodes)]
    # a store that only a reference deployment uses needs no beat of ours
    missing = not beat["holder"] and not (
        any(row["holder"] for row in rows) and not any(node.kind == OURS and node.live for node in nodes)
    )
    fleet = _nodes(deployment, nodes)
    if as_json:
        click.echo(json.dumps({"leaders": rows, "nodes": fleet}))
    else:
        show(rows, title="Leader election")
        if missing:
            click.echo(f"No active leader: nobody holds {beat['key']}, no beat ticks.")
        show(fleet, title="Nodes")
    context.exit(1 if missing else 0)


def lease_status(ttl_ms: int, whole_ms: int) -> str:
    """Return how well a lease is renewed; one that is gone, or never runs out, is critical."""
    if ttl_ms <= 0:
        return "CRITICAL"
    if ttl_ms > whole_ms * 2 / 3:
        return "healthy"
    return "ok" if ttl_ms > whole_ms / 3 else "WARNING"


def _row(role: str, key: str, holder: str, ttl_ms: int, whole_ms: int, epoch: int | str) -> dict[str, Any]:
    status = lease_status(ttl_ms, whole_ms)
    ttl_s = round(ttl_ms / 1000, 1) if ttl_ms >= 0 else "none"
    return {"role": role, "holder": holder, "ttl_s": ttl_s, "status": status, "epoch": epoch, "key": key}


def _beat(deployment: Deployment, nodes: list[MinerNode]) -> dict[str, Any]:
    keys = deployment.keys.beat_lease()
    token, ttl_ms = _majority(deployment, keys.lease)
    epoch = int(deployment.store.client.get(keys.epoch) or 0)
    holder = name_of(token, nodes) if token else ""
    return _row("beat", keys.lease, holder, ttl_ms, deployment.lease_ttl_ms, epoch)


def _majority(deployment: Deployment, key: str) -> tuple[str, int]:
    """Return the token that holds a lease and the least time it has left, by most of the stores that vote."""
    if not deployment.redlock_urls:
        return _held(deployment.store, key)
    votes: list[tuple[str, int]] = []
    for url in deployment.redlock_urls:
        master = connect(url, timeout_s=MASTER_TIMEOUT_S, connect_timeout_s=MASTER_TIMEOUT_S)
        try:
            votes.append(_held(master, key))
        except StoreUnavailable:
            continue
        finally:
            master.close()
    most = Counter(token for token, _ in votes if token).most_common(1)
    if not most or most[0][1] <= len(deployment.redlock_urls) // 2:
        return "", -2
    token = most[0][0]
    return token, min(ttl_ms for voter, ttl_ms in votes if voter == token)


def _held(store: Store, key: str) -> tuple[str, int]:
    with store_errors():
        token, ttl_ms = store.client.get(key), int(store.client.pttl(key))
    return (token.decode(errors="replace") if token else ""), ttl_ms


def _reference(deployment: Deployment, nodes: list[MinerNode]) -> list[dict[str, Any]]:
    """Return the row of the reference's leader, where there is one or should be one."""
    key = deployment.keys.global_leader()
    holder, ttl_ms = _held(deployment.store, key)
    if not holder and not any(node.kind == REFERENCE and node.live for node in nodes):
        return []
    return [_row("reference's leader", key, holder, ttl_ms, REFERENCE_TTL_MS, "")]


def _nodes(deployment: Deployment, nodes: list[MinerNode]) -> list[dict[str, Any]]:
    holdings = read_holdings(deployment, known_suppliers(deployment), nodes)
    held = Counter(holding.holder or holding.claimed_by for holding in holdings)
    return [
        {
            "node": node.name,
            "kind": node.kind,
            "status": LIVE if node.live else SILENT,
            "suppliers": held[node.name],
            "silent_s": "" if node.silent_s is None else round(node.silent_s, 1),
        }
        for node in nodes
    ]
