"""docs/metrics.md: every metric, from the tables that make them."""

from __future__ import annotations

from collections.abc import Iterable

from mining_tasks.metrics import described as miner_metrics
from relay_cli.pages.markdown import code, table
from relayer_web.metrics import described as relayer_metrics

TEXT = """# Metrics

Written from the code by `python -m relay_cli.pages`.

Relayer and miner each serve Prometheus' text format at `metrics.addr` + `/metrics`, from a process of its own that adds
up what all their processes wrote. Names are those of the reference where the thing exists in both. What the relayer
shows is up to a second old. Histograms have `_bucket`, `_sum` and `_count`. Labels cannot grow with what senders write: a
service that is not configured is `unknown`, a transport nobody knows `other`. What to alert on: [operations](operations.md).
"""


ABSENT = {
    "ha_relayer_streaming_chunks_forwarded_total": "every batch of a stream is signed; `ha_relayer_streaming_batches_signed_total`",
    "ha_cache_get_latency_seconds": "the level that takes time is the node: `ha_cache_chain_query_latency_seconds`",
    "ha_cache_session_rewardable_checks_total": "no session is marked; what is mined follows from heights",
    "ha_cache_sessions_marked_non_rewardable_total": "the same",
    "ha_cache_block_events_dropped_total": "no queue lies between a block and who needs it",
    "ha_cache_orchestrator_leader_status": "the beat does it: `ha_miner_leader_status`",
    "ha_transport_redis_consumed_total": "`ha_miner_relays_consumed_from_stream_total`",
    "ha_transport_redis_consume_errors_total": "`ha_miner_task_failures_total` of the task `accumulate`",
    "ha_transport_redis_acked_total": "`ha_miner_messages_acknowledged_total`",
    "ha_transport_redis_claimed_total": "pending entries are read again by the supplier's owner",
    "ha_transport_redis_deserialization_errors_total": "`ha_miner_relays_rejected_total`, reason `dead`",
    "ha_transport_redis_pending_messages": "`ha_miner_consumer_lag`",
    "ha_transport_redis_end_to_end_latency_seconds": "`ha_miner_consumer_lag`, and `ha_miner_stale_streams_total` from 30 s on",
    "ha_query_cache_hits_total": "there is one cache for each fact: `ha_cache_hits_total`",
    "ha_query_cache_misses_total": "`ha_cache_misses_total`",
    "ha_query_cache_size": "every cache has a fixed bound",
    "ha_runtime_*": "Go's; `process_*` by process, and `python_info`",
    "go_*": "the same",
}


def page() -> str:
    """The whole page."""
    return (
        f"{TEXT}\n## Relayer\n\n{_table(relayer_metrics())}"
        f"\n## Miner\n\n`ha_cache_hits_total` and `ha_cache_misses_total` exist in both.\n\n{_table(miner_metrics())}"
        "\n## Processes\n\nBoth endpoints have `process_cpu_seconds_total`, `process_resident_memory_bytes`, "
        "`process_open_fds` and their like for\neach process behind them (label `pid`), and `python_info`.\n"
        "\n## Of the reference's, not here\n\nOf what its relayer exposes:\n\n"
        + table(("name", "instead"), [(code(name), reason) for name, reason in ABSENT.items()])
    )


def _table(metrics: Iterable[tuple[str, str, tuple[str, ...], str]]) -> str:
    rows = [
        (code(name), kind, ", ".join(code(label) for label in labels), meaning)
        for name, kind, labels, meaning in metrics
    ]
    return table(("name", "type", "labels", "meaning"), rows)
