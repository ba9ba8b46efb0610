"""The beat's tasks: what the sweep and the routine work send, and to whom."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

from celery import Celery

from mining_tasks import sweep as sweep_module
from mining_tasks import tasks
from mining_tasks.routing import ACCUMULATE, REGISTER, supplier_queue
from relay_store.ticket import clear_ticket, gather, take_tickets
from tests.logs import captured
from tests.miners import Mine, relay_entries
from tests.unit.mining_tasks.task_fixtures import broker, mine, queued, swept

__all__ = ["broker", "mine"]


def test_service_factors_are_written_again_before_they_run_out(mine: Mine, broker: Celery) -> None:
    """T21: they live for `cache_ttl`, and are written with every reconcile."""
    mine.miner.config = replace(
        mine.miner.config,
        default_service_factor=0.5,
        service_factors={"develop-http": 0.25},
        cache_ttl_s=60.0,
    )
    keys, client = mine.miner.keys, mine.miner.store.client
    names = [keys.service_factor(""), keys.service_factor("develop-http")]
    for _ in range(2):
        swept(mine, broker).publish_service_factors()
        assert all(0 < client.ttl(name) <= 60 for name in names)
        assert [json.loads(client.get(name))["factor"] for name in names] == [0.5, 0.25]
        client.delete(*names)
    assert mine.miner.config.supplier_reconcile_interval_seconds <= 60


def test_the_sweep_sends_for_a_stream_nobody_was_told_of(mine: Mine, broker: Celery) -> None:
    tasks.register(mine.supplier)
    sweep = swept(mine, broker)
    sweep.streams()
    assert queued(broker, mine.supplier) == 0  # nothing waits
    mine.publish(relay_entries(mine.world, mine.world.session(), range(1)))
    for _ in range(3):
        sweep.streams()
    assert queued(broker, mine.supplier) == 1  # one task is enough


def test_the_sweep_leaves_what_gathers_to_the_front_ends(mine: Mine, broker: Celery) -> None:
    store, keys = mine.miner.store, mine.miner.keys
    mine.publish(relay_entries(mine.world, mine.world.session(), range(1)))
    assert take_tickets(store, keys, [mine.supplier]).taken
    gather(store, keys, mine.supplier, 1.5)
    sweep = swept(mine, broker)
    sweep.streams()
    assert queued(broker, mine.supplier) == 0
    clear_ticket(store, keys, mine.supplier)  # the time is over, and no front end is left to send a task
    sweep.streams()
    assert queued(broker, mine.supplier) == 1


def test_the_sweep_sends_although_a_ticket_says_that_a_task_is_on_its_way(mine: Mine, broker: Celery) -> None:
    mine.publish(relay_entries(mine.world, mine.world.session(), range(1)))
    take_tickets(mine.miner.store, mine.miner.keys, [mine.supplier])
    swept(mine, broker).streams()
    assert queued(broker, mine.supplier) == 1, "the queue is empty: that task is lost"


def test_the_sweep_finds_a_supplier_whose_first_task_was_lost(mine: Mine, broker: Celery) -> None:
    """Nobody has registered it yet: taking it over would have."""
    mine.publish(relay_entries(mine.world, mine.world.session(), range(1)))
    swept(mine, broker).streams()
    assert queued(broker, mine.supplier) == 1


def test_the_sweep_sends_nothing_where_nobody_owns(mine: Mine, broker: Celery) -> None:
    tasks.register(mine.supplier)
    mine.publish(relay_entries(mine.world, mine.world.session(), range(1)))
    mine.miner.store.client.delete(mine.miner.keys.lease(mine.supplier))
    swept(mine, broker).streams()
    assert queued(broker, mine.supplier) == 0


def test_the_sweep_sends_nothing_for_a_lease_that_ran_out_on_the_lock_stores(
    mine: Mine, broker: Celery
) -> None:
    """With Redlock too, the data store shows the lease as long as it is renewed; an owner there ever was."""
    extensions = replace(mine.miner.config.extensions, redlock_urls=("redis://a", "redis://b", "redis://c"))
    mine.miner.config = replace(mine.miner.config, extensions=extensions)
    tasks.register(mine.supplier)
    mine.publish(relay_entries(mine.world, mine.world.session(), range(1)))
    sweep = swept(mine, broker)
    mine.miner.store.client.delete(mine.miner.keys.lease(mine.supplier))
    sweep.streams()
    assert queued(broker, mine.supplier) == 0


def test_relays_that_wait_too_long_are_told_whoever_should_have_taken_them(
    mine: Mine, broker: Celery
) -> None:
    (entry,) = relay_entries(mine.world, mine.world.session(), range(1))
    key = mine.miner.keys.relay_stream(mine.supplier)
    now_s = mine.miner.store.client.time()[0]
    mine.miner.now_s = lambda: 1000.0
    with captured(sweep_module) as logs:
        for waited_s, told in ((28, 0), (30, 1), (60, 1), (91, 2)):
            mine.miner.store.client.delete(key)
            mine.miner.store.client.xadd(key, {"data": entry}, id=f"{(now_s - waited_s) * 1000}-0")
            swept(mine, broker).streams()
            assert len(logs) == told
    assert logs[0]["supplier"] == mine.supplier and logs[0]["log_level"] == "error"
    assert mine.metric("ha_miner_stale_streams_total") == {(mine.supplier,): 3}


def test_a_task_of_a_replaced_beat_does_nothing(mine: Mine, broker: Celery) -> None:
    mine.miner.store.client.set(mine.miner.keys.beat_lease().epoch, 7)
    sweep = swept(mine, broker)
    assert sweep.is_current(7) and not sweep.is_current(6) and not sweep.is_current(8)
    for task in (
        tasks.sweep_suppliers,
        tasks.reconcile,
        tasks.refresh_caches,
        tasks.clean_up,
        tasks.check_balances,
    ):
        task(6)
    assert mine.metric("ha_cache_orchestrator_refreshes_total") == {}
    assert queued(broker, mine.supplier) == 0


def test_what_relays_come_for_is_kept_fresh_in_the_caches(mine: Mine) -> None:
    header = mine.serve(1)
    client, keys = mine.miner.store.client, mine.miner.keys
    assert not client.exists(keys.application(header.application_address))
    client.set(keys.beat_lease().epoch, 7)
    for _ in range(2):
        tasks.refresh_caches(7)
    for key in (
        keys.application(header.application_address),
        keys.service(header.service_id),
        keys.shared_params(),
    ):
        assert client.pttl(key) > 0
    assert mine.metric("ha_cache_orchestrator_refreshes_total") == {("success",): 2}


def test_routine_work_is_sent_to_each_owner_for_many_suppliers_at_once(mine: Mine, broker: Celery) -> None:
    """A message for each would cost more than the work: a thousand suppliers must be cheap while they are idle."""
    store, keys = mine.miner.store, mine.miner.keys
    owners = {f"pokt1{number:03}": f"node{number % 2}" for number in range(120)}
    for supplier, owner in owners.items():
        store.client.sadd(keys.registered_suppliers(), supplier)
        store.client.set(keys.lease(supplier), owner)
    busy, nobodys = "pokt1000", "pokt1001"
    store.client.delete(keys.lease(nobodys), keys.lease(mine.supplier))
    for name in (ACCUMULATE, ACCUMULATE):
        broker.send_task(name, args=(busy,), queue=supplier_queue(busy))
    swept(mine, broker).send_all(REGISTER)
    sent: list[list[str]] = []
    with broker.connection_for_write() as connection:
        channel = connection.default_channel
        for supplier in owners:
            name = f"{channel.global_keyprefix}{supplier_queue(supplier)}"
            for raw in channel.client.lrange(name, 0, -1):
                message = json.loads(raw)
                if message["headers"]["task"] == REGISTER:
                    sent.append(json.loads(base64.b64decode(message["body"]))[0])
                    assert sent[-1][0] == supplier
    assert sorted(supplier for some in sent for supplier in some) == sorted(owners.keys() - {busy, nobodys})
    assert len(sent) == 4 and all(len({owners[one] for one in some}) == 1 for some in sent)


def test_only_suppliers_with_sessions_are_tidied(mine: Mine, broker: Celery) -> None:
    tasks.register(mine.supplier)
    swept(mine, broker).tidy()
    assert queued(broker, mine.supplier) == 0
    mine.serve(1)
    swept(mine, broker).tidy()
    assert queued(broker, mine.supplier) == 1
