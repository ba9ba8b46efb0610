"""The tasks, each run twice: on a real store, a real broker and the local chain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery

from localnet.context import Context
from localnet.state import SUPPLIER
from mining_tasks import process, tasks, worker
from mining_tasks.advance import Step
from mining_tasks.process import Identity
from mining_tasks.routing import ACCUMULATE, ADVANCE, REGISTER, TAKE_OVER, supplier_queue
from mining_tasks.wiring import Miner
from relay_store.registry import decode_supplier_state
from relay_store.session_state import SessionState
from relay_store.store_errors import StoreRefused
from tests.miners import Mine, relay_entries
from tests.unit.mining_tasks.task_fixtures import broker, mine, queued

__all__ = ["broker", "mine"]


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
