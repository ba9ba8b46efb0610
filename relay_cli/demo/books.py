"""The miner's books against the client's count and the chain's events: what `demo` ends with (decisions.md F)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mining_tasks.ledger import Row
from relay_cli.demo.chain_watch import ClaimKey, ClaimOnChain

MAX_GAS_UPOKT = 1000  # of one supplier's transactions; each costs one or a few


@dataclass(slots=True)
class BookRow:
    """One session of one supplier, told by three: client, miner, chain."""

    supplier: str
    service_id: str
    session_end: int
    answered: int = 0
    wal: int = 0
    leaves: int = 0
    duplicates: int = 0
    late: int = 0
    below: int = 0
    dead: int = 0
    state: str = "absent"
    num_relays: int = 0
    claimed_upokt: int = 0
    settled_upokt: int = 0
    booked_upokt: int = 0  # settled, as the miner read it
    supplier_upokt: int = 0
    proof_required: bool | None = None
    proved: bool = False
    problems: list[str] = field(default_factory=list)


def make_rows(
    answered: Mapping[ClaimKey, int],
    books: Iterable[Row],
    claims: Iterable[ClaimOnChain],
) -> list[BookRow]:
    """Join the three accounts, one row for each session any of them knows of, each with what does not fit."""
    rows: dict[ClaimKey, BookRow] = {}

    def row(key: ClaimKey) -> BookRow:
        return rows.setdefault(key, BookRow(*key))

    for key, count in answered.items():
        row(key).answered = count
    for book in books:
        one = row((book.supplier, book.service, book.session_end))
        one.leaves, one.duplicates = book.leaves, book.duplicates
        one.late, one.below, one.dead = book.late, book.below, book.dead
        one.wal = one.leaves + one.duplicates + one.late + one.below + one.dead
        one.state = book.state
        one.booked_upokt = book.settled_upokt
        one.problems += book.problems()
    for claim in claims:
        one = row(claim.key)
        one.num_relays, one.claimed_upokt = claim.num_relays, claim.claimed_upokt
        one.settled_upokt, one.supplier_upokt = claim.settled_upokt, claim.paid_to_supplier_upokt
        one.proof_required, one.proved = claim.proof_required, claim.proof_valid
        one.problems += claim.failures
    for one in rows.values():
        one.problems += _disagreements(one)
    return [rows[key] for key in sorted(rows, key=lambda key: (key[2], key[1], key[0]))]


def _disagreements(row: BookRow) -> list[str]:
    problems = []
    if row.answered != row.wal:
        problems.append(f"{row.answered} relays were answered, {row.wal} are in the miner's books")
    if row.wal != row.leaves:
        problems.append(f"of {row.wal} relays {row.wal - row.leaves} did not become leaves")
    if row.leaves != row.num_relays:
        problems.append(f"{row.leaves} leaves, but the claim counts {row.num_relays}")
    if row.claimed_upokt != row.settled_upokt:
        problems.append(f"claimed {row.claimed_upokt} uPOKT, settled {row.settled_upokt}")
    if row.booked_upokt != row.settled_upokt:
        problems.append(f"settled {row.settled_upokt} uPOKT, in the miner's books {row.booked_upokt}")
    if row.proof_required and not row.proved:
        problems.append("a proof was required and none was valid")
    return problems


@dataclass(frozen=True, slots=True)
class Balance:
    """One supplier's account before and after, and what explains the difference."""

    supplier: str
    before_upokt: int
    after_upokt: int
    earned_upokt: int  # its part of what was settled
    proof_fees_upokt: int

    @property
    def gas_upokt(self) -> int:
        """What is left to explain: the fees of its transactions."""
        return self.before_upokt + self.earned_upokt - self.proof_fees_upokt - self.after_upokt


@dataclass(slots=True)
class Report:
    """How the demo ended. `seconds` is all of it, from the first process to the last settlement."""

    rows: list[BookRow]
    failed_relays: dict[str, int]
    balances_before: dict[str, int]
    balances_after: dict[str, int]
    proof_fee_upokt: int
    restarts: dict[str, int]
    seconds: float

    @property
    def problems(self) -> list[str]:
        """Everything that keeps the books from closing; empty when all is well."""
        found = [f"{count} relays failed: {text}" for text, count in self.failed_relays.items()]
        for row in self.rows:
            where = f"{row.service_id}, session ending at {row.session_end}, {row.supplier}"
            found += [f"{where}: {problem}" for problem in row.problems]
        if not any(row.proof_required for row in self.rows):
            found.append("no settled session needed a proof")
        if all(row.proof_required for row in self.rows):
            found.append("every settled session needed a proof")
        for balance in self.balances:
            if not 0 <= balance.gas_upokt <= MAX_GAS_UPOKT:
                found.append(
                    f"{balance.supplier}: {balance.gas_upokt} uPOKT between the balance and what was settled"
                )
        return found

    @property
    def balances(self) -> list[Balance]:
        """What each supplier's account says."""
        return [
            Balance(
                supplier=supplier,
                before_upokt=before,
                after_upokt=self.balances_after.get(supplier, 0),
                earned_upokt=sum(row.supplier_upokt for row in self.rows if row.supplier == supplier),
                proof_fees_upokt=self.proof_fee_upokt
                * sum(row.proved for row in self.rows if row.supplier == supplier),
            )
            for supplier, before in self.balances_before.items()
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "sessions": [asdict(row) for row in self.rows],
            "totals": {
                name: sum(getattr(row, name) for row in self.rows)
                for name in ("answered", "wal", "leaves", "num_relays", "claimed_upokt", "settled_upokt")
            },
            "balances": [{**asdict(balance), "gas_upokt": balance.gas_upokt} for balance in self.balances],
            "restarts": self.restarts,
            "seconds": round(self.seconds, 1),
        }
