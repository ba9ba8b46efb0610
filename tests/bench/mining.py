"""What the miner's side costs a relay, on a store of its own: accumulating, sealing, proving."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mining_tasks.accumulate import Accumulation, Limits, accumulate
from mining_tasks.seal import seal_session
from pocket_protocol import proving, smst
from pocket_protocol.types import ComputeUnits
from pocket_protocol.types import Path as TreePath
from relay_store.connection import Store, connect
from relay_store.lease import StoreLease
from tests.bench.cpu_time import cpu_ns
from tests.mined_relays import CUPR, KEYS, SUPPLIER, KnownSessions, header_of, publish_relays, relay_bytes
from tests.stores import private_server

MINED_BYTES = 400  # of payload: a mined relay of about the size of a small JSON-RPC call's
SESSION = 1
STREAM_CHUNK = 5000


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds of one relay (or of one whole thing) in our process and in the store."""

    what: str
    own_us: float
    store_us: float


@contextmanager
def _store(directory: Path) -> Iterator[tuple[Store, int]]:
    """A server of our own and its process id."""
    with private_server(directory) as server:
        store = connect(server.connection_url)
        try:
            yield store, int(store.client.info("server")["process_id"])
        finally:
            store.close()


def _node(store: Store, directory: Path, batch: int) -> Accumulation:
    StoreLease(store, ttl_ms=600_000).acquire(KEYS.supplier_lease(SUPPLIER), "bench")
    limits = Limits(batch_entries=batch, first_read_entries=batch, linger_s=0.0, slice_s=600.0)
    return Accumulation(store, KEYS, "bench", KnownSessions.of(SESSION), directory / "locks", limits)


def accumulation_costs(directory: Path, batch: int, leaves: int) -> tuple[Cost, Cost]:
    """Drain `leaves` waiting relays in batches of `batch`, then seal their session. Costs are per relay."""
    directory.mkdir(parents=True)
    with _store(directory / "store") as (store, server_id):
        for start in range(0, leaves, STREAM_CHUNK):
            numbers = range(start, min(start + STREAM_CHUNK, leaves))
            publish_relays(store, SESSION, numbers, size=MINED_BYTES)
        node = _node(store, directory, batch)
        own, server = time.thread_time(), cpu_ns(server_id)
        outcome = accumulate(SUPPLIER, node)
        drained = Cost(
            f"accumulate, batches of {batch}",
            (time.thread_time() - own) * 1e6 / leaves,
            (cpu_ns(server_id) - server) / 1e3 / leaves,
        )
        assert sum(outcome.fates.values()) == leaves, outcome
        own, server = time.thread_time(), cpu_ns(server_id)
        sealed = seal_session(SUPPLIER, header_of(SESSION).session_id, node)
        sealing = Cost(
            f"seal, {leaves:,} leaves (after batches of {batch})",
            (time.thread_time() - own) * 1e6 / leaves,
            (cpu_ns(server_id) - server) / 1e3 / leaves,
        )
        assert sealed.root.count == leaves
    return drained, sealing


def memory_of_relays(directory: Path, leaves: int) -> tuple[int, float]:
    """(bytes of a mined relay, bytes the store holds for each once it is a leaf)."""
    directory.mkdir(parents=True)
    with _store(directory / "store") as (store, _):
        before = int(store.client.info("memory")["used_memory"])
        publish_relays(store, SESSION, range(leaves), size=MINED_BYTES)
        accumulate(SUPPLIER, _node(store, directory, batch=1000))
        held = int(store.client.info("memory")["used_memory"]) - before
    return len(relay_bytes(header_of(SESSION), 0, size=MINED_BYTES)), held / leaves


def proof_cost(leaves: int) -> Cost:
    """Build the closest proof of a tree of `leaves` from its index: sort, walk, hash. Cost is of the whole proof."""
    header = header_of(SESSION)
    mined = relay_bytes(header, 1, size=MINED_BYTES)
    path = smst.path_of(smst.RelayHash(hashlib.sha256(mined).digest()))
    known = smst.leaf_record(path, mined, ComputeUnits(CUPR))
    others = [
        hashlib.sha256(number.to_bytes(8, "big")).digest() + known[smst.HASH_SIZE :]
        for number in range(leaves - 1)
    ]
    index = b"".join([known, *others])
    value = smst.leaf_value(mined, ComputeUnits(CUPR))
    started = time.thread_time()
    records = smst.collapse(index)
    proof = proving.prove_closest(records, TreePath(path), lambda _: value, with_sibling_data=False)
    cost = Cost(f"closest proof, {leaves:,} leaves", (time.thread_time() - started) * 1e6, 0.0)
    assert proof.closest_path == path
    return cost
