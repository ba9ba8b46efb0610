"""The miner's metrics (spec/miner.md §8): those that mean something here, with labels that cannot grow.

Labels are suppliers (our own keys), services with a claim, states, outcomes and reasons; never a session or a height.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

BLOCKS: Final = (0, 1, 2, 3, 4, 5, 10, 15, 20)
SETTLEMENT_BLOCKS: Final = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100)
REFRESH_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FINE_S: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_OF = ("supplier", "service_id")
_COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "ha_miner_relays_consumed_from_stream": ("stream entries settled", ("supplier",)),
    "ha_miner_relays_added_to_smst": ("new leaves", ("supplier",)),
    "ha_miner_relays_rejected": ("entries that became no leaf", ("supplier", "reason")),
    "ha_miner_messages_acknowledged": ("entries acknowledged", ("supplier",)),
    "ha_miner_session_tree_flushes": ("sessions sealed", ("supplier",)),
    "ha_miner_session_state_transitions": ("state changes", (*_OF, "from_state", "to_state")),
    "ha_miner_claim_ceiling_exceeded": ("claims beyond what the application's stake is sure to pay", _OF),
    "ha_miner_claim_ceiling_exceeded_upokt": ("by how much", _OF),
    "ha_miner_claims_skipped": ("sessions deliberately not claimed", (*_OF, "reason")),
    "ha_miner_claims_submitted": ("claims seen on the chain", _OF),
    "ha_miner_relays_claimed": ("relays in claims seen on the chain", _OF),
    "ha_miner_compute_units_claimed": ("compute units in claims seen on the chain", _OF),
    "ha_miner_upokt_claimed": ("worth of claims seen on the chain", _OF),
    "ha_miner_claim_errors": ("claims refused or not sent", ("supplier", "reason")),
    "ha_miner_claim_rebroadcasts": ("claim transactions sent again", ("supplier", "result")),
    "ha_miner_proof_requirement_checks": ("draws", ("supplier",)),
    "ha_miner_proof_requirement_required": ("claims that must be proved", ("supplier", "reason")),
    "ha_miner_proof_requirement_skipped": ("claims that need no proof", ("supplier",)),
    "ha_miner_proofs_submitted": ("proofs the chain found valid", _OF),
    "ha_miner_proof_errors": ("proofs refused or not sent", ("supplier", "reason")),
    "ha_miner_proof_rebroadcasts": ("proof transactions sent again", ("supplier", "result")),
    "ha_miner_sessions_proved": ("sessions proved", _OF),
    "ha_miner_sessions_probabilistic_proved": ("sessions paid without a proof", _OF),
    "ha_miner_sessions_failed": ("sessions that ended unpaid", (*_OF, "reason")),
    "ha_miner_relays_lost": ("relays of sessions that ended unpaid", (*_OF, "reason")),
    "ha_miner_compute_units_lost": ("compute units of such sessions", (*_OF, "reason")),
    "ha_miner_upokt_lost": ("worth of such sessions", (*_OF, "reason")),
    "ha_miner_claims_settled_by_status": ("settled claims", (*_OF, "status")),
    "ha_miner_relays_settled_by_status": ("relays of settled claims", (*_OF, "status")),
    "ha_miner_upokt_earned": ("paid to the supplier's shareholders", _OF),
    "ha_miner_upokt_cut": ("claimed, settled and cut off by the application's budget", _OF),
    "ha_miner_claims_expired_by_reason": ("expired claims", (*_OF, "reason")),
    "ha_miner_upokt_expired_by_reason": ("worth of expired claims", (*_OF, "reason")),
    "ha_miner_claims_discarded": ("claims the chain could not price", _OF),
    "ha_miner_supplier_slashed": ("penalties", _OF),
    "ha_miner_supplier_claimed": ("leases taken", ("supplier",)),
    "ha_miner_supplier_released": ("leases given up", ("supplier", "reason")),
    "ha_miner_supplier_registry_updates": ("supplier documents written", ("action",)),
    "ha_miner_supplier_cache_write_skipped": ("supplier documents not written", ("reason",)),
    "ha_miner_supplier_balance_critical_alerts": ("balance too low", ("supplier",)),
    "ha_miner_supplier_balance_warning_alerts": ("balance getting low", ("supplier",)),
    "ha_miner_supplier_stake_critical_alerts": ("stake survives few penalties", ("supplier",)),
    "ha_miner_supplier_stake_warning_alerts": ("stake survives some penalties", ("supplier",)),
    "ha_miner_stale_streams": ("times relays were found that waited 30 s and more", ("supplier",)),
    "ha_miner_task_failures": ("tasks that ended in an error", ("task", "reason")),
    "ha_miner_fullnode_slow_blocks": ("blocks that took too long (block_health_monitor)", ()),
    "ha_miner_leader_elections": ("times this process became the beat", ()),
    "ha_miner_leader_losses": ("times it stopped being the beat", ()),
    "ha_tx_broadcasts": ("transactions sent", ("supplier", "status")),
    "ha_tx_insufficient_balance_errors": ("fees that could not be paid", ("supplier",)),
    "ha_keys_reloads": ("changes of the key set", ()),
    "ha_keys_load_errors": ("key sources that could not be read", ()),
    "ha_cache_hits": ("cache hits", ("cache_type", "level")),
    "ha_cache_misses": ("cache misses", ("cache_type", "level")),
    "ha_cache_orchestrator_refreshes": ("refreshes of the caches relayers share", ("result",)),
    "ha_cache_block_events_published": ("blocks told to everyone", ()),
}
_GAUGES: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "ha_miner_current_block_height": ("last block", (), "max"),
    "ha_miner_current_block_interval_seconds": ("time between the last two blocks", (), "mostrecent"),
    "ha_miner_configured_block_time_seconds": ("expected time between blocks", (), "mostrecent"),
    "ha_miner_blocks_stalled": ("1 while no node gives blocks", (), "livemax"),
    "ha_miner_consumer_lag": ("entries waiting in the stream", ("supplier",), "mostrecent"),
    "ha_miner_supplier_manager_suppliers_active": ("suppliers this node owns", (), "livesum"),
    "ha_miner_supplier_claimed_count": ("suppliers this node owns", (), "livesum"),
    "ha_miner_supplier_fair_share": ("suppliers this node should own", (), "livemax"),
    "ha_miner_leader_status": ("1 while this process is the beat", (), "livesum"),
    "ha_miner_supplier_balance_upokt": ("operator balance", ("supplier",), "mostrecent"),
    "ha_miner_supplier_stake_upokt": ("stake", ("supplier",), "mostrecent"),
    "ha_miner_supplier_balance_health_status": (
        "0 critical, 1 warning, 2 healthy",
        ("supplier",),
        "mostrecent",
    ),
    "ha_miner_supplier_stake_health_ratio": ("penalties the stake survives", ("supplier",), "mostrecent"),
    "ha_keys_supplier_keys_active": ("keys held", (), "livemax"),
    "ha_miner_redis_used_memory_bytes": ("of the fullest master", (), "mostrecent"),
    "ha_miner_redis_max_memory_bytes": ("of the fullest master, 0 without a limit", (), "mostrecent"),
}
_HISTOGRAMS: Final[dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "ha_miner_claim_submission_latency_blocks": (
        "from window open to the claim's sight",
        ("supplier",),
        BLOCKS,
    ),
    "ha_miner_proof_submission_latency_blocks": (
        "from window open to the proof's sight",
        ("supplier",),
        BLOCKS,
    ),
    "ha_miner_settlement_latency_blocks": (
        "from session end to settlement",
        ("supplier",),
        SETTLEMENT_BLOCKS,
    ),
    "ha_tx_broadcast_latency_seconds": ("a node's answer to a transaction", ("supplier",), FINE_S),
    "ha_cache_orchestrator_refresh_duration_seconds": ("one such refresh", (), REFRESH_S),
    "ha_miner_task_seconds": ("one task", ("task",), FINE_S),
}


def described() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield (name as it is scraped, type, labels, meaning) of every metric; the source of the documentation."""
    for kind, table, ending in (
        ("counter", _COUNTERS, "_total"),
        ("gauge", _GAUGES, ""),
        ("histogram", _HISTOGRAMS, ""),
    ):
        for name, (text, labels, *_) in table.items():
            yield f"{name}{ending}", kind, labels, text


class MinerMetrics:
    """All metrics of a miner process; names are those of the tables above, counters without `_total`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._families: dict[str, Any] = {}
        for name, (text, labels) in _COUNTERS.items():
            self._families[name] = Counter(name, text, labels, registry=registry)
        for name, (text, labels, mode) in _GAUGES.items():
            self._families[name] = Gauge(name, text, labels, multiprocess_mode=mode, registry=registry)  # type: ignore[arg-type]
        for name, (text, labels, buckets) in _HISTOGRAMS.items():
            self._families[name] = Histogram(name, text, labels, buckets=buckets, registry=registry)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        if by > 0:
            self._child(name, labels).inc(by)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add an observation to a histogram."""
        self._child(name, labels).observe(value)

    def count_cache(self, entity: str, event: str, level: str) -> None:
        """The hook of `EntityCache`."""
        self.count("ha_cache_hits" if event == "hit" else "ha_cache_misses", entity, level)

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:
        family = self._families[name]
        return family.labels(*labels) if labels else family
