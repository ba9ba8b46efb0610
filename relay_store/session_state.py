"""The states of a session (spec/miner.md §3.2) and what it is known by."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from pocket_protocol.errors import Malformed


class SessionState(enum.StrEnum):
    """Where a session stands between its first relay and its outcome; the reference's names."""

    ACTIVE = "active"
    CLAIMING = "claiming"
    CLAIMED = "claimed"
    PROVING = "proving"
    PROVED = "proved"
    PROBABILISTIC_PROVED = "probabilistic_proved"
    CLAIM_WINDOW_CLOSED = "claim_window_closed"
    CLAIM_TX_ERROR = "claim_tx_error"
    CLAIM_MISSING = "claim_missing"
    CLAIM_SKIPPED = "claim_skipped"
    PROOF_WINDOW_CLOSED = "proof_window_closed"
    PROOF_TX_ERROR = "proof_tx_error"

    @property
    def is_terminal(self) -> bool:
        """Whether the session is over: such a state is never overwritten."""
        return self not in LIVE_STATES


LIVE_STATES: Final = frozenset(
    (SessionState.ACTIVE, SessionState.CLAIMING, SessionState.CLAIMED, SessionState.PROVING)
)
TERMINAL_STATES: Final = frozenset(state for state in SessionState if state not in LIVE_STATES)
COUNTERS: Final = ("leaves", "duplicates", "late", "below", "dead", "weight_mismatch")


class UnreadableSession(Malformed):
    """A session hash without the fields every session has."""

    reason = "unreadable_session"
    summary = "session record cannot be read"


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """What is written once, with the session's first leaf. 0 and "" stand for not known then."""

    session_id: str
    supplier: str
    application: str
    service_id: str
    start_height: int
    end_height: int
    claim_open: int = 0
    claim_close: int = 0
    proof_open: int = 0
    proof_close: int = 0
    cupr: int = 0  # compute units per relay at the session's start
    target: str = ""  # hex of the difficulty target at the session's start

    def to_fields(self) -> dict[str, str]:
        """Return the hash fields of a new session: the snapshot and its first state."""
        snapshot = {field.name: str(getattr(self, field.name)) for field in fields(self)}
        return {**snapshot, "state": SessionState.ACTIVE.value}

    def has_header_of(self, other: SessionSnapshot) -> bool:
        """Whether both name the same session in every field of its header."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("session_id", "application", "service_id", "start_height", "end_height")
        )


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session hash as it is now. `more` holds every other field (claim, proof, settlement)."""

    snapshot: SessionSnapshot
    state: SessionState
    counters: Mapping[str, int]
    more: Mapping[str, bytes]


def read_state(raw: bytes) -> SessionState:
    """Read the `state` field of a session hash. Raises `UnreadableSession`."""
    try:
        return SessionState(raw.decode())
    except ValueError as error:
        raise UnreadableSession(state=raw[:40]) from error


_NUMBERS: Final = frozenset(field.name for field in fields(SessionSnapshot) if field.type in ("int", int))


def read_record(raw: Mapping[bytes, bytes]) -> SessionRecord:
    """Read the fields of a session hash. Raises `UnreadableSession`."""
    try:
        values = {name.decode(): value for name, value in raw.items()}
        known: dict[str, Any] = {
            field.name: int(values.pop(field.name, b"0"))
            if field.name in _NUMBERS
            else values.pop(field.name, b"").decode()
            for field in fields(SessionSnapshot)
        }
        state = read_state(values.pop("state", b""))
        counters = {name: int(values.pop(name, b"0")) for name in COUNTERS}
    except ValueError as error:
        raise UnreadableSession(fields=b", ".join(sorted(raw)).decode(errors="replace")) from error
    return SessionRecord(SessionSnapshot(**known), state, counters, values)
