"""What of a relayer's metrics an operator looks at first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay_cli.metrics.view import Reading, Section

RELAYER = "ha_relayer"
MILLISECONDS = 1000.0


def relayer_sections(reading: Reading) -> Iterator[Section]:
    """Yield the tables of a relayer."""
    yield Section("Relayer", [_state(reading)])
    yield Section("Relays", _relays(reading))
    yield Section("Refused, by reason", _refused(reading))
    yield Section("Latency, ms", _latency(reading))
    yield Section("Backends", _backends(reading))
    yield Section("Answers of backends", _answers(reading))
    yield Section("Caches", _caches(reading))
    yield Section("Questions to the node, ms", _node(reading))


def _state(reading: Reading) -> dict[str, Any]:
    admission, stale = reading.number(f"{RELAYER}_admission_open"), reading.number(f"{RELAYER}_height_stale")
    sockets = reading.whole.by(f"{RELAYER}_websocket_connections_active")
    return {
        "height": reading.number(f"{RELAYER}_current_block_height"),
        "blocks": "" if stale == "" else "not heard" if stale else "heard",
        "admission": "" if admission == "" else "open" if admission else "CLOSED",
        "store": reading.memory(RELAYER),
        "keys": reading.number("ha_keys_supplier_keys_active"),
        "at_work": reading.number(f"{RELAYER}_active_connections"),
        "websockets": round(sum(sockets.values())),
        "unverified": reading.number(f"{RELAYER}_optimistic_queue_relays"),
    }


def _relays(reading: Reading) -> list[dict[str, Any]]:
    columns = {
        "received": "relays_received",
        "served": "relays_served",
        "refused": ("relays_rejected", "fast_fails"),
        "mined": "relays_mined",
        "below_difficulty": "relays_skipped_difficulty",
        "after_window": "relays_after_window",
        "unanswered": "relays_unanswered",
        "lost": "relays_lost",
        "dropped": "relays_dropped",
    }
    named = {
        column: [f"{RELAYER}_{name}_total" for name in ((names,) if isinstance(names, str) else names)]
        for column, names in columns.items()
    }
    return reading.counts(named, "service_id", rate_of="served")


def _refused(reading: Reading) -> list[dict[str, Any]]:
    labels = ("service_id", "rpc_type", "reason")
    rows = reading.counts({"relays": f"{RELAYER}_relays_rejected_total"}, *labels, rate_of="relays")
    causes = reading.counts({"relays": f"{RELAYER}_validation_failures_total"}, "service_id", "reason")
    rows += [
        {**row, "rpc_type": "", "reason": "no healthy backend"}
        for row in reading.counts({"relays": f"{RELAYER}_fast_fails_total"}, *labels, rate_of="relays")
    ]
    ordered = sorted(rows, key=lambda row: -row["relays"])
    verified = [
        {
            "service_id": row["service_id"],
            "rpc_type": "",
            "reason": f"did not verify: {row['reason']}",
            "relays": row["relays"],
        }
        for row in causes
    ]
    return [row for row in (*ordered, *verified) if row["relays"]]


def _latency(reading: Reading) -> list[dict[str, Any]]:
    stages = {
        "whole relay": f"{RELAYER}_relay_latency_seconds",
        "before the backend": f"{RELAYER}_relay_pre_backend_seconds",
        "backend": f"{RELAYER}_backend_latency_seconds",
        "after the backend": f"{RELAYER}_relay_post_backend_seconds",
        "verification": f"{RELAYER}_validation_latency_seconds",
        "meter": f"{RELAYER}_relay_meter_latency_seconds",
    }
    return reading.spread(stages, "service_id", scale=MILLISECONDS)


def _backends(reading: Reading) -> list[dict[str, Any]]:
    healthy = reading.whole.by(f"{RELAYER}_backend_health_status", "service_id", "endpoint")
    in_flight = reading.whole.by(f"{RELAYER}_http_pool_in_flight", "service_id")
    return [
        {
            "service_id": service,
            "endpoint": endpoint,
            "healthy": "yes" if value else "NO",
            "in_flight": round(in_flight.get((service,), 0)),
        }
        for (service, endpoint), value in sorted(healthy.items())
    ]


def _answers(reading: Reading) -> list[dict[str, Any]]:
    columns = {"answers": f"{RELAYER}_backend_requests_total"}
    return reading.counts(columns, "service_id", "outcome", "status_code", rate_of="answers")


def _caches(reading: Reading) -> list[dict[str, Any]]:
    """Return how often each kind of entity was asked for, and what of that each level did not have."""
    hits = reading.whole.by("ha_cache_hits_total", "cache_type", "level")
    misses = reading.whole.by("ha_cache_misses_total", "cache_type", "level")
    rows = []
    for kind in sorted({kind for kind, _ in (*hits, *misses)}):
        near, far = hits.get((kind, "l1"), 0.0), misses.get((kind, "l1"), 0.0)
        rows.append(
            {
                "cache": kind,
                "asked": round(near + far),
                "process_had": f"{near / (near + far):.1%}" if near + far else "",
                "store_had": round(hits.get((kind, "l2"), 0) + hits.get((kind, "l2_retry"), 0)),
                "chain_asked": round(misses.get((kind, "l3"), 0) + hits.get((kind, "l3"), 0)),
            }
        )
    return rows


def _node(reading: Reading) -> list[dict[str, Any]]:
    rows = reading.spread(
        {"answer": "ha_cache_chain_query_latency_seconds"}, "query_type", scale=MILLISECONDS
    )
    errors = reading.whole.by("ha_cache_chain_query_errors_total", "query_type")
    return [{**row, "errors": round(errors.get((row["query_type"],), 0))} for row in rows]
