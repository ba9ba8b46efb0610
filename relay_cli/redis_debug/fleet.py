"""Who mines what: the nodes, the miners of the reference, and who holds which supplier (decisions.md A, E)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pocket_protocol.errors import PocketError
from relay_cli.redis_debug.deployment import Deployment
from relay_store.nodes import LIVE_WITHIN_MS, silences_ms
from relay_store.registry import SupplierState, decode_supplier_state

OURS: Final = "ours"
REFERENCE: Final = "reference"
LIVE: Final = "live"
SILENT: Final = "silent"
NOT_KNOWN: Final = "unknown"
CONTAMINATED: Final = "contaminated"
UNREADABLE: Final = "unreadable"
_TOKEN_MARKS: Final = 8  # a node's name ends with so much of its owner token


@dataclass(frozen=True, slots=True)
class MinerNode:
    """A node of ours, or a miner of the reference. `silent_s` is None where nothing tells."""

    name: str
    kind: str
    live: bool
    silent_s: float | None


@dataclass(frozen=True, slots=True)
class Holding:
    """One supplier and who holds it: our lease, and the lease the reference's miners look at."""

    supplier: str
    holder: str  # a node's name, or the owner token of one that is forgotten; "" when nobody holds it
    lease_ttl_ms: int  # below 0: none
    epoch: int
    claimed_by: str
    claim_ttl_s: int
    status: str  # of the stake: active, unstaking, not_staked, contaminated, unreadable, unknown
    state: SupplierState | None

    @property
    def is_staked(self) -> bool:
        return self.state is not None and self.state.is_active


def name_of(token: str, nodes: Sequence[MinerNode]) -> str:
    """Return the name of the node an owner token is of, the name a beat's token ends with, else the token."""
    _, dash, beat = token.partition("-")
    if dash:
        return beat
    ending = f"-{token[:_TOKEN_MARKS]}"
    return next((node.name for node in nodes if node.name.endswith(ending)), token)


def read_nodes(deployment: Deployment) -> list[MinerNode]:
    """Return every node that is remembered, the live ones first. Raises the client library's errors."""
    keys, client = deployment.keys, deployment.store.client
    silences = silences_ms(deployment.store, keys)
    ours = [
        MinerNode(name, OURS, silence <= LIVE_WITHIN_MS, silence / 1000) for name, silence in silences.items()
    ]
    listed = {name.decode(errors="replace") for name in client.smembers(keys.miner_active())}
    foreign = [
        MinerNode(name, REFERENCE, bool(client.exists(keys.miner_instance(name))), None)
        for name in listed - silences.keys()
    ]
    return sorted((*ours, *foreign), key=lambda node: (not node.live, node.kind, node.name))


def known_suppliers(deployment: Deployment) -> list[str]:
    """Return every supplier anything in the store is about, sorted."""
    keys = deployment.keys
    managed = {
        raw.decode(errors="replace") for raw in deployment.store.client.smembers(keys.registered_suppliers())
    }
    patterns = (keys.supplier_pattern(), keys.lease("*"))
    return sorted(managed.union(deployment.suppliers(), *(deployment.named(pattern) for pattern in patterns)))


def read_holdings(
    deployment: Deployment, suppliers: Sequence[str], nodes: Sequence[MinerNode]
) -> list[Holding]:
    """Return who holds each supplier, and what relayers are told about its stake."""
    keys = deployment.keys
    pipeline = deployment.store.client.pipeline(transaction=False)
    for supplier in suppliers:
        pipeline.get(keys.lease(supplier))
        pipeline.pttl(keys.lease(supplier))
        pipeline.get(keys.epoch(supplier))
        pipeline.get(keys.miner_claim(supplier))
        pipeline.ttl(keys.miner_claim(supplier))
        pipeline.get(keys.supplier(supplier))
    replies = pipeline.execute()
    holdings = []
    for place, supplier in enumerate(suppliers):
        token, pttl, epoch, claim, claim_ttl, document = replies[6 * place : 6 * place + 6]
        status, state = _stake(document)
        holdings.append(
            Holding(
                supplier=supplier,
                holder=name_of(token.decode(), nodes) if token else "",
                lease_ttl_ms=int(pttl),
                epoch=int(epoch or 0),
                claimed_by=claim.decode(errors="replace") if claim else "",
                claim_ttl_s=int(claim_ttl),
                status=status,
                state=state,
            )
        )
    return holdings


def _stake(document: bytes | None) -> tuple[str, SupplierState | None]:
    if document is None:
        return NOT_KNOWN, None
    try:
        state = decode_supplier_state(document)
    except PocketError:
        return UNREADABLE, None
    return (CONTAMINATED if state.is_contaminated else state.status), state
