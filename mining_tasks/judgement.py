"""What one stream entry is worth, before the store is asked: pure, one verdict per entry (decisions.md B2, B4)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Final

from mining_tasks.session_facts import SessionFacts, SessionLookup
from pocket_protocol import smst
from pocket_protocol.difficulty import is_applicable
from pocket_protocol.errors import Malformed, PocketError, Refused
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.session import check_header
from pocket_protocol.stream_entry import StreamEntry, decode_stream_entry
from pocket_protocol.types import ComputeUnits, Height
from pocket_protocol.wire import decode_strict
from relay_store.dead import KILLS_WORKER
from relay_store.leaves import Leaf
from relay_store.relay_stream import Entry
from relay_store.session_state import SessionSnapshot

UNKNOWN_WEIGHT: Final = ComputeUnits(0)  # the root is computed with the right one (decisions.md B4)
_SESSION_ID: Final = re.compile(r"[0-9a-f]{64}")


class Fate(enum.Enum):
    """Where an entry goes. Ledger: wal = leaves + duplicates + late + below + dead + pending (decisions.md F)."""

    NEW = "leaves"
    DUPLICATE = "duplicates"
    LATE = "late"
    BELOW = "below"
    DEAD = "dead"
    GONE = "gone"  # deleted while pending: acknowledged, never counted


class WrongSupplier(Refused):
    """An entry or relay of another supplier than the stream's."""

    reason = "wrong_supplier"
    summary = "relay is for another supplier than its stream"


class SessionMismatch(Refused):
    """An entry whose relay, or a session whose record, names another session than it should."""

    reason = "session_mismatch"
    summary = "session header differs"


class BadSessionId(Malformed):
    """A session id that is not 64 hex characters."""

    reason = "bad_session_id"
    summary = "session id is not 64 lower-case hex characters"


@dataclass(slots=True)
class Judged:
    """An entry with its fate so far. `leaf` is set for NEW; `session` where one could be read."""

    entry: Entry
    fate: Fate
    session: str = ""
    reason: str = ""
    detail: str = ""
    leaf: Leaf | None = None
    other_weight: bool = False  # the writer's idea of the weight is not the chain's


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A session of this batch: its snapshot for the first leaf, and the chain's facts, None if unknown now."""

    snapshot: SessionSnapshot
    facts: SessionFacts | None


@dataclass(slots=True)
class Judge:
    """Judges the entries of one batch of one supplier; asks for each session's facts once."""

    supplier: str
    lookup: SessionLookup
    sessions: dict[str, KnownSession] = field(default_factory=dict)
    _headers: dict[bytes, KnownSession | PocketError] = field(default_factory=dict)

    def judge(self, entry: Entry) -> Judged:
        """Return NEW, BELOW, DEAD or GONE; what only the store knows is decided later. Never raises."""
        if entry.body is None:
            return Judged(entry, Fate.GONE)
        if entry.kills_workers:
            return Judged(entry, Fate.DEAD, reason=KILLS_WORKER, detail=f"delivered {entry.deliveries} times")
        session = ""
        try:
            message = decode_stream_entry(entry.body)
            session = message.session_id if _SESSION_ID.fullmatch(message.session_id) else ""
            known = self._session_of(message)
        except (Malformed, Refused) as error:
            return Judged(entry, Fate.DEAD, session, error.reason, str(error))
        return self._weigh(entry, message, known)

    def _weigh(self, entry: Entry, message: StreamEntry, known: KnownSession) -> Judged:
        session, facts = known.snapshot.session_id, known.facts
        relay = relay_hash(message.relay_bytes)
        if facts is not None and facts.target is not None and not is_applicable(relay, facts.target):
            return Judged(entry, Fate.BELOW, session)
        weight = facts.weight if facts is not None else UNKNOWN_WEIGHT
        path = smst.path_of(relay)
        leaf = Leaf(
            path,
            smst.leaf_value(message.relay_bytes, weight),
            smst.leaf_record(path, message.relay_bytes, weight),
        )
        other = bool(weight) and message.compute_units_per_relay != weight
        return Judged(entry, Fate.NEW, session, leaf=leaf, other_weight=other)

    def _session_of(self, message: StreamEntry) -> KnownSession:
        """Check an entry against its own relay and the relay's session against the chain."""
        if message.supplier_operator_address != self.supplier:
            raise WrongSupplier(entry=message.supplier_operator_address)
        relay = decode_strict(Relay, message.relay_bytes)
        if relay.req.meta.supplier_operator_address != self.supplier:
            raise WrongSupplier(relay=relay.req.meta.supplier_operator_address)
        header = relay.req.meta.session_header
        header_bytes = header.SerializeToString()
        if relay.res.meta.session_header.SerializeToString() != header_bytes:
            raise SessionMismatch("request and response name different sessions")
        if (
            message.session_id != header.session_id
            or message.session_end_height != header.session_end_block_height
            or message.service_id != header.service_id
            or message.application_address != header.application_address
            or message.session_start_height not in (0, header.session_start_block_height)
        ):
            raise SessionMismatch("entry and relay name different sessions", session=header.session_id)
        known = self._headers.get(header_bytes)
        if known is None:
            known = self._headers[header_bytes] = self._look_up(header)
        if isinstance(known, PocketError):
            raise known
        return known

    def _look_up(self, header: SessionHeader) -> KnownSession | PocketError:
        try:
            if not _SESSION_ID.fullmatch(header.session_id):
                raise BadSessionId(session=header.session_id[:80])
            facts = self.lookup.facts(self.supplier, header)
            if facts is not None:
                check_header(facts.header, header)
            known = KnownSession(snapshot_of(self.supplier, header, facts), facts)
            if not self.sessions.setdefault(header.session_id, known).snapshot.has_header_of(known.snapshot):
                raise SessionMismatch("two headers share a session id", session=header.session_id)
        except (Malformed, Refused) as error:
            return error
        return known


def snapshot_of(supplier: str, header: SessionHeader, facts: SessionFacts | None) -> SessionSnapshot:
    """Return what is written about a session with its first leaf; 0 and "" where the facts are unknown."""
    windows = facts.windows if facts is not None else None
    return SessionSnapshot(
        session_id=header.session_id,
        supplier=supplier,
        application=header.application_address,
        service_id=header.service_id,
        start_height=header.session_start_block_height,
        end_height=header.session_end_block_height,
        claim_open=windows.claim_open if windows else 0,
        claim_close=windows.claim_close if windows else 0,
        proof_open=windows.proof_open if windows else 0,
        proof_close=windows.proof_close if windows else 0,
        cupr=(facts.cupr or 0) if facts else 0,
        target=(facts.target or b"").hex() if facts else "",
    )


def is_too_late(facts: SessionFacts | None, height: Height) -> bool:
    """Whether no claim can include a new leaf any more: the next block is after the claim window."""
    return facts is not None and facts.windows is not None and height >= facts.windows.claim_close
