"""What became of every relay and every uPOKT, per session and in total (decisions.md F).

entries of the stream = leaves + duplicates + late + below + dead + pending
leaves                = relays of the claim = its compute units / compute units per relay
claimed uPOKT         = settled + cut by the chain + expired + pending
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from mining_tasks.outcomes import amount
from mining_tasks.phase import CLAIM, PROOF
from mining_tasks.settlement import UNKNOWN
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.relay_stream import stream_length
from relay_store.session_state import SessionRecord, SessionState
from relay_store.sessions import Sessions

_UNPAID = (SessionState.CLAIM_WINDOW_CLOSED, SessionState.CLAIM_TX_ERROR, SessionState.CLAIM_MISSING)


@dataclass(frozen=True, slots=True)
class Row:
    """One session's books. Amounts in uPOKT."""

    supplier: str
    session: str
    service: str
    session_end: int
    state: str
    leaves: int
    duplicates: int
    late: int
    below: int
    dead: int
    claimed_relays: int
    claimed_compute_units: int
    cupr: int
    claimed_upokt: int  # of a claim that was made
    settled_upokt: int
    cut_upokt: int
    expired_upokt: int
    pending_upokt: int
    forgone_upokt: int  # not claimed by policy
    lost_upokt: int  # not claimed because the window was missed
    supplier_upokt: int
    slashed_upokt: int
    outcome: str
    reason: str

    @classmethod
    def of(cls, record: SessionRecord) -> Row:
        """Return the books of a session's record."""
        snapshot, counters = record.snapshot, record.counters
        outcome = _text(record, "settlement_outcome")
        worth = amount(record, "claimed_upokt")
        made = record.state not in (*_UNPAID, SessionState.ACTIVE, SessionState.CLAIM_SKIPPED)
        claimed = worth if made else 0
        settled, cut = amount(record, "settled_upokt"), amount(record, "cut_upokt")
        return cls(
            supplier=snapshot.supplier,
            session=snapshot.session_id,
            service=snapshot.service_id,
            session_end=snapshot.end_height,
            state=record.state.value,
            **{name: counters[name] for name in ("leaves", "duplicates", "late", "below", "dead")},
            claimed_relays=amount(record, "claim_relays"),
            claimed_compute_units=amount(record, "claim_compute_units"),
            cupr=snapshot.cupr,
            claimed_upokt=claimed,
            settled_upokt=settled,
            cut_upokt=cut,
            expired_upokt=amount(record, "expired_upokt"),
            pending_upokt=claimed if outcome in ("", UNKNOWN) else 0,
            forgone_upokt=amount(record, "forgone_upokt"),
            lost_upokt=worth if record.state in _UNPAID else 0,
            supplier_upokt=amount(record, "supplier_upokt"),
            slashed_upokt=amount(record, "slashed_upokt"),
            outcome=outcome,
            reason=_reason(record),
        )

    def problems(self) -> list[str]:
        """Return the identities that do not hold, in words."""
        found = []
        if self.claimed_relays and self.leaves != self.claimed_relays:
            found.append(f"{self.leaves} leaves, {self.claimed_relays} relays claimed")
        if self.claimed_compute_units != self.claimed_relays * self.cupr:
            found.append(
                f"{self.claimed_compute_units} compute units for {self.claimed_relays} relays of {self.cupr}"
            )
        parts = self.settled_upokt + self.cut_upokt + self.expired_upokt + self.pending_upokt
        if self.claimed_upokt != parts:
            found.append(f"claimed {self.claimed_upokt} uPOKT, accounted for {parts}")
        return found


_SUMMED = tuple(
    field.name
    for field in fields(Row)
    if field.type in ("int", int) and field.name not in ("session_end", "cupr")
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books of one supplier: its sessions, its stream's entries so far, and what still waits."""

    supplier: str
    rows: tuple[Row, ...]
    entries: dict[str, int]  # leaves, duplicates, late, below, dead over all time
    pending: int  # entries waiting in the stream
    unreadable: tuple[str, ...] = ()  # sessions whose record is damaged

    @property
    def wal(self) -> int:
        """How many entries the stream has had."""
        names = ("leaves", "duplicates", "late", "below", "dead")
        return sum(self.entries.get(name, 0) for name in names) + self.pending

    def totals(self) -> dict[str, int]:
        """Return the sums over all sessions on record."""
        return {name: sum(getattr(row, name) for row in self.rows) for name in _SUMMED}

    def problems(self) -> list[str]:
        """Return every identity that does not hold, and every session nothing is known of."""
        found = [f"session {row.session}: {text}" for row in self.rows for text in row.problems()]
        return found + [f"session {session}: its record cannot be read" for session in self.unreadable]

    def to_json(self) -> dict[str, Any]:
        """Return everything as one document."""
        return {
            "supplier": self.supplier,
            "wal": self.wal,
            "pending": self.pending,
            "entries": self.entries,
            "sessions": [asdict(row) for row in self.rows],
            "totals": self.totals(),
            "problems": self.problems(),
        }


def read_ledger(store: Store, keys: Keys, supplier: str) -> Ledger:
    """Return a supplier's books, oldest session first. Raises `StoreUnavailable`."""
    sessions, unreadable = Sessions(store, keys, supplier), list[str]()
    records = sessions.read_many(
        [session for session, _ in sessions.listed()],
        unreadable=lambda session, error: unreadable.append(session),
    )
    return Ledger(
        supplier=supplier,
        rows=tuple(Row.of(record) for record in records if record is not None),
        entries=sessions.totals(),
        pending=stream_length(store, keys, supplier),
        unreadable=tuple(unreadable),
    )


def grand_total(ledgers: Iterable[Ledger]) -> dict[str, int]:
    """Return the sums over several suppliers, `wal` and `pending` among them."""
    total = dict.fromkeys(("wal", "pending", *_SUMMED), 0)
    for ledger in ledgers:
        total["wal"] += ledger.wal
        total["pending"] += ledger.pending
        for name, value in ledger.totals().items():
            total[name] += value
    return total


def _reason(record: SessionRecord) -> str:
    """Return why a session is unpaid, "" when it is not or nothing is known."""
    reason = _text(record, "skip_reason") or _text(record, "settlement_reason")
    refused = {SessionState.PROVING: PROOF, SessionState.CLAIMING: CLAIM} | dict.fromkeys(_UNPAID, CLAIM)
    if not reason and record.state in refused:
        return _text(record, refused[record.state].error_field)
    return reason


def _text(record: SessionRecord, name: str) -> str:
    return record.more.get(name, b"").decode(errors="replace")
