"""What the store's channels tell a front end: blocks, and what is cached and has changed (spec/relayer.md §5.3, §5.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from pocket_chain.facts import ChainFacts
from relay_store.block_feed import BlockFeed
from relay_store.entity_cache import invalidate_by_message
from relay_store.keys import Keys
from relay_store.meter import RelayMeter
from relay_store.registry import SupplierRegistry
from relay_store.service_factor import ServiceFactors
from relay_store.subscription import Handler, Subscription
from relayer_web.metrics import RelayerMetrics

log = structlog.get_logger("relayer")


class Hearing:
    """Hands each message to who has to know it. Messages that were missed cost a look at everything they could be about."""

    def __init__(
        self,
        client: Any,
        keys: Keys,
        metrics: RelayerMetrics,
        *,
        feed: BlockFeed,
        facts: ChainFacts,
        registry: SupplierRegistry,
        factors: ServiceFactors,
        meter: RelayMeter,
        on_block: Callable[[], None] = lambda: None,
    ) -> None:
        self._keys, self._metrics = keys, metrics
        self._feed, self._facts, self._registry = feed, facts, registry
        self._factors, self._meter = factors, meter
        self._on_block = on_block
        self._was_subscribed = False
        self._subscription = Subscription(
            client,
            self._handlers(),
            on_confirmed=self._subscribed,
            on_lost=lambda: metrics.count("ha_transport_redis_reconnection_attempts", "pubsub"),
            on_error=lambda channel, error: log.warning(
                "message not understood", channel=channel, error=str(error)
            ),
        )

    def start(self) -> None:
        """Read the height and subscribe. Does not wait for a store that is away."""
        self._feed.read()
        self._subscription.start(wait_s=1.0)

    def stop(self) -> None:
        self._subscription.stop()

    def _handlers(self) -> dict[str, Handler]:
        keys, facts = self._keys, self._facts
        channel = keys.invalidation_channel
        return {
            keys.blocks_channel(): self._hear_block,
            channel("application"): self._keyed(facts.applications, "address"),
            channel("account"): self._keyed(facts.accounts, "address"),
            channel("service"): self._keyed(facts.services, "service_id"),
            channel("supplier"): self._counted("supplier", self._hear_supplier),
            channel("shared_params"): self._counted("shared_params", lambda _: facts.shared_params.clear()),
            channel("service_factor"): self._counted("service_factor", self._factors.hear),
            keys.params_channel(): self._counted(
                "shared_params_at", lambda payload: facts.shared_params_at.invalidate(int(payload))
            ),
            keys.meter_cleanup_channel(): self._meter.hear_cleanup,
        }

    def _counted(self, kind: str, handle: Handler) -> Handler:
        def counting(payload: bytes) -> None:
            self._metrics.count("ha_cache_invalidations", kind, "pubsub")
            handle(payload)

        return counting

    def _keyed(self, cache: Any, field_name: str) -> Handler:
        return self._counted(
            cache.name,
            lambda payload: invalidate_by_message(payload, field_name, cache.invalidate, cache.clear),
        )

    def _hear_supplier(self, payload: bytes) -> None:
        registry = self._registry
        invalidate_by_message(payload, "operator_address", registry.forget, registry.forget_all)

    def _hear_block(self, payload: bytes) -> None:
        self._metrics.count("ha_cache_block_events_received")
        self._feed.hear(payload)
        self._on_block()

    def _subscribed(self) -> None:
        """Messages may have been missed: read the height again, and look up again what messages would have changed."""
        if self._was_subscribed:
            self._metrics.count("ha_transport_redis_reconnection_success", "pubsub")
        self._was_subscribed = True
        self._feed.read()
        self._registry.forget_all()
        self._factors.forget_all()
        for cache in (self._facts.applications, self._facts.services, self._facts.shared_params):
            cache.clear()
