"""The caches relayers share, kept fresh: what the reference's cache orchestrator does (spec/relayer.md §5.5).

Sent by the beat that ticks, every `extensions.cache_refresh_blocks`. Each known application and service, and the shared
parameters, are read from the chain and written where relayers of both kinds look first. Who has to look again is told:
of parameters each time, since relayers of the reference keep them until they are told; of others when they changed. A
message that is lost costs an application or a service the minute a relayer keeps it, and parameters until the next one.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection
from typing import Any, Final

import structlog

from mining_tasks.metrics import MinerMetrics
from pocket_chain.facts import ChainReads
from pocket_protocol.errors import Malformed, Refused, Unavailable
from pocket_protocol.shared_params import SharedParams
from relay_store.connection import Store
from relay_store.entity_cache import SharedLevel
from relay_store.keys import Keys
from relay_store.known_entities import APPLICATIONS, SERVICES, KnownEntities
from relay_store.shared_entities import application_level, service_level, shared_params_level
from relay_store.store_errors import store_errors

FAILURES_IN_A_ROW: Final = 3  # then the node is taken to be away: asking on would only wait for it

log = structlog.get_logger("caches")


class _Entity:
    """One kind of entity: where it stands, how it is asked for, who is told."""

    def __init__(
        self,
        level: SharedLevel[str, Any],
        load: Callable[[str], Any],
        known: KnownEntities,
        channel: str,
        field: str,
    ) -> None:
        self.level, self.load, self.known, self.channel, self.field = level, load, known, channel, field


class CacheRefresh:
    """One refresh. `named` applications are those of the configuration; it ends within `limit_s`, or soon after."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        chain: ChainReads,
        metrics: MinerMetrics,
        *,
        named: Collection[str] = (),
        limit_s: float = 20.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = store.client
        self._keys = keys
        self._chain = chain
        self._metrics = metrics
        self._named = tuple(named)
        self._limit_s = limit_s
        self._monotonic = monotonic
        self._params = shared_params_level(keys)
        self._applications = _Entity(
            application_level(keys),
            chain.application,
            KnownEntities(store, keys, APPLICATIONS),
            keys.invalidation_channel("application"),
            "address",
        )
        self._services = _Entity(
            service_level(keys),
            chain.service,
            KnownEntities(store, keys, SERVICES),
            keys.invalidation_channel("service"),
            "service_id",
        )

    def run(self) -> bool:
        """Refresh everything; False when something could not be asked. Raises `StoreUnavailable`."""
        started = self._monotonic()
        failures = 0 if self._refresh_params() else FAILURES_IN_A_ROW
        done = total = 0
        for entity, named in ((self._applications, self._named), (self._services, ())):
            names = {*named, *entity.known.read()}
            total += len(names)
            # not always the same are left out when there are too many
            for name in random.sample(sorted(names), len(names)):
                if failures >= FAILURES_IN_A_ROW or self._monotonic() - started > self._limit_s:
                    break
                refreshed = self._refresh(entity, name)
                failures = 0 if refreshed else failures + 1
                done += refreshed
        took_s = self._monotonic() - started
        is_whole = done == total and failures == 0
        self._metrics.count("ha_cache_orchestrator_refreshes", "success" if is_whole else "failure")
        self._metrics.observe("ha_cache_orchestrator_refresh_duration_seconds", took_s)
        if not is_whole:
            log.warning("caches not refreshed in full", refreshed=done, known=total, seconds=round(took_s, 1))
        return is_whole

    def _refresh_params(self) -> bool:
        try:
            params = SharedParams.from_proto(self._chain.shared_params())
        except (Unavailable, Malformed):
            return False
        self._write(self._params, None, params)
        self._tell(self._keys.invalidation_channel("shared_params"), {})
        return True

    def _refresh(self, entity: _Entity, name: str) -> bool:
        """Bring one entity up to date; whether the chain answered."""
        try:
            value = entity.load(name)
        except Refused:  # unstaked or removed
            entity.known.forget(name)
            with store_errors():
                if self._client.delete(entity.level.key(name)):
                    self._tell(entity.channel, {entity.field: name})
            return True
        except (Unavailable, Malformed):
            return False
        if self._write(entity.level, name, value):
            self._tell(entity.channel, {entity.field: name})
        return True

    def _write(self, level: SharedLevel[Any, Any], name: Any, value: Any) -> bool:
        """Write a value; whether it is another than the one that stood there."""
        encoded = level.encode(value)
        with store_errors():
            before = self._client.set(
                level.key(name), encoded, px=int(level.ttl_s(name, value) * 1000), get=True
            )
        return before != encoded

    def _tell(self, channel: str, message: dict[str, str]) -> None:
        with store_errors():
            self._client.publish(channel, json.dumps(message))
