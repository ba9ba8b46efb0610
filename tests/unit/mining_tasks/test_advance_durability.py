"""What is sent is on the disk first, and hundreds of suppliers wait for the same second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localnet.default_genesis import Options
from relay_store.durability import FSYNC_S
from relay_store.fence import Fence
from relay_store.intents import Intent, Intents
from relay_store.lease import StoreLease
from relay_store.store_errors import StoreUnavailable
from tests.miners import Mine, mining
from tests.stores import private_server
from tests.unit.localnet.chains import World


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Mine]:
    """A miner on a store with an append-only file, as in production."""
    with (
        private_server(tmp_path / "store", appendonly="yes") as server,
        mining(
            tmp_path, server.connection_url, World(Options(proof_requirement_threshold_upokt=250_000))
        ) as mine,
    ):
        yield mine


def test_hundreds_of_suppliers_do_not_wait_for_the_disk_one_after_the_other(durable: Mine) -> None:
    """What was stored is sent by the next step, which waits for what is left of the time, if anything."""
    mine, now, slept = durable, [time.monotonic()], list[float]()
    mine.miner.monotonic, mine.miner.sleep = lambda: now[0], slept.append
    header = mine.serve(20)
    for height, sent in ((13, 1), (14, 1), (21, 2)):
        mine.to(height)
        first = mine.step()
        assert not first.failures
        if height == 14:
            continue  # the claim is seen
        assert first.waiting and mine.broadcasts() == sent - 1
        now[0] += 1.2
        assert not mine.step().waiting and mine.broadcasts() == sent and slept == []
    mine.run_to(32)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def test_a_lone_supplier_waits_for_the_disk_before_it_sends(durable: Mine) -> None:
    mine, slept = durable, list[float]()
    mine.miner.monotonic, mine.miner.sleep = lambda: 1000.0, slept.append
    mine.serve(20)
    mine.to(13)
    assert mine.step().waiting
    mine.step()
    assert mine.broadcasts() == 1 and len(slept) <= 1  # none when the server has just confirmed


def test_what_another_node_stored_is_waited_for(durable: Mine) -> None:
    mine, slept = durable, list[float]()
    mine.miner.monotonic, mine.miner.sleep = lambda: 1000.0, slept.append
    mine.miner.report = replace(mine.miner.report, commands=frozenset())
    mine.serve(20)
    mine.to(13)
    assert mine.step().waiting
    StoreLease(mine.miner.store).release(mine.miner.keys.supplier_lease(mine.supplier), "me")
    assert StoreLease(mine.miner.store).acquire(mine.miner.keys.supplier_lease(mine.supplier), "other")
    mine.miner.token = "other"
    mine.miner.accumulation = replace(mine.miner.accumulation, token="other")
    mine.miner.monotonic = lambda: 5000.0  # another machine's clock says nothing
    mine.step()
    assert mine.broadcasts() == 1 and slept == [pytest.approx(FSYNC_S)]


def test_shortly_before_the_window_closes_no_other_task_is_waited_for(durable: Mine) -> None:
    mine, slept = durable, list[float]()
    mine.miner.monotonic, mine.miner.sleep = lambda: 1000.0, slept.append
    mine.serve(20)
    mine.to(16)
    assert not mine.step().waiting
    assert mine.broadcasts() == 1 and len(slept) <= 1  # none when the server has just confirmed


@pytest.mark.parametrize("answered", [True, False])
def test_what_the_store_was_slow_to_take_is_waited_for(
    durable: Mine, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """A store that stands still executes a transaction long after it was sent, its answer heard or not."""
    mine, now, slept, create = durable, [1000.0], list[float](), Intents.create
    mine.miner.monotonic, mine.miner.sleep = lambda: now[0], slept.append
    mine.miner.report = replace(mine.miner.report, commands=frozenset())

    def late(intents: Intents, fence: Fence, intent: Intent, *, ttl_s: int) -> list[Intent]:
        now[0] += 5.0
        stored = create(intents, fence, intent, ttl_s=ttl_s)
        if not answered:
            raise StoreUnavailable(error="no answer in time")
        return stored

    monkeypatch.setattr(Intents, "create", late)
    mine.serve(20)
    mine.to(13)
    assert mine.step().waiting is answered
    mine.step()
    assert mine.broadcasts() == 1 and slept == [pytest.approx(FSYNC_S)]
