"""Taking over the open sessions of a reference deployment (spec/miner.md §3.6, §6.1; spec/smst.md §9; decisions.md E).

An open tree's leaves are written to the supplier's stream, those we do not have yet: so they are judged, counted
and stored like every other relay, also beside relays of the same session that came to us. A claimed tree must stay
exactly as it was claimed: the leaves under its root become a sealed session of ours, which a miner proves. Where relays
of that session came to us before, and are not sealed, both are put together through the stream, and claimed anew.
Every step may be repeated; nothing of the reference's is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mining_tasks.foreign_miners import ForeignMiners
from mining_tasks.inclusion import ROOT_FIELD
from mining_tasks.reference_sessions import ReferenceSession, ReferenceSessions
from pocket_protocol import smst
from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.relay import relay_hash
from pocket_protocol.stored_tree import BadNode, StoredLeaf
from pocket_protocol.stream_entry import StreamEntry, encode_stream_entry
from pocket_protocol.types import (
    ApplicationAddress,
    ComputeUnits,
    Height,
    ServiceId,
    SessionId,
    SupplierAddress,
)
from pocket_protocol.wire import decode_strict
from relay_store.connection import Store
from relay_store.fence import Command, open_fence
from relay_store.keys import Keys
from relay_store.lease import StoreLease, new_token
from relay_store.leaves import Leaf, Leaves, Seal
from relay_store.nodes import live_nodes
from relay_store.session_state import SessionRecord, SessionSnapshot, SessionState
from relay_store.sessions import BACKSTOP_TTL_S, Sessions
from relay_store.store_errors import store_errors
from relay_store.version import check_version

IMPORTED: Final = "imported"
ALREADY: Final = "already ours"
OVER: Final = "over"
PAGE: Final = 500
LEASE_TTL_MS: Final = 60_000
OURS_FOR_MS: Final = 3_600_000


class ForeignMinerAlive(Refused):
    """A reference miner that lives holds the supplier: it would go on claiming and proving what is imported."""

    reason = "foreign_miner_alive"
    summary = "a reference miner that lives holds the supplier; stop it first"


class TreeOfOurs(Refused):
    """A claimed session of the reference for which we have a tree of our own with another root."""

    reason = "tree_of_ours"
    summary = "a session of ours with another tree stands under this id"


class RootNotRebuilt(Malformed):
    """The leaves that were found do not give the claimed root."""

    reason = "root_not_rebuilt"
    summary = "the stored leaves do not give the claimed root"


@dataclass(frozen=True, slots=True)
class Import:
    """What was done, or would be, for one session."""

    supplier: str
    session: str
    service: str
    session_end: int
    state: str  # the reference's
    leaves: int = 0
    new: int = 0  # of them, not ours before
    root: str = ""  # hex; of a claimed session
    result: str = IMPORTED  # or why not


class SessionImport:
    """Imports the sessions of one supplier. Methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, keys: Keys, supplier: str, *, dry_run: bool = False) -> None:
        self._store = store
        self._keys = keys
        self._supplier = supplier
        self._dry_run = dry_run
        self._theirs = ReferenceSessions(store, keys)

    def run(self) -> Iterator[Import]:
        """Import one session after the other; what fails for one touches no other.

        Raises `ForeignMinerAlive`, and `DataVersionUnknown` where a later version has written.
        """
        self._refuse_beside_a_live_miner()
        if not self._dry_run:
            check_version(self._store, self._keys)
        for name in self._theirs.listed(self._supplier):
            try:
                session = self._theirs.read(self._supplier, name)
                if session is not None:
                    yield self._import(session)
            except (Malformed, Refused) as error:
                yield Import(self._supplier, name, "", 0, "", result=str(error))

    def _refuse_beside_a_live_miner(self) -> None:
        with store_errors():
            holder = self._store.client.get(self._keys.miner_claim(self._supplier))
        ours = live_nodes(self._store, self._keys, within_ms=OURS_FOR_MS)
        alive = ForeignMiners(self._store, self._keys, "").alive(ours)
        if holder is not None and holder.decode(errors="replace") in alive:
            raise ForeignMinerAlive(supplier=self._supplier, miner=holder.decode())

    def _import(self, session: ReferenceSession) -> Import:
        if session.state.is_terminal:
            return _report(session, result=OVER)
        return self._claimed(session) if session.is_claimed else self._open(session)

    # --- a tree that still grows

    def _open(self, session: ReferenceSession) -> Import:
        ours = Sessions(self._store, self._keys, self._supplier).read(session.session_id)
        if ours is not None and ours.state.is_terminal:
            return _report(session, result=OVER)
        return self._through_the_stream(session, self._theirs.stored_leaves(session))

    def _through_the_stream(self, session: ReferenceSession, stored_leaves: Iterable[StoredLeaf]) -> Import:
        known = Leaves(self._store, self._keys, self._supplier, session.session_id)
        leaves = new = 0
        for page in _pages(stored_leaves):
            entries = {leaf.path: _entry_of(session, leaf) for leaf in page}
            leaves += len(entries)
            with store_errors():
                stored = self._store.client.hmget(known.leaves_key, list(entries))
            missing = [body for body, held in zip(entries.values(), stored, strict=True) if held is None]
            new += len(missing)
            if not self._dry_run:
                self._publish(missing)
        return _report(session, leaves=leaves, new=new, result=IMPORTED if new else ALREADY)

    def _publish(self, entries: Sequence[bytes]) -> None:
        stream = self._keys.relay_stream(self._supplier)
        with self._store.answers():
            pipeline = self._store.node(stream).pipeline(transaction=False)
            for entry in entries:
                pipeline.xadd(stream, {"data": entry})
            pipeline.persist(stream)
            pipeline.execute()

    # --- a tree that was claimed

    def _claimed(self, session: ReferenceSession) -> Import:
        root = smst.Root.from_bytes(session.root)
        ours = Sessions(self._store, self._keys, self._supplier).read(session.session_id)
        if ours is not None and ours.state is SessionState.ACTIVE and not self._is_sealed(session):
            return self.join(session)
        if ours is not None:
            return self._compared(session, ours)
        leaves = [_leaf_of(session, leaf) for leaf in self._theirs.claimed_leaves(session)]
        records = smst.collapse(b"".join(leaf.record for leaf in leaves))
        weight = root.sum // root.count if root.count else 0
        if smst.bulk_root(records) != session.root or smst.other_weight(records, ComputeUnits(weight)):
            raise RootNotRebuilt(session=session.session_id, leaves=len(leaves))
        if not self._dry_run:
            self._store_claimed(session, root, leaves, b"".join(records), ComputeUnits(weight))
        return _report(session, leaves=root.count, new=root.count, root=session.root.hex())

    def join(self, session: ReferenceSession) -> Import:
        """Add the leaves of a claimed tree to a session of ours that is open: a claim of both replaces theirs.

        Raises `BadNode`, `NodeMissing`.
        """
        return self._through_the_stream(session, self._theirs.claimed_leaves(session))

    def _is_sealed(self, session: ReferenceSession) -> bool:
        own = Leaves(self._store, self._keys, self._supplier, session.session_id)
        return own.read_sealed()[0] is not None

    def _compared(self, session: ReferenceSession, ours: SessionRecord) -> Import:
        if ours.more.get(ROOT_FIELD) != session.root.hex().encode():
            raise TreeOfOurs(session=session.session_id, state=ours.state.value)
        return _report(session, leaves=ours.counters["leaves"], root=session.root.hex(), result=ALREADY)

    def _store_claimed(
        self,
        session: ReferenceSession,
        root: smst.Root,
        leaves: Sequence[Leaf],
        index: bytes,
        weight: ComputeUnits,
    ) -> None:
        """Write the leaves first, invisible without a session; then all that makes them one, in one transaction."""
        own = Leaves(self._store, self._keys, self._supplier, session.session_id)
        node = self._store.node(own.leaves_key)
        for page in _pages(leaves):
            with self._store.answers():
                pipeline = node.pipeline(transaction=True)
                pipeline.hset(own.leaves_key, mapping={leaf.path: leaf.value for leaf in page})
                pipeline.expire(own.leaves_key, BACKSTOP_TTL_S)
                pipeline.execute()
        key = self._keys.session(self._supplier, session.session_id)
        commands = self._making_it_a_session(session, root, weight, own, index)
        with (
            _Ownership(self._store, self._keys, self._supplier) as token,
            open_fence(self._store, self._keys, self._supplier, token) as fence,
        ):
            while True:
                fence.watch()
                fence.watch_more(key)
                exists, count = fence.ask(("EXISTS", key), ("HLEN", own.leaves_key))
                if exists or count != root.count:
                    fence.forget()
                    raise TreeOfOurs(session=session.session_id, leaves=count)
                if fence.execute(*commands) is not None:
                    return

    def _making_it_a_session(
        self,
        session: ReferenceSession,
        root: smst.Root,
        weight: ComputeUnits,
        own: Leaves,
        index: bytes,
    ) -> list[Command]:
        snapshot = SessionSnapshot(
            session_id=session.session_id,
            supplier=session.supplier,
            application=session.application,
            service_id=session.service_id,
            start_height=session.start_height,
            end_height=session.end_height,
            cupr=weight,
        )
        claiming = session.state is SessionState.CLAIMING
        fields: dict[str, Any] = {
            **snapshot.to_fields(),
            "state": (SessionState.CLAIMING if claiming else SessionState.CLAIMED).value,
            "leaves": root.count,
            ROOT_FIELD: session.root.hex(),
            "claim_relays": root.count,
            "claim_compute_units": root.sum,
            "claim_tx_hash": session.claim_tx_hash,
            IMPORTED: 1,
        }
        key = self._keys.session(self._supplier, session.session_id)
        ttl = BACKSTOP_TTL_S
        return [
            ("SET", own.index_key, index, "EX", ttl),
            ("SET", own.seal_key, Seal(len(index), root.count).to_bytes(), "EX", ttl),
            ("SET", own.root_key, session.root, "EX", ttl),
            ("HSET", key, *(part for item in fields.items() for part in item)),
            ("EXPIRE", key, ttl),
            ("ZADD", self._keys.sessions(self._supplier), session.end_height, session.session_id),
            ("HINCRBY", self._keys.totals(self._supplier), "leaves", root.count),
        ]


class _Ownership:
    """The owner token to write with: that of a node of ours at work, which the commit key keeps exact, else our own."""

    def __init__(self, store: Store, keys: Keys, supplier: str) -> None:
        self._keys = keys.supplier_lease(supplier)
        self._lease = StoreLease(store, ttl_ms=LEASE_TTL_MS)
        self._token = new_token()

    def __enter__(self) -> str:
        if self._lease.acquire(self._keys, self._token) is not None:
            return self._token
        (holder,) = self._lease.holders((self._keys,))
        return holder or self._token

    def __exit__(self, *exc: object) -> None:
        self._lease.release(self._keys, self._token)


def _report(session: ReferenceSession, **values: Any) -> Import:
    return Import(
        session.supplier,
        session.session_id,
        session.service_id,
        session.end_height,
        session.state.value,
        **values,
    )


def _relay_of(session: ReferenceSession, leaf: StoredLeaf) -> tuple[Relay, bytes, ComputeUnits]:
    """Return a leaf's relay, its bytes and its weight. Raises `BadNode` when it is none of this session's."""
    relay_bytes, weight = smst.split_leaf_value(leaf.value)
    relay = decode_strict(Relay, relay_bytes)
    meta = relay.req.meta
    its_own = (meta.supplier_operator_address, meta.session_header.session_id)
    if its_own != (session.supplier, session.session_id) or leaf.path != smst.path_of(
        relay_hash(relay_bytes)
    ):
        raise BadNode(path=leaf.path.hex(), session=session.session_id)
    return relay, relay_bytes, weight


def _leaf_of(session: ReferenceSession, leaf: StoredLeaf) -> Leaf:
    _, relay_bytes, weight = _relay_of(session, leaf)
    return Leaf(leaf.path, leaf.value, smst.leaf_record(leaf.path, relay_bytes, weight))


def _entry_of(session: ReferenceSession, leaf: StoredLeaf) -> bytes:
    relay, relay_bytes, weight = _relay_of(session, leaf)
    header = relay.req.meta.session_header
    return encode_stream_entry(
        StreamEntry(
            relay_hash=relay_hash(relay_bytes),
            relay_bytes=relay_bytes,
            compute_units_per_relay=weight,
            session_id=SessionId(header.session_id),
            session_end_height=Height(header.session_end_block_height),
            supplier_operator_address=SupplierAddress(session.supplier),
            service_id=ServiceId(header.service_id),
            application_address=ApplicationAddress(header.application_address),
            arrival_block_height=Height(header.session_start_block_height),
            published_at_ns=0,
            session_start_height=Height(header.session_start_block_height),
        )
    )


def _pages(leaves: Iterable[Any]) -> Iterator[list[Any]]:
    page: list[Any] = []
    for leaf in leaves:
        page.append(leaf)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page
