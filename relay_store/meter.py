"""The relay meter: how much of its limit each (session, supplier) has consumed (decisions D6, spec/relayer.md §3).

`…:consumed` is a counter in uPOKT that gets its life time before it counts, so neither a concurrent first
relay can be wiped nor a recreated counter live for ever. `…:meta` is the reference's description of the limit;
it is written when a process first sees the session, and again whenever the counter turns out to be new (the
store was emptied) or the limit has changed.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pocket_protocol.errors import Refused, Unavailable
from relay_store.group_commit import GroupCommit, OutcomeUnknown
from relay_store.keys import Keys

REMEMBERED_SESSIONS: Final = 8192  # (session, supplier) pairs whose meta this process has written
# Only an existing counter is reduced: one that is gone took the reservation with it.
_REFUND: Final = (
    "if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('DECRBY', KEYS[1], ARGV[1]) end"
)


class StakeExhausted(Refused):
    """The session's limit is used up. The wording of the answer is what gateways look for."""

    reason = "stake_exhausted"
    summary = "session relay limit reached: claimable portion fully consumed"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one (session, supplier) may consume, and what that was computed from."""

    session_id: str
    supplier: str
    application: str
    service_id: str
    session_end_height: int
    limit_upokt: int
    factor: float | None
    app_stake_upokt: int

    def meta(self, created_at_s: int) -> bytes:
        """The reference's meta document."""
        factor = self.factor or 0.0
        return json.dumps(
            {
                "session_id": self.session_id,
                "app_address": self.application,
                "service_id": self.service_id,
                "supplier_address": self.supplier,
                "session_end_height": self.session_end_height,
                "max_stake_upokt": self.limit_upokt,
                "created_at": created_at_s,
                "created_with_factor": int(factor) if factor == int(factor) else factor,
                "created_with_app_stake": self.app_stake_upokt,
            },
            separators=(",", ":"),
        ).encode()


@dataclass(frozen=True, slots=True)
class Reservation:
    """A relay's share of its session's limit. Not `charged`: there is nothing to give back."""

    session_id: str
    supplier: str
    cost_upokt: int
    charged: bool


class RelayMeter:
    """Reserves and refunds through the worker's group commit. `wall_clock` gives unix seconds."""

    def __init__(
        self,
        commits: GroupCommit,
        keys: Keys,
        *,
        ttl_s: int,
        wall_clock: Callable[[], float] = time.time,
        count_error: Callable[[str], None] = lambda operation: None,
    ) -> None:
        self._commits = commits
        self._keys = keys
        self._ttl_s = ttl_s
        self._wall_clock = wall_clock
        self._count_error = count_error
        self._lock = threading.Lock()
        self._described: OrderedDict[tuple[str, str], Allowance] = OrderedDict()

    def reserve(self, allowance: Allowance, cost_upokt: int) -> Reservation:
        """Charge one relay, atomically against every other front end.

        Raises `StakeExhausted` (the charge is undone), or the `Unavailable` of the store when nothing was
        charged. A charge whose outcome is not known counts as made and cannot be refunded.
        """
        pair = (allowance.session_id, allowance.supplier)
        consumed_key = self._keys.meter_consumed(*pair)
        try:
            replies = self._commits.run(
                ("SET", consumed_key, 0, "EX", self._ttl_s, "NX"), ("INCRBY", consumed_key, cost_upokt)
            )
        except OutcomeUnknown:
            self._count_error("increment consumed")
            return Reservation(*pair, cost_upokt, charged=False)
        except Unavailable:
            self._count_error("increment consumed")
            raise
        reservation = Reservation(*pair, cost_upokt, charged=True)
        self._describe(pair, allowance, is_new=replies[0] is not None)
        if replies[1] > allowance.limit_upokt:
            self.refund(reservation)
            raise StakeExhausted(limit_upokt=allowance.limit_upokt)
        return reservation

    def refund(self, reservation: Reservation) -> None:
        """Give a reservation back. While the store is away it stays charged: the session gets less, never more."""
        if not reservation.charged:
            return
        key = self._keys.meter_consumed(reservation.session_id, reservation.supplier)
        try:
            self._commits.run(("EVAL", _REFUND, 1, key, reservation.cost_upokt))
        except Unavailable:
            self._count_error("refund")

    def active_sessions(self, height: int) -> dict[tuple[str, str], int]:
        """Return how many sessions metered by this process have not ended at `height`, by (supplier, service)."""
        with self._lock:
            allowances = list(self._described.values())
        return dict(
            Counter(
                (allowance.supplier, allowance.service_id)
                for allowance in allowances
                if allowance.session_end_height >= height
            )
        )

    def hear_cleanup(self, payload: bytes) -> None:
        """Take a message of the clean-up channel, `<session>|<supplier>`: the session is over, drop its meter.

        Anything else is ignored.
        """
        session_id, bar, supplier = payload.decode("utf-8", "replace").partition("|")
        if not (session_id and bar and supplier):
            return
        with self._lock:
            self._described.pop((session_id, supplier), None)
        meta, consumed = (
            self._keys.meter_meta(session_id, supplier),
            self._keys.meter_consumed(session_id, supplier),
        )
        active = self._keys.meter_active_sessions()
        for command in (("DEL", meta), ("DEL", consumed), ("SREM", active, f"{session_id}|{supplier}")):
            try:
                self._commits.run(command)
            except Unavailable:
                self._count_error("cleanup")

    def _describe(self, pair: tuple[str, str], allowance: Allowance, *, is_new: bool) -> None:
        """Write the meta document when the store cannot have it, or has an older limit."""
        known = self._described.get(pair)
        if known is allowance and not is_new:
            return
        changed = known is not None and known != allowance
        with self._lock:
            self._described[pair] = allowance
            self._described.move_to_end(pair)
            while len(self._described) > REMEMBERED_SESSIONS:
                self._described.popitem(last=False)
        if known == allowance and not is_new:
            return
        meta_key, active_key = self._keys.meter_meta(*pair), self._keys.meter_active_sessions()
        document = allowance.meta(int(self._wall_clock()))
        commands: list[tuple[Any, ...]] = [("SET", meta_key, document, "EX", self._ttl_s, "NX")]
        if changed:
            commands.append(("SET", meta_key, document, "XX", "KEEPTTL"))
        try:
            self._commits.run(*commands)
            self._commits.run(("SADD", active_key, "|".join(pair)), ("EXPIRE", active_key, self._ttl_s))
        except Unavailable:
            self._count_error("get session meter")
