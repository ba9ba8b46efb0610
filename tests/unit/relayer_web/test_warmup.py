"""Caches are warm before the first relay, and nothing that goes wrong there is fatal (spec/relayer.md §5.5)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pocket_chain.node_errors import NodeUnavailable
from relay_store.known_entities import APPLICATIONS, KnownEntities
from relayer_web.config import CacheWarmupSection
from relayer_web.warmup import WarmUp
from tests.unit.relayer_web.relay_world import (
    MakeWorld,
    World,
    address,
    checked_response,
    relay_request,
)
from tests.unit.relayer_web.test_wiring import eventually


@pytest.fixture
def make_world(make_world: MakeWorld) -> MakeWorld:
    return lambda **section: make_world(cache_warmup=CacheWarmupSection(**section))


def asked(world: World) -> set[tuple[Any, ...]]:
    return {question for question in world.chain.asked if question[0] in ("application", "public_key")}


WARM = {
    ("application", address("app")),
    ("public_key", address("app")),
    ("public_key", address("gateway")),
}


def test_named_applications_are_asked_for_with_their_ring_s_accounts(make_world: MakeWorld) -> None:
    world = make_world(known_applications=(address("app"),))
    world.runtime.start()
    eventually(lambda: asked(world) == WARM)
    eventually(lambda: {"shared_params", "session_params"} <= {question[0] for question in world.chain.asked})
    checked_response(world.serve(relay_request()))
    assert asked(world) == WARM


def test_switched_off_nothing_is_asked(make_world: MakeWorld) -> None:
    world = make_world(enabled=False, known_applications=(address("app"),))
    world.runtime.start()
    assert not any(thread.name == "warm-up" for thread in threading.enumerate())


def test_served_applications_are_known_to_the_next_process(make_world: MakeWorld) -> None:
    world = make_world()
    known = KnownEntities(world.store, world.keys, APPLICATIONS)
    known.note([address("app")])
    assert known.read() == [address("app")]
    assert 0 < world.store.client.ttl(world.keys.known("applications")) <= 7 * 86_400
    world.runtime.start()
    eventually(lambda: asked(world) == WARM)


def warm_up(world: World, facts: Any, **changes: Any) -> WarmUp:
    return WarmUp(facts, **{"concurrency": 3, "slow_s": 5.0} | changes)


def facts_of(world: World) -> Any:
    return world.runtime.verifier._facts


def test_an_application_that_is_not_there_does_not_keep_the_others(make_world: MakeWorld) -> None:
    world = make_world()
    work = warm_up(world, facts_of(world))
    work.run(["pokt1nobody", address("app"), address("app")])
    assert (work.failed, work.warmed) == (["pokt1nobody"], [address("app")])


def test_a_node_that_is_away_is_no_reason_to_fail(make_world: MakeWorld) -> None:
    world = make_world()
    world.chain.error = NodeUnavailable(text="away")
    work = warm_up(world, facts_of(world))
    work.run([address("app")])
    assert (work.failed, work.warmed) == ([address("app")], [])


def test_it_ends_in_time_whatever_the_node_does(make_world: MakeWorld) -> None:
    world = make_world()
    go_on = threading.Event()

    def slow(question: str, *_: Any) -> None:
        assert question != "application" or go_on.wait(10)

    world.chain._ask = slow  # type: ignore[method-assign]
    work = warm_up(world, facts_of(world), overall_s=0.05)
    work.run([address("app")])
    assert work.warmed == []
    go_on.set()
