"""The relayer's metrics (spec/relayer.md §7.1), with labels that cannot grow with what senders write.

`service_id` is a configured service or `unknown`; `rpc_type` a known transport, `unknown` or `other`; reasons are
labels of the error tree.

A relay has about forty events, and each costs more than a microsecond in the client library. So events are only
noted on the relay path and put together once a second: a scrape sees what happened up to a second ago.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Counts
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any, Final, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

T = TypeVar("T")

FINE_S: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZE_BYTES: Final = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
TRANSPORTS: Final = frozenset({"jsonrpc", "rest", "websocket", "grpc", "cometbft"})
UNKNOWN: Final = "unknown"
OTHER: Final = "other"
CACHE_EVENTS: Final = {
    "hit": "ha_cache_hits",
    "miss": "ha_cache_misses",
    "lock": "ha_cache_lock_acquisitions",
}

_COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "relays_received": ("relays entering", ("service_id", "rpc_type")),
    "relays_served": ("relays answered with a signed response", ("service_id", "rpc_type", "status_code")),
    "relays_rejected": ("relays refused", ("service_id", "rpc_type", "reason")),
    "relays_published": ("relays appended to a stream", ("service_id", "supplier")),
    "relays_served_optimistically": ("no supplier state, key held", ("service_id", "rpc_type")),
    "undeclared_transport_served": ("transport is not in the stake", ("service_id", "rpc_type")),
    "backend_missing": ("no pool for the transport", ("service_id", "rpc_type")),
    "fast_fails": ("refused because no backend is healthy", ("service_id",)),
    "backend_requests": ("relays sent to a backend", ("service_id", "outcome", "status_code")),
    "validation_failures": ("relays that did not verify", ("service_id", "reason")),
    "relays_mined": ("relays published", ("service_id",)),
    "relays_skipped_difficulty": ("relays below the mining difficulty", ("service_id",)),
    "relays_after_window": ("relays answered too late to be claimed", ("service_id",)),
    "relay_meter_consumptions": ("meter decisions", ("service_id", "result")),
    "relay_meter_redis_errors": ("meter operations that failed", ("operation",)),
    "publish_repeats": ("appends repeated after an unknown outcome", ()),
    "relays_unanswered": ("served relays whose answer could not be delivered", ("service_id",)),
    "relays_lost": (
        "relays executed by a backend and not acknowledged by the store",
        ("service_id", "reason"),
    ),
    "relays_dropped": (
        "relays answered before they were verified, and then neither charged nor mined",
        ("service_id", "application", "reason"),
    ),
    "optimistic_fallbacks": ("relays of optimistic services verified first", ("service_id", "reason")),
    "ticket_errors": ("accumulation tasks that could not be announced", ()),
    "streaming_relays_served": ("streams that were mined", ("service_id",)),
    "streaming_batches_signed": ("batches of streams", ()),
    "streaming_bytes_forwarded": ("bytes of streamed lines", ()),
    "websocket_connections": ("bridges opened", ("service_id",)),
    "websocket_handshakes": (
        "handshakes, by version and what their signature is worth",
        ("service_id", "version", "result"),
    ),
    "websocket_refusals": ("handshakes refused", ("service_id", "reason")),
    "websocket_messages_forwarded": ("messages, by direction", ("service_id", "direction")),
    "websocket_relays_emitted": ("messages of backends answered as relays", ("service_id",)),
    "grpc_relays": ("relays over gRPC and gRPC-Web", ("service_id",)),
    "grpc_relays_published": ("of them appended to a stream", ("service_id",)),
    "grpc_relay_errors": ("of them not answered with the backend's answer", ("service_id", "reason")),
    "grpc_web_requests": ("calls over gRPC-Web", ("service_id",)),
    "inbound_requests_by_proto": ("relays by protocol", ("proto",)),
    "trace_spans": ("spans for a collector of traces, by what became of them", ("result",)),
    "stale_heights": ("times the node was asked because the block feed was quiet", ()),
    "backend_conn_reused": ("connections taken", ("service_id", "reused")),
    "simulated_relays": ("simulated relays", ("transport", "service", "supplier", "result")),
    "health_check_successes": ("good probes", ("service_id", "endpoint")),
    "health_check_failures": ("failed probes", ("service_id", "endpoint")),
}
_HISTOGRAMS: Final[dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "relay_latency_seconds": ("end to end", ("service_id", "rpc_type"), FINE_S),
    "relay_pre_backend_seconds": ("before the backend", ("service_id", "rpc_type"), FINE_S),
    "relay_post_backend_seconds": ("after the backend", ("service_id", "rpc_type"), FINE_S),
    "grpc_relay_latency_seconds": ("relays over gRPC, end to end", ("service_id",), FINE_S),
    "backend_latency_seconds": ("the backend", ("service_id", "outcome"), FINE_S),
    "validation_latency_seconds": ("verification", ("service_id", "mode"), FINE_S),
    "relay_meter_latency_seconds": ("reservation", ("service_id", "mode"), FINE_S),
    "request_body_size_bytes": ("request bodies", ("service_id", "rpc_type"), SIZE_BYTES),
    "response_body_size_bytes": ("response bodies", ("service_id", "rpc_type"), SIZE_BYTES),
    "simulated_relay_duration_seconds": ("simulated relays, end to end", ("transport", "service"), FINE_S),
    "http_pool_wait_seconds": ("wait for a connection", ("service_id",), FINE_S),
    "backend_dial_seconds": ("new connections", ("service_id",), FINE_S),
}
_GAUGES: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "current_block_height": ("last block", (), "livemostrecent"),
    "height_stale": ("1 while no blocks are heard from the store", (), "livemostrecent"),
    "active_connections": ("relays being served, and open WebSockets", (), "livesum"),
    "relay_meter_sessions_active": (
        "metered sessions that have not ended",
        ("supplier", "service_id"),
        "livemax",
    ),
    "redis_used_memory_bytes": ("of the fullest master", (), "livemostrecent"),
    "redis_max_memory_bytes": ("of the fullest master, 0 without a limit", (), "livemostrecent"),
    "admission_open": ("1 while relays are admitted", (), "livemostrecent"),
    "optimistic_queue_relays": ("relays answered and not yet verified", (), "livesum"),
    "http_pool_in_flight": ("requests out at backends", ("service_id",), "livesum"),
    "websocket_connections_active": ("bridges open", ("service_id",), "livesum"),
    "http_pool_max_conns": ("connections allowed per host", ("service_id",), "livemax"),
    "backend_health_status": ("1 healthy, 0 not", ("service_id", "endpoint"), "livemin"),
}
_SHARED_GAUGES: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "ha_cache_current_block_height": ("last block", (), "livemostrecent"),
    "ha_keys_supplier_keys_active": ("suppliers this process signs for", (), "livemax"),
    "ha_query_relay_mining_difficulty_target_bits": (
        "leading zero bits of the mining difficulty",
        ("service_id",),
        "livemostrecent",
    ),
}
_SHARED_COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "ha_cache_hits": ("cache hits", ("cache_type", "level")),
    "ha_cache_misses": ("cache misses", ("cache_type", "level")),
    "ha_cache_invalidations": ("cache entries dropped because of a message", ("cache_type", "source")),
    "ha_cache_chain_queries": ("questions to the node", ("query_type",)),
    "ha_cache_chain_query_errors": ("questions the node did not answer", ("query_type",)),
    "ha_cache_block_events_received": ("block messages heard", ()),
    "ha_cache_lock_acquisitions": (
        "locks of look-ups shared by processes",
        ("cache_type", "result"),
    ),
    "ha_transport_redis_reconnection_attempts": ("subscriptions that were lost", ("component",)),
    "ha_transport_redis_reconnection_success": ("subscriptions that are back", ("component",)),
    "ha_keys_reloads": ("changes of the key set", ()),
    "ha_keys_load_errors": ("key sources that could not be read", ()),
    "ha_keys_changes": ("supplier keys that came or went", ("type",)),
    "ha_cache_supplier_contaminated": ("supplier states that count as absent", ("source",)),
    "ha_transport_redis_published": ("entries appended", ("supplier_addr", "service_id")),
    "ha_transport_redis_publish_errors": ("entries not appended", ("supplier_addr", "service_id")),
}
_SHARED_HISTOGRAMS: Final[dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "ha_cache_chain_query_latency_seconds": ("the node's answers", ("query_type",), FINE_S),
}


def described() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield (name as it is scraped, type, labels, meaning) of every metric; the source of the documentation."""
    for kind, table, beginning, ending in (
        ("counter", _COUNTERS, "ha_relayer_", "_total"),
        ("counter", _SHARED_COUNTERS, "", "_total"),
        ("gauge", _GAUGES, "ha_relayer_", ""),
        ("gauge", _SHARED_GAUGES, "", ""),
        ("histogram", _HISTOGRAMS, "ha_relayer_", ""),
        ("histogram", _SHARED_HISTOGRAMS, "", ""),
    ):
        for name, (text, labels, *_) in table.items():
            yield f"{beginning}{name}{ending}", kind, labels, text


class RelayerMetrics:
    """All metrics of the relay path. `services` are the configured ones."""

    def __init__(self, services: Collection[str], registry: CollectorRegistry = REGISTRY) -> None:
        self._services = frozenset(services)
        self._families: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._ones: deque[tuple[str, ...]] = deque()  # of counters: what happened once each
        self._values: deque[tuple[tuple[str, ...], float]] = deque()
        self._flushing = threading.Lock()
        for name, (text, labels) in _COUNTERS.items():
            self._families[name] = Counter(f"ha_relayer_{name}", text, labels, registry=registry)
        for name, (text, labels, buckets) in _HISTOGRAMS.items():
            self._families[name] = Histogram(
                f"ha_relayer_{name}", text, labels, buckets=buckets, registry=registry
            )
        for table, beginning in ((_GAUGES, "ha_relayer_"), (_SHARED_GAUGES, "")):
            for name, (text, labels, mode) in table.items():
                self._families[name] = Gauge(
                    f"{beginning}{name}",
                    text,
                    labels,
                    registry=registry,
                    multiprocess_mode=mode,  # type: ignore[arg-type]
                )
        for name, (text, labels, buckets) in _SHARED_HISTOGRAMS.items():
            self._families[name] = Histogram(name, text, labels, buckets=buckets, registry=registry)
        for name, (text, labels) in _SHARED_COUNTERS.items():
            self._families[name] = Counter(name, text, labels, registry=registry)

    def know(self, services: Collection[str]) -> None:
        """Have these services be the configured ones."""
        self._services = frozenset(services)

    def service(self, service_id: str) -> str:
        """The label of a service id that may come from a sender."""
        return service_id if service_id in self._services else UNKNOWN

    def transport(self, transport: str) -> str:
        """The label of a transport that may come from a sender."""
        if transport in TRANSPORTS:
            return transport
        return OTHER if transport else UNKNOWN

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter, or to a gauge (`by` may be below 0 there)."""
        if by == 1:
            self._ones.append((name, *labels))
        else:
            self._values.append(((name, *labels), by))

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add an observation to a histogram."""
        self._values.append(((name, *labels), value))

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge, at once."""
        self._child((name, *labels)).set(value)

    def count_cache(self, entity: str, event: str, level: str) -> None:
        """Hook of the entity caches."""
        self._ones.append((CACHE_EVENTS[event], entity, level))

    def flush(self) -> None:
        """Put what was noted into the library's metrics."""
        with self._flushing:
            for key, number in Counts(_drained(self._ones)).items():
                self._child(key).inc(number)
            noted: dict[tuple[str, ...], list[float]] = {}
            for key, value in _drained(self._values):
                noted.setdefault(key, []).append(value)
            for key, values in noted.items():
                if key[0] in _HISTOGRAMS or key[0] in _SHARED_HISTOGRAMS:
                    _observe_all(self._child(key), values)
                else:
                    self._child(key).inc(sum(values))

    def _child(self, key: tuple[str, ...]) -> Any:
        child = self._children.get(key)
        if child is None:
            name, *labels = key
            family = self._families[name]
            child = self._children[key] = family.labels(*labels) if labels else family
        return child


def _drained(noted: deque[T]) -> list[T]:
    """Take out what is in now; others go on adding."""
    return [noted.popleft() for _ in range(len(noted))]


def _observe_all(histogram: Any, values: list[float]) -> None:
    """`Histogram.observe` for many values: the library writes to its file once a bucket instead of twice a value."""
    bounds = histogram._upper_bounds
    for bucket, count in Counts(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(values))
