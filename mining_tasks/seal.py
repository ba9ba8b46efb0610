"""Closing a session's tree: drain, check, seal, root (decisions.md C1, B4).

After the seal the leaves are fixed, and the root is a pure function of the sealed part of the index and
the session's weight: whichever worker computes it gets the same bytes, and the first to write them wins.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mining_tasks.accumulate import Accumulation, accumulate
from mining_tasks.judgement import snapshot_of
from mining_tasks.session_facts import SessionFacts
from pocket_protocol import smst
from pocket_protocol.difficulty import is_applicable
from pocket_protocol.errors import PocketError, Refused, Unavailable
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.session import check_header
from pocket_protocol.types import ComputeUnits, Path
from pocket_protocol.wire import decode_strict
from relay_store.fence import Command, Fence, open_fence
from relay_store.leaves import Leaves, Seal
from relay_store.relay_stream import drained_up_to, stream_tail
from relay_store.session_state import SessionRecord, read_record
from relay_store.sessions import BACKSTOP_TTL_S, Sessions


class NoSuchSession(Refused):
    """A session without a record: it never had a leaf, or its retention is over."""

    reason = "no_such_session"
    summary = "session has no record"


class SessionOver(Refused):
    """A session that ended unsealed: it was not claimed and will not be."""

    reason = "session_over"
    summary = "session is in a terminal state and has no seal"


class FactsUnknown(Unavailable):
    """The chain cannot be asked for what a claim needs: no claim now, to be tried again, and an alert."""

    reason = "session_facts_unknown"
    summary = "compute units or difficulty of the session are not known"


class RootDiffers(PocketError):
    """The root stored for a session is not the one its sealed leaves have."""

    reason = "root_differs"
    summary = "stored root is not the root of the sealed leaves"


@dataclass(frozen=True, slots=True)
class SealedSession:
    """A sealed session: its root, and the records it was computed from, sorted and with the right weight."""

    record: SessionRecord
    root: smst.Root
    records: Sequence[bytes]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to claim."""
        return self.root.count == 0


def last_drain_height(claim_open: int, claim_close: int) -> int:
    """Return the height at which a session is sealed even if its stream is not drained (decisions.md C1)."""
    return claim_close - min(2, math.ceil((claim_close - claim_open) / 4))


class Drain(enum.Enum):
    """How far a stream was drained."""

    DONE = enum.auto()
    UNFINISHED = enum.auto()  # another process of this node is at it, or the time was over: try again
    HELD = enum.auto()  # the rest is not for us now: another consumer has it, or another node the supplier


def drain(supplier: str, node: Accumulation, *, deadline_s: float) -> Drain:
    """Settle every entry that is in the stream now, until `deadline_s` on the node's monotonic clock.

    New sessions come to light: list the sessions afterwards.
    """
    tail = stream_tail(node.store, node.keys, supplier)
    while tail is not None and not drained_up_to(node.store, node.keys, supplier, tail):
        left_s = deadline_s - node.monotonic()
        if left_s <= 0:
            return Drain.UNFINISHED
        limits = replace(node.limits, linger_s=0.0, slice_s=min(left_s, node.limits.slice_s))
        outcome = accumulate(supplier, replace(node, limits=limits))
        if outcome.busy or outcome.owner_lost or not outcome.batches + outcome.retried:
            if drained_up_to(node.store, node.keys, supplier, tail):
                return Drain.DONE
            return Drain.UNFINISHED if outcome.busy else Drain.HELD
    return Drain.DONE


def seal_session(supplier: str, session: str, node: Accumulation) -> SealedSession:
    """Seal a session, or take the seal that is there, and return its root.

    Safe to run twice, at once, and after any crash. Raises `NoSuchSession`, `SessionOver`, `FactsUnknown`,
    `NotOwner`, `HeaderMismatch` when the chain's session is another one, `RootDiffers`, `StoreUnavailable`.
    """
    leaves = Leaves(node.store, node.keys, supplier, session)
    seal, _ = leaves.read_sealed()
    if seal is None:
        record = _existing(node, supplier, session)
        if record.state.is_terminal:
            raise SessionOver(session=session, state=record.state.value)
        facts = _known_facts(node, supplier, record)
        with open_fence(node.store, node.keys, supplier, node.token) as fence:
            seal = _Sealing(node, supplier, session, leaves, facts).run(fence)
    return read_sealed_session(supplier, session, node, seal)


def read_sealed_session(
    supplier: str, session: str, node: Accumulation, seal: Seal | None = None
) -> SealedSession:
    """Return a sealed session with its root, which is computed and written if it is not there yet.

    Raises `NoSuchSession` when it is not sealed, `IndexCut` and `LeafMissing` when the store lost leaves,
    `RootDiffers`, `StoreUnavailable`.
    """
    leaves = Leaves(node.store, node.keys, supplier, session)
    seal = seal or leaves.read_sealed()[0]
    if seal is None:
        raise NoSuchSession("session is not sealed", session=session)
    record = _existing(node, supplier, session)
    weight = ComputeUnits(record.snapshot.cupr)
    records = weighed(leaves, smst.collapse(leaves.read_index(seal.length)), weight)
    root = smst.Root.from_bytes(smst.bulk_root(records))
    stored = leaves.set_root(root)
    if stored != root or root.count != seal.count or root.sum != root.count * weight:
        raise RootDiffers(session=session, stored=stored.to_bytes().hex(), computed=root.to_bytes().hex())
    return SealedSession(record, root, records)


def _existing(node: Accumulation, supplier: str, session: str) -> SessionRecord:
    record = Sessions(node.store, node.keys, supplier).read(session)
    if record is None:
        raise NoSuchSession(session=session)
    return record


def _known_facts(node: Accumulation, supplier: str, record: SessionRecord) -> SessionFacts:
    """Ask the chain for a session; what was written with its first leaf may have been incomplete."""
    snapshot = record.snapshot
    header = SessionHeader(
        application_address=snapshot.application,
        service_id=snapshot.service_id,
        session_id=snapshot.session_id,
        session_start_block_height=snapshot.start_height,
        session_end_block_height=snapshot.end_height,
    )
    facts = node.lookup.facts(supplier, header)
    if facts is None or not facts.weight or facts.windows is None:
        raise FactsUnknown(session=snapshot.session_id)
    check_header(facts.header, header)
    return facts


def weighed(leaves: Leaves, records: list[bytes], weight: ComputeUnits) -> list[bytes]:
    """Return the records with those of another weight hashed again from their leaves (decisions.md B4).

    Raises `LeafMissing`, `StoreUnavailable`.
    """
    paths = smst.other_weight(records, weight)
    values = dict(zip(paths, leaves.fetch_many(paths), strict=True))
    return [
        smst.reweigh(record, values[path], weight) if (path := smst.record_path(record)) in values else record
        for record in records
    ]


@dataclass(frozen=True, slots=True)
class _Sealing:
    """One attempt to seal: everything under the fence."""

    node: Accumulation
    supplier: str
    session: str
    leaves: Leaves
    facts: SessionFacts

    def run(self, fence: Fence) -> Seal:
        """Repeat until a seal is there: ours, or another worker's."""
        session_key = self.node.keys.session(self.supplier, self.session)
        while True:
            fence.watch()
            fence.watch_more(self.leaves.seal_key, session_key)
            sealed, count, length, raw = fence.ask(
                ("GET", self.leaves.seal_key),
                ("HLEN", self.leaves.leaves_key),
                ("STRLEN", self.leaves.index_key),
                ("HGETALL", session_key),
            )
            if sealed is not None:
                fence.forget()
                return Seal.from_bytes(sealed)
            if not raw:
                fence.forget()
                raise NoSuchSession(session=self.session)
            record = read_record(dict(zip(raw[::2], raw[1::2], strict=True)))
            if record.state.is_terminal:
                fence.forget()
                raise SessionOver(session=self.session, state=record.state.value)
            records = smst.collapse(self.leaves.read_index(length - length % smst.RECORD_SIZE))
            if length != smst.RECORD_SIZE * count or len(records) != count:
                self.leaves.rebuild(fence)
                continue
            if refused := self._unpayable(records):
                fence.execute(*self._take_out(records, refused))
                continue
            seal = Seal(length, count)
            if fence.execute(*self._write(seal, session_key)) is not None:
                return seal

    def _write(self, seal: Seal, session_key: str) -> list[Command]:
        """Return the seal's transaction; from here on the session's weight is the record's."""
        fields = snapshot_of(self.supplier, self.facts.header, self.facts).to_fields()
        del fields["state"]
        return [
            ("SET", self.leaves.seal_key, seal.to_bytes(), "NX", "EX", BACKSTOP_TTL_S),
            ("HSET", session_key, *(part for item in fields.items() for part in item)),
            *(
                ("EXPIRE", key, BACKSTOP_TTL_S)
                for key in (session_key, self.leaves.leaves_key, self.leaves.index_key)
            ),
        ]

    def _unpayable(self, records: list[bytes]) -> dict[Path, str]:
        """Return leaves that were written unchecked and must not be claimed, with their counter's name.

        Only leaves of another weight: those from a time when the chain could not be asked.
        """
        paths = smst.other_weight(records, self.facts.weight)
        refused = {}
        for path, value in zip(paths, self.leaves.fetch_many(paths), strict=True):
            relay_bytes, _ = smst.split_leaf_value(value)
            relay = decode_strict(Relay, relay_bytes)
            if relay.req.meta.session_header != self.facts.header:
                refused[path] = "dead"
            elif not is_applicable(relay_hash(relay_bytes), self.facts.target or b""):
                refused[path] = "below"
        return refused

    def _take_out(self, records: list[bytes], refused: dict[Path, str]) -> list[Command]:
        commands = self.leaves.remove(records, list(refused))
        counters = (
            self.node.keys.session(self.supplier, self.session),
            self.node.keys.totals(self.supplier),
        )
        for key in counters:
            commands += [("HINCRBY", key, name, 1) for name in refused.values()]
            commands.append(("HINCRBY", key, "leaves", -len(refused)))
        return commands
