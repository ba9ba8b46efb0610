"""Builders for tests of the miner: a local chain with its node, a miner on a real store, relays on their way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from localnet.chain import LocalChain
from localnet.node import LocalNode
from mining_tasks.accumulate import accumulate
from mining_tasks.advance import Step, advance
from mining_tasks.config import MinerConfig, load_miner_config
from mining_tasks.held_keys import HeldKeys
from mining_tasks.judgement import Fate
from mining_tasks.metrics import MinerMetrics
from mining_tasks.wiring import Miner, build_miner
from pocket_chain.keyring import Keyring
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.stream_entry import StreamEntry, encode_stream_entry
from pocket_protocol.tx import decode_transaction
from pocket_protocol.types import (
    ApplicationAddress,
    ComputeUnits,
    Height,
    ServiceId,
    SessionId,
    SupplierAddress,
)
from relay_store.block_feed import BlockPublisher
from relay_store.lease import StoreLease
from relay_store.session_state import SessionRecord
from relay_store.sessions import Sessions
from tests.unit.localnet.chains import CURVE, World

CONFIG = """
redis: {{url: "{store}"}}
pocket_node:
  query_node_rpc_url: "{rpc}"
  query_node_grpc_url: "{grpc}"
  grpc_insecure: true
  query_timeout_seconds: 2
  chain_id: pocket
keys: {{keys_file: "{keys}"}}
block_time_seconds: {block_time_s}
metrics: {{enabled: false}}
transaction: {{gas_adjustment: 1.7, tx_timeout_clock_skew_buffer_seconds: 0}}
extensions:
  concurrency: 2
  settle_seconds: {settle_s}
  state_dir: "{state_dir}"
  rebalance_interval_seconds: 1
"""


def write_config(
    directory: Path,
    world: World,
    node: LocalNode,
    store_url: str,
    *,
    block_time_s: float = 1.0,
    settle_s: float = 0.0,
    suppliers: tuple[str, ...] = ("supplier1",),
) -> Path:
    """Write a miner's file and its keys; return the file's path."""
    directory.mkdir(parents=True, exist_ok=True)
    keys = directory / "keys.yaml"
    lines = "".join(f'  - "{world.plan.keys[name].reveal().hex()}"\n' for name in suppliers)
    keys.write_text(f"keys:\n{lines}")
    keys.chmod(0o600)
    path = directory / "miner.yaml"
    path.write_text(
        CONFIG.format(
            store=store_url,
            rpc=node.rpc_url,
            grpc=node.grpc_address,
            keys=keys,
            block_time_s=block_time_s,
            settle_s=settle_s,
            state_dir=directory / "state",
        )
    )
    return path


def relay_entries(
    world: World,
    header: SessionHeader,
    numbers: Iterable[int],
    *,
    app: str = "app1",
    weight: int = 1000,
    supplier: str = "supplier1",
) -> Iterator[bytes]:
    """Yield stream entries of relays that a supplier served in a session."""
    for number in numbers:
        mined = world.relay(header, supplier, number, app)
        entry = StreamEntry(
            relay_hash=relay_hash(mined),
            relay_bytes=mined,
            compute_units_per_relay=ComputeUnits(weight),
            session_id=SessionId(header.session_id),
            session_end_height=Height(header.session_end_block_height),
            supplier_operator_address=SupplierAddress(world.address(supplier)),
            service_id=ServiceId(header.service_id),
            application_address=ApplicationAddress(header.application_address),
            arrival_block_height=Height(header.session_start_block_height),
            published_at_ns=1,
            session_start_height=Height(header.session_start_block_height),
        )
        yield encode_stream_entry(entry)


class Mine:
    """One supplier's miner beside a chain whose blocks a test makes."""

    def __init__(self, world: World, node: LocalNode, config: MinerConfig, token: str = "me") -> None:
        self.world, self.node, self.config = world, node, config
        self.supplier = SupplierAddress(world.address("supplier1"))
        self.registry = CollectorRegistry()
        self.miner: Miner = build_miner(
            config, token, HeldKeys(Keyring(config.keys, CURVE)), MinerMetrics(self.registry)
        )
        self.publisher = BlockPublisher(
            self.miner.store.client,
            height_key=self.miner.keys.height(),
            channel=self.miner.keys.blocks_channel(),
            chain_id="pocket",
        )
        StoreLease(self.miner.store, ttl_ms=600_000).acquire(
            self.miner.keys.supplier_lease(self.supplier), token
        )
        self.tell()

    @property
    def chain(self) -> LocalChain:
        return self.world.chain

    def tell(self) -> None:
        """Publish the chain's last block, as a node does that follows it."""
        self.publisher.publish(self.miner.node.block(self.chain.height))

    def to(self, height: int) -> None:
        """Make blocks up to `height` and publish the last."""
        self.world.to(height)
        self.tell()

    def step(self, **options: Any) -> Step:
        """Advance all sessions at the present block."""
        return advance(self.supplier, self.miner, **options)

    def step_until_done(self, timeout_s: float = 5.0) -> None:
        """Advance at the same block until nothing fails: failed look-ups are not repeated at once."""
        deadline = time.monotonic() + timeout_s
        while self.step().failures:
            assert time.monotonic() < deadline

    def run_to(self, height: int) -> list[Step]:
        """Advance at each block up to `height`."""
        steps = []
        while self.chain.height < height:
            self.to(self.chain.height + 1)
            steps.append(self.step())
        return steps

    def publish(self, entries: Iterable[bytes]) -> None:
        """Append entries to the supplier's stream."""
        for entry in entries:
            self.miner.store.client.xadd(self.miner.keys.relay_stream(self.supplier), {"data": entry})

    def serve(
        self, number: int, app: str = "app1", service: str = "develop-http", height: int = 1
    ) -> SessionHeader:
        """Serve `number` relays of one session."""
        header = self.world.session(app, service, height)
        weight = dict(self.world.options.services)[service]
        self.publish(relay_entries(self.world, header, range(number), app=app, weight=weight))
        outcome = accumulate(self.supplier, self.miner.accumulation)
        assert outcome.fates[Fate.NEW] == number
        return header

    def broadcasts(self) -> int:
        """How many transactions were sent, the same bytes again included."""
        return int(sum(self.metric("ha_tx_broadcasts_total").values()))

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of a metric by its labels."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name
        }

    def messages(self) -> dict[str, int]:
        """Count the messages that were carried out in blocks, by type."""
        counts: dict[str, int] = {}
        for height in range(1, self.chain.height + 1):
            block = self.chain.block(height)
            for tx, result in zip(block.txs, block.results, strict=True):
                for message in decode_transaction(tx).messages if result.code == 0 else ():
                    name = message.DESCRIPTOR.name
                    counts[name] = counts.get(name, 0) + 1
        return counts

    def record(self, header: SessionHeader) -> SessionRecord:
        record = Sessions(self.miner.store, self.miner.keys, self.supplier).read(header.session_id)
        assert record is not None
        return record

    def text(self, header: SessionHeader, name: str) -> str:
        return self.record(header).more.get(name, b"").decode()


@contextmanager
def mining(directory: Path, store_url: str, world: World | None = None, **options: Any) -> Iterator[Mine]:
    """Run a chain's servers and wire a miner to them; blocks are made by the test."""
    world = world or World()
    with LocalNode(world.chain) as node:
        path = write_config(directory, world, node, store_url, **options)
        config = load_miner_config(path).config
        mine = Mine(world, node, replace(config))
        try:
            yield mine
        finally:
            mine.miner.queries.channels.close()
            mine.miner.store.close()
