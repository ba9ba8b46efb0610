"""Relayers' shared caches follow the chain, and who keeps something of his own is told (spec/relayer.md §5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mining_tasks.cache_refresh import CacheRefresh
from mining_tasks.metrics import MinerMetrics
from pocket_chain.facts import ChainFacts
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.coin import coin_of
from pocket_protocol.pb.pocket.application_pb2 import Application
from relay_store.connection import Store
from relay_store.entity_cache import invalidate_by_message
from relay_store.keys import Keys
from relay_store.known_entities import APPLICATIONS, SERVICES, KnownEntities
from relay_store.subscription import Subscription
from relayer_web.shared_facts import shared_facts
from tests.integration.stage import wait_until
from tests.unit.relayer_web.relay_world import PARAMS, SERVICE, MemoryChain, address, application

KEYS = Keys()
APP = address("app")


class Mining:
    """What the refresh works with, and what it told."""

    def __init__(self, store: Store) -> None:
        self.store, self.chain, self.registry = store, MemoryChain(), CollectorRegistry()
        self.metrics = MinerMetrics(self.registry)
        self.told: list[tuple[str, bytes]] = []
        KnownEntities(store, KEYS, APPLICATIONS).note([APP])
        KnownEntities(store, KEYS, SERVICES).note([SERVICE])

    def refresh(self, **options: Any) -> bool:
        return CacheRefresh(self.store, KEYS, self.chain, self.metrics, **options).run()

    def count(self, result: str) -> float:
        name = "ha_cache_orchestrator_refreshes_total"
        return self.registry.get_sample_value(name, {"result": result}) or 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear every invalidation, as a relayer does."""
        self.told.clear()
        kinds = ("application", "service", "shared_params")

        def hears(kind: str) -> Callable[[bytes], None]:
            return lambda payload: self.told.append((kind, payload))

        handlers = {KEYS.invalidation_channel(kind): hears(kind) for kind in kinds}
        subscription = Subscription(self.store.client, handlers)
        subscription.start(wait_s=5.0)
        try:
            yield
            mark = KEYS.invalidation_channel("service")
            self.store.client.publish(mark, b"end")  # messages come in their order
            wait_until(lambda: ("service", b"end") in self.told, "all messages")
            self.told.remove(("service", b"end"))
        finally:
            subscription.stop()


@pytest.fixture
def mining(store: Store) -> Mining:
    return Mining(store)


def test_relayers_find_everything_known_without_asking_the_chain(mining: Mining) -> None:
    """reference: TestOrchestrator_BlockEvent_RefreshesDiscoveredService_FullChain; the formats are the reference's."""
    assert mining.refresh()
    asked = len(mining.chain.asked)
    facts = ChainFacts(mining.chain, shared_facts(mining.store, KEYS, block_time_s=lambda: 2.0))
    assert facts.applications.get(APP) == mining.chain.apps[APP]
    assert facts.services.get(SERVICE).compute_units_per_relay == mining.chain.units
    assert facts.shared_params.get(None) == PARAMS
    assert len(mining.chain.asked) == asked
    for key in (KEYS.application(APP), KEYS.service(SERVICE), KEYS.shared_params()):
        assert 0 < mining.store.client.pttl(key) <= 300_000
    assert Application.FromString(mining.store.client.get(KEYS.application(APP))) == mining.chain.apps[APP]


def test_what_nobody_has_met_is_not_asked_for(mining: Mining) -> None:
    """reference: TestOrchestrator_KnownSetIsLoadBearing_NegativeControl."""
    mining.store.client.delete(KEYS.known(SERVICES))
    mining.refresh()
    assert not any(question[0] == "service" for question in mining.chain.asked)


def test_applications_of_the_configuration_are_known_from_the_start(mining: Mining) -> None:
    mining.chain.apps[address("lone")] = application("lone", [])
    mining.refresh(named=[address("lone")])
    assert mining.store.client.exists(KEYS.application(address("lone")))


def test_changes_are_told_and_parameters_always(mining: Mining) -> None:
    """A relayer of the reference keeps parameters until it is told: one lost message must not last."""
    mining.refresh()
    with mining.listening():
        mining.refresh()
    assert mining.told == [("shared_params", b"{}")]
    mining.chain.apps[APP].stake.CopyFrom(coin_of(5))
    mining.chain.units += 1
    with mining.listening():
        mining.refresh()
    assert sorted(mining.told) == [
        ("application", b'{"address": "%b"}' % APP.encode()),
        ("service", b'{"service_id": "%b"}' % SERVICE.encode()),
        ("shared_params", b"{}"),
    ]


def test_changed_parameters_reach_a_relayer_that_has_its_own(mining: Mining) -> None:
    facts = ChainFacts(mining.chain, shared_facts(mining.store, KEYS, block_time_s=lambda: 2.0))
    assert facts.shared_params.get(None) == PARAMS
    assert facts.applications.get(APP).stake.amount == "100000000"
    changed = replace(PARAMS, grace_period_end_offset_blocks=0)
    mining.chain.params = changed
    mining.chain.apps[APP] = application("app", ["gateway"], stake_upokt=5)
    with mining.listening():
        mining.refresh()
    assert facts.shared_params.get(None) == PARAMS  # the message decides
    for kind, payload in mining.told:
        if kind == "shared_params":
            facts.shared_params.clear()
        elif kind == "application":
            invalidate_by_message(payload, "address", facts.applications.invalidate, facts.applications.clear)
    asked = len(mining.chain.asked)
    assert facts.shared_params.get(None) == changed
    assert facts.applications.get(APP).stake.amount == "5"
    assert len(mining.chain.asked) == asked


def test_what_is_no_more_is_forgotten_by_everyone(mining: Mining) -> None:
    """The reference keeps it for ever."""
    mining.refresh()
    del mining.chain.apps[APP]
    with mining.listening():
        assert mining.refresh()
    assert ("application", b'{"address": "%b"}' % APP.encode()) in mining.told
    assert not mining.store.client.exists(KEYS.application(APP))
    assert KnownEntities(mining.store, KEYS, APPLICATIONS).read() == []


def test_a_node_that_is_away_changes_nothing_and_is_not_waited_for(mining: Mining) -> None:
    mining.refresh()
    before = mining.store.client.get(KEYS.application(APP))
    KnownEntities(mining.store, KEYS, APPLICATIONS).note([f"pokt1{number}" for number in range(50)])
    mining.chain.asked.clear()
    mining.chain.error = NodeUnavailable(text="away")
    with mining.listening():
        assert not mining.refresh()
    assert mining.told == []
    assert mining.store.client.get(KEYS.application(APP)) == before
    assert len(mining.chain.asked) == 1
    assert (mining.count("success"), mining.count("failure")) == (1, 1)


def test_a_refresh_has_an_end(mining: Mining) -> None:
    """However many are known; which ones are left out is drawn each time."""
    names = [address(f"app{number}") for number in range(20)]
    for number in range(20):
        mining.chain.apps[address(f"app{number}")] = application(f"app{number}", [])
    KnownEntities(mining.store, KEYS, APPLICATIONS).note(names)
    moments = iter([0.0] * 12 + [100.0] * 100)
    assert not mining.refresh(limit_s=20.0, monotonic=lambda: next(moments))
    assert 0 < len([question for question in mining.chain.asked if question[0] == "application"]) < 20
