"""What the chain paid: the events of the block that settles a session (spec/chain.md §6.4, §8; decisions.md F).

Attributes are the proto3 JSON of the event's fields. A penalty names no session, but supplier, application, service
and session end, of which there is one session.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pocket_chain.node import Event
from pocket_protocol.errors import Malformed
from relay_store.session_state import SessionSnapshot, SessionState

_PREFIX: Final = "pocket.tokenomics."
SETTLED: Final = f"{_PREFIX}EventClaimSettled"
EXPIRED: Final = f"{_PREFIX}EventClaimExpired"
SLASHED: Final = f"{_PREFIX}EventSupplierSlashed"
DISCARDED: Final = f"{_PREFIX}EventClaimDiscarded"
UNKNOWN: Final = "unknown"  # the claim is gone, and the block that settled it cannot be read any more
_SUPPLIER_REWARD: Final = "SUPPLIER_SHAREHOLDER_REWARD"
# What the reference calls a settled claim, by its proof's status; without a proof it has no word.
_STATUS: Final = {0: "settled", 1: "settled_proven", 2: "settled_invalid", 3: "settled_expired"}
_VALIDATED: Final = 1
_MAX_DIGITS: Final = 40


class UnreadableEvent(Malformed):
    """A settlement event whose attributes are not what the network's are."""

    reason = "unreadable_event"
    summary = "settlement event cannot be read"


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one claim. Amounts in uPOKT."""

    outcome: str  # settled…, expired, discarded, unknown
    height: int
    claimed_upokt: int = 0
    settled_upokt: int = 0
    cut_upokt: int = 0  # beyond the application's budget
    supplier_upokt: int = 0  # to the supplier's shareholders
    slashed_upokt: int = 0
    relays: int = 0
    compute_units: int = 0
    reason: str = ""
    proved: bool = False

    @property
    def state(self) -> SessionState:
        """The terminal state of a session that was still live."""
        if self.outcome == UNKNOWN:
            return SessionState.CLAIM_MISSING
        if not self.outcome.startswith("settled"):
            return SessionState.PROOF_WINDOW_CLOSED
        return SessionState.PROVED if self.proved else SessionState.PROBABILISTIC_PROVED

    def to_fields(self) -> dict[str, Any]:
        """Return the ledger fields of the session's record."""
        return {
            "settlement_outcome": self.outcome,
            "settlement_height": self.height,
            "settled_upokt": self.settled_upokt,
            "cut_upokt": self.cut_upokt,
            "supplier_upokt": self.supplier_upokt,
            "slashed_upokt": self.slashed_upokt,
            **({"expired_upokt": self.claimed_upokt} if self.outcome in ("expired", "discarded") else {}),
            **({"settlement_reason": self.reason} if self.reason else {}),
        }


@dataclass(frozen=True, slots=True)
class _Fields:
    """One event's attributes, read as JSON when they are asked for."""

    event: Event
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, event: Event) -> _Fields:
        return cls(event, dict(event.attributes))

    def value(self, name: str) -> Any:
        try:
            return json.loads(self.values.get(name, "null"))
        except (ValueError, RecursionError) as error:
            raise UnreadableEvent(event=self.event.type, attribute=name) from error

    def text(self, name: str) -> str:
        value = self.value(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """An integer of either width: 64-bit ones are quoted."""
        value = self.value(name)
        try:
            return int(value or 0)
        except (TypeError, ValueError, OverflowError) as error:
            raise UnreadableEvent(event=self.event.type, attribute=name) from error

    def upokt(self, name: str) -> int:
        return _upokt(self.text(name), self.event.type, name)

    def is_about(self, snapshot: SessionSnapshot) -> bool:
        return (
            self.text("supplier_operator_address") == snapshot.supplier
            and self.text("application_address") == snapshot.application
            and self.text("service_id") == snapshot.service_id
            and self.number("session_end_block_height") == snapshot.end_height
        )


def find_settlement(snapshot: SessionSnapshot, height: int, events: Iterable[Event]) -> Settlement | None:
    """Return what the block at `height` did to the session's claim, None when nothing. Raises `UnreadableEvent`."""
    found: Settlement | None = None
    slashed = 0
    for event in events:
        if event.type not in (SETTLED, EXPIRED, SLASHED, DISCARDED):
            continue
        fields = _Fields.of(event)
        if not fields.is_about(snapshot):
            continue
        if event.type == SLASHED:
            slashed += fields.upokt("proof_missing_penalty")
        else:
            found = _read(event.type, fields, height)
    return found if found is None else replace(found, slashed_upokt=slashed)


def _read(kind: str, fields: _Fields, height: int) -> Settlement:
    status = fields.number("claim_proof_status_int")
    if kind == DISCARDED:
        return Settlement("discarded", height, reason=fields.text("error")[:200])
    claimed, relays = fields.upokt("claimed_upokt"), fields.number("num_relays")
    compute_units = fields.number("num_claimed_compute_units")
    if kind == EXPIRED:
        reason = fields.text("expiration_reason").lower()
        return Settlement(
            "expired", height, claimed, relays=relays, compute_units=compute_units, reason=reason
        )
    settled = fields.upokt("settled_upokt")
    return Settlement(
        outcome=_STATUS.get(status, "settled"),
        height=height,
        claimed_upokt=claimed,
        settled_upokt=settled,
        cut_upokt=claimed - settled,
        supplier_upokt=_supplier_share(fields),
        relays=relays,
        compute_units=compute_units,
        proved=status == _VALIDATED,
    )


def _supplier_share(fields: _Fields) -> int:
    rewards = fields.value("reward_distribution_detailed") or []
    try:
        return sum(
            _upokt(reward["amount"], fields.event.type, "reward_distribution_detailed")
            for reward in rewards
            if _SUPPLIER_REWARD in reward["op_reason"]
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise UnreadableEvent(event=fields.event.type, attribute="reward_distribution_detailed") from error


def _upokt(text: str, event: str, attribute: str) -> int:
    """Read a coin as the chain prints it; "" is none."""
    digits = text.removesuffix("upokt")
    if not digits:
        return 0
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        raise UnreadableEvent(event=event, attribute=attribute)
    return int(digits)
