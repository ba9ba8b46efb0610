"""A front-end process wired from its configuration.

Done in each worker process after the fork: connections, threads and the curve's blinding are never shared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

from pocket_chain.facts import ChainFacts
from pocket_protocol.errors import PocketError, Unavailable
from relay_store.block_feed import BlockFeed
from relay_store.connection import Store, connect
from relay_store.group_commit import GroupCommit
from relay_store.keys import Keys
from relay_store.known_entities import APPLICATIONS, KnownEntities
from relay_store.meter import RelayMeter
from relay_store.namespace import Namespace
from relay_store.probe import MemoryUse
from relay_store.registry import SupplierRegistry
from relay_store.service_factor import ServiceFactors
from relay_store.simulation_replay import SimulationReplays
from relayer_web.admission import Admission, Relay, ServedService
from relayer_web.backends.contract import Backends
from relayer_web.config import RelayerConfig
from relayer_web.counted_chain import CountedChain
from relayer_web.hearing import Hearing
from relayer_web.height_alarm import HEARD, HeightAlarm
from relayer_web.key_watch import KeyWatch
from relayer_web.metering import Metering
from relayer_web.metrics import RelayerMetrics
from relayer_web.mining import Miner
from relayer_web.outside import Outside, outside_of
from relayer_web.position import PositionSource
from relayer_web.publisher import RelayPublisher, TicketFlusher
from relayer_web.responses import Compression, ResponseSigner
from relayer_web.rollover import Rollover
from relayer_web.runtime import DEFAULT_MAX_RESPONSE_BYTES, Runtime
from relayer_web.served_first import Distrust, Owed, ServedFirst, drop_owed, settle_owed
from relayer_web.settlement_queue import QueueLimits, SettlementQueue
from relayer_web.shared_facts import shared_facts
from relayer_web.simulation import SimulationGate
from relayer_web.store_gate import StoreGate
from relayer_web.throttle import FailureThrottle
from relayer_web.tracing import begins_nothing, tracing_of
from relayer_web.verification import Verifier
from relayer_web.warmup import WarmUp

COMMIT_CONNECTIONS = 4
KEY_POLL_S = 2.0
KNOWN_APPLICATIONS_S = 60.0
METRICS_FLUSH_S = 1.0

log = structlog.get_logger("relayer")


def namespace_of(config: RelayerConfig) -> Namespace:
    """The key prefixes of the configuration."""
    own, meter_keys = config.extensions.namespace, config.relay_meter.redis_key_prefix
    return Namespace(**config.redis.namespace.words(), own=own, meter_keys=meter_keys)


def build_runtime(
    config: RelayerConfig,
    make_backends: Callable[[RelayerMetrics], Backends],
    *,
    outside: Outside | None = None,
    metrics: RelayerMetrics | None = None,
) -> Runtime:
    """Wire one process. Call `start()` on the result before the first relay, `stop()` after the last.

    Raises what `outside_of` raises, and `StoreUnavailable` only for a Cluster none of whose nodes answers.
    """
    return _Wiring(config, outside or outside_of(config), metrics or RelayerMetrics(config.services)).runtime(
        make_backends
    )


class _Wiring:
    """Builds the parts in the order of their dependencies."""

    def __init__(self, config: RelayerConfig, outside: Outside, metrics: RelayerMetrics) -> None:
        self.config, self.outside, self.metrics = config, outside, metrics
        self.keys = Keys(namespace_of(config))
        extensions, redis = config.extensions, config.redis
        wait_s = extensions.store_wait_ms / 1000
        self.store: Store = connect(
            redis.url, pool_size=redis.pool_size, pool_wait_s=redis.pool_timeout_seconds, timeout_s=wait_s
        )
        self.commit_store = connect(
            redis.url, pool_size=COMMIT_CONNECTIONS, timeout_s=wait_s, connect_timeout_s=wait_s
        )
        self.commits = GroupCommit(
            self.commit_store, wait_s=wait_s, max_batch_commands=extensions.group_commit_commands
        )
        metrics.set("admission_open", 1)  # shown from the start; the gate and the alarm tell only changes
        metrics.set("height_stale", 0)
        self.height_alarm = HeightAlarm(lambda state: metrics.set("height_stale", 0 if state == HEARD else 1))
        self.feed = BlockFeed(self.store.client, height_key=self.keys.height())
        self.position = PositionSource(
            self.feed,
            outside.ask_node,
            block_time_s=extensions.block_time_seconds,
            stale_blocks=extensions.height_stale_blocks,
            on_stale=self._height_asked,
        )
        self.facts = ChainFacts(
            CountedChain(outside.chain, metrics),
            shared_facts(
                self.store,
                self.keys,
                block_time_s=self.position.block_time_s,
                limit=extensions.cache_entries,
                count=metrics.count_cache,
            ),
        )
        self.registry = SupplierRegistry(
            self.store.client,
            supplier_key=self.keys.supplier,
            invalidation_channel=self.keys.invalidation_channel("supplier"),
            count=metrics.count_cache,
            count_contaminated=lambda source: metrics.count("ha_cache_supplier_contaminated", source),
        )
        self.factors = ServiceFactors(
            self.store.client, factor_key=self.keys.service_factor, count=metrics.count_cache
        )
        self.meter = RelayMeter(
            self.commits,
            self.keys,
            ttl_s=int(config.relay_meter.cache_ttl_s),
            count_error=lambda operation: metrics.count("relay_meter_redis_errors", operation),
        )
        self.gate = StoreGate(
            self.store,
            limit_ratio=extensions.store_memory_limit_ratio,
            on_change=self._gate_changed,
            on_use=self._memory_seen,
        )
        self.flusher = TicketFlusher(
            self.store,
            self.keys,
            outside.sender,
            interval_s=extensions.ticket_interval_ms / 1000,
            on_error=self._ticket_failed,
        )
        self.rollover = Rollover(self.facts, self._height, self.facts.sessions.known)  # type: ignore[attr-defined]
        self.hearing = Hearing(
            self.store.client,
            self.keys,
            metrics,
            feed=self.feed,
            facts=self.facts,
            registry=self.registry,
            factors=self.factors,
            meter=self.meter,
            on_block=self.rollover.look,
        )
        self.throttle = FailureThrottle()
        self.distrust = Distrust(extensions.optimistic_distrust_seconds)
        self.tracing = tracing_of(extensions.tracing, metrics)
        self.begins = self.tracing.begins if self.tracing else begins_nothing
        self.settlements: SettlementQueue[Owed] = SettlementQueue(
            QueueLimits(extensions.optimistic_queue_relays, extensions.optimistic_queue_mb << 20),
            self.begins("settlement", settle_owed),
            lambda owed, error: drop_owed(owed, error, self.distrust),
        )
        self.key_watch = KeyWatch(outside, metrics)
        self.known_applications = KnownEntities(self.store, self.keys, APPLICATIONS)
        self._active_sessions: dict[tuple[str, str], int] = {}
        self._undeclared: set[tuple[str, str, str]] = set()
        self._stopping = threading.Event()

    def runtime(self, make_backends: Callable[[RelayerMetrics], Backends]) -> Runtime:
        lasting = {
            "signer": ResponseSigner(self.outside.curve, self.key_watch.signing_key),
            "publisher": RelayPublisher(
                self.commits,
                self.keys,
                self.flusher.mark,
                on_repeat=lambda: self.metrics.count("publish_repeats"),
            ),
        }
        runtime = Runtime(
            store_gate=self.gate,
            position=self.position,
            metrics=self.metrics,
            feed=self.feed,
            begins=self.begins,
            start=self.start,
            drain=self.settlements.close,
            stop=self.stop,
            **self._traced(lasting),
            **self._parts(self.config, make_backends(self.metrics)),
        )

        def reconfigure(config: RelayerConfig, backends: Backends) -> None:
            self.metrics.know(config.services)
            for name, part in self._parts(config, backends).items():
                setattr(runtime, name, part)

        runtime.reconfigure = reconfigure
        return runtime

    def _traced(self, parts: dict[str, Any]) -> dict[str, Any]:
        return self.tracing.over(parts) if self.tracing else parts

    def _parts(self, config: RelayerConfig, backends: Backends) -> dict[str, Any]:
        """The parts of a runtime that a change of the configuration replaces; what they share outlives them."""
        metrics, curve, extensions = self.metrics, self.outside.curve, config.extensions
        metering = Metering(
            self.facts,
            self.meter,
            self.factors,
            enabled=config.relay_meter.enabled,
            fails_open=config.relay_meter.fail_behavior == "open",
            on_error=lambda operation: metrics.count("relay_meter_redis_errors", operation),
        )
        parts: dict[str, Any] = {
            "backends": backends,
            "admission": Admission(
                _services(config),
                self.registry,
                holds_key=self.key_watch.holds,
                has_keys=self.key_watch.has_any,
                on_optimistic=lambda relay: metrics.count(
                    "relays_served_optimistically", relay.service_id, metrics.transport(relay.transport)
                ),
                on_undeclared=self._note_undeclared,
            ),
            "verifier": Verifier(
                self.facts,
                curve,
                self.key_watch.holds,
                self.throttle,
                strict_signatures=extensions.strict_signatures,
                max_ring_size=extensions.max_ring_size,
                refuse_placeholder_rings=extensions.refuse_placeholder_rings,
            ),
            "metering": metering,
            "meter_is_sound": lambda service_id: self._meter_is_sound(metering, service_id),
            "miner": Miner(self.facts, margin_blocks=extensions.mining_margin_blocks),
            "simulation": self._simulation(config),
            "served_first": ServedFirst(
                lambda service_id: config.validation_mode(service_id) == "optimistic",
                self.key_watch.holds,
                self.settlements,
                self.distrust,
            ),
            "compression": Compression(
                config.response_compression.enabled, config.response_compression.min_size_bytes
            ),
            "requires_signed_handshakes": extensions.require_signed_handshakes,
            "max_response_bytes": config.largest_body_bytes or DEFAULT_MAX_RESPONSE_BYTES,
        }
        return self._traced(parts)

    def _simulation(self, config: RelayerConfig) -> SimulationGate:
        section = config.simulation
        return SimulationGate(
            section,
            config.services,
            self.key_watch.holds,
            SimulationReplays(self.commits, self.keys, ttl_s=2 * section.freshness_window_seconds),
            self.outside.curve,
            on_result=lambda *labels: self.metrics.count("simulated_relays", *labels),
        )

    def start(self) -> None:
        """Read the height, subscribe, and start the threads. Does not wait for a store that is away."""
        self.hearing.start()
        self.gate.start()
        self.flusher.start()
        self.settlements.start()
        for name, work, every_s in (
            ("key-poll", self.key_watch.poll, KEY_POLL_S),
            ("metrics-flush", self._flush_metrics, METRICS_FLUSH_S),
            ("known-applications", self._note_applications, KNOWN_APPLICATIONS_S),
        ):
            threading.Thread(target=self._repeat, args=(work, every_s), name=name, daemon=True).start()
        if self.config.cache_warmup.enabled:
            threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
            self.rollover.start()

    def stop(self) -> None:
        """End the threads and close the connections."""
        self._stopping.set()
        self.rollover.stop()
        self.settlements.stop()
        self.flusher.stop()
        self.gate.stop()
        self.hearing.stop()
        if self.tracing:
            self.tracing.stop()
        self.metrics.flush()
        self.store.close()
        self.commit_store.close()

    def _warm_up(self) -> None:
        section = self.config.cache_warmup
        applications = [*section.known_applications, *self.known_applications.read()]
        try:
            WarmUp(self.facts, section.warmup_concurrency, section.warmup_timeout_seconds).run(applications)
        except Exception as error:
            log.error("caches not warmed", exc_info=error)

    def _note_applications(self) -> None:
        self.known_applications.note(self.facts.applications.known())

    def _height(self) -> int:
        seen = self.feed.last()
        return seen.position.height if seen else 0

    def _height_asked(self) -> None:
        self.metrics.count("stale_heights")
        self.height_alarm.note_question()

    def _meter_is_sound(self, metering: Metering, service_id: str) -> bool:
        """Whether a relay of now could be priced and charged; nothing is changed (spec/relayer.md §2.10)."""
        try:
            metering.cost_upokt(service_id, self.position.current().height)
            self.store.ping()
        except PocketError:
            return False
        return True

    def _memory_seen(self, use: MemoryUse) -> None:
        self.metrics.set("redis_used_memory_bytes", use.used)
        self.metrics.set("redis_max_memory_bytes", use.limit)

    def _gate_changed(self, closed: Unavailable | None) -> None:
        self.metrics.set("admission_open", 0 if closed else 1)
        if closed is None:
            log.info("admission open")
        else:
            log.error("admission closed", reason=closed.reason, detail=str(closed))

    def _ticket_failed(self, error: Exception) -> None:
        self.metrics.count("ticket_errors")
        log.warning("accumulation could not be announced", error=type(error).__name__)

    def _note_undeclared(self, relay: Relay) -> None:
        transport = self.metrics.transport(relay.transport)
        self.metrics.count("undeclared_transport_served", relay.service_id, transport)
        seen = (relay.supplier, relay.service_id, transport)
        if seen not in self._undeclared:
            self._undeclared.add(seen)
            log.warning(
                "transport is not in the supplier's stake",
                supplier=relay.supplier,
                service_id=relay.service_id,
                transport=transport,
            )

    def _flush_metrics(self) -> None:
        self.height_alarm.look(self.position)
        seen = self.feed.last()
        if seen is not None:
            self.outside.expect_height(seen.position.height)
            self._show_active_sessions(seen.position.height)
            for gauge in ("current_block_height", "ha_cache_current_block_height"):
                self.metrics.set(gauge, seen.position.height)
        self.metrics.set("optimistic_queue_relays", len(self.settlements))
        self.metrics.flush()

    def _show_active_sessions(self, height: int) -> None:
        """Sessions metered here that have not ended; pairs without any fall to 0."""
        now = self.meter.active_sessions(height)
        for pair in {**self._active_sessions, **now}:
            if now.get(pair, 0) != self._active_sessions.get(pair):
                self.metrics.set("relay_meter_sessions_active", now.get(pair, 0), *pair)
        self._active_sessions = now

    def _repeat(self, work: Callable[[], None], every_s: float) -> None:
        while not self._stopping.wait(every_s):
            try:
                work()
            except Exception as error:
                log.error("a background task failed", task=threading.current_thread().name, exc_info=error)


def _services(config: RelayerConfig) -> dict[str, ServedService]:
    return {
        service_id: ServedService(service_id, service.default_backend, config.max_body_bytes(service_id))
        for service_id, service in config.services.items()
    }
