"""A session's budget follows what it is made of while the session runs (spec/relayer.md §3.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pocket_chain.facts import ChainFacts
from pocket_protocol import relay as relay_protocol
from relayer_web.inbound import Inbound
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    LIMIT_UPOKT,
    World,
    address,
    application,
    checked_response,
    relay_request,
)


def limit(world: World) -> int:
    """The budget a relay of now is measured by."""
    inbound = Inbound(relay_protocol.encode_request(relay_request()))
    relay = world.runtime.admission.identify(inbound)
    return world.runtime.metering.allowance(relay, 105).limit_upokt


def stake(world: World, upokt: int) -> None:
    world.chain.apps[address("app")] = application("app", ["gateway"], stake_upokt=upokt)
    facts(world).applications.refresh(address("app"))


def facts(world: World) -> ChainFacts:
    return world.runtime.verifier._facts


def test_a_stake_that_changes_in_mid_session_changes_the_budget(world: World) -> None:
    """reference: TestGetOrCreateSessionMeter_RecomputesMaxStake_WhenAppStakeChanges."""
    for _ in range(3):
        checked_response(world.serve(relay_request()))
    assert limit(world) == LIMIT_UPOKT
    stake(world, 3 * 45 * COST_UPOKT)  # 15 suppliers, 3 pending sessions: three relays each
    assert limit(world) == 3 * COST_UPOKT
    assert world.serve(relay_request()).status == 429
    assert world.consumed_upokt() == 3 * COST_UPOKT
    stake(world, 4 * 45 * COST_UPOKT)
    checked_response(world.serve(relay_request()))
    assert world.serve(relay_request()).status == 429


def change_suppliers(world: World) -> None:
    world.chain.num_suppliers = 30
    facts(world).session_params.clear()


def change_factor(world: World) -> None:
    world.store.client.set(world.keys.service_factor("svc"), b'{"factor":0.5,"updated_at":1}')


@pytest.mark.parametrize(
    ("change", "becomes"),
    [(change_suppliers, 100_000_000 // 30 // 3), (change_factor, 50_000_000)],
)
def test_so_do_the_number_of_suppliers_and_the_factor(
    world: World, change: Callable[[World], None], becomes: int
) -> None:
    """reference: TestGetSessionParams_ReflectsChangedNumSuppliers. Whoever changes them tells relayers."""
    assert limit(world) == LIMIT_UPOKT
    change(world)
    world.runtime.metering._factors.forget_all()
    assert limit(world) == becomes
