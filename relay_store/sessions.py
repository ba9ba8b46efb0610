"""Session records: listed by end height, moved from state to state by compare-and-set (decisions.md A).

A record is created with the session's first leaf, in the transaction that writes the leaf
(`mining_tasks.accumulate`). Each later change names the state it expects, so a terminal state stays, and
goes through only as the supplier's owner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pocket_protocol.errors import Refused
from relay_store.connection import Store
from relay_store.fence import NotOwner
from relay_store.keys import CLAIM_PHASE, PROOF_PHASE, OwnKeys
from relay_store.scripts import ask_each, run_script
from relay_store.session_state import (
    TERMINAL_STATES,
    SessionRecord,
    SessionState,
    UnreadableSession,
    read_record,
)
from relay_store.store_errors import store_errors

BACKSTOP_TTL_S: Final = 14 * 86_400  # garbage only: a session in use is refreshed by every write
RETENTION_S: Final = 7 * 86_400


class TerminalState(Refused):
    """An attempt to move a session out of a terminal state."""

    reason = "terminal_state"
    summary = "a terminal state is never overwritten"


class Sessions:
    """The sessions of one supplier. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, keys: OwnKeys, supplier: str) -> None:
        self._store = store
        self._keys = keys
        self._supplier = supplier

    def listed(self, *, ended_by: int | None = None) -> list[tuple[str, int]]:
        """Return (session id, end height), earliest end first; only those that ended by a height if given."""
        highest: Any = "+inf" if ended_by is None else ended_by
        with store_errors():
            rows = self._store.client.zrangebyscore(
                self._keys.sessions(self._supplier), "-inf", highest, withscores=True
            )
        return [(session.decode(), int(end)) for session, end in rows]

    def read(self, session: str) -> SessionRecord | None:
        """Return a session's record, None when there is none. Raises `UnreadableSession`."""
        return self.read_many((session,))[0]

    def read_many(
        self,
        sessions: Sequence[str],
        *,
        unreadable: Callable[[str, UnreadableSession], None] | None = None,
    ) -> list[SessionRecord | None]:
        """Return the records of several sessions in one round trip.

        A damaged record is told to `unreadable` and stands as None; without it raises `UnreadableSession`.
        """
        node = self._store.node(self._keys.sessions(self._supplier))
        with self._store.answers():
            pipeline = node.pipeline(transaction=False)
            for record in self._records(sessions):
                pipeline.hgetall(record)
            raws = pipeline.execute()
        records: list[SessionRecord | None] = []
        for session, raw in zip(sessions, raws, strict=True):
            try:
                records.append(read_record(raw) if raw else None)
            except UnreadableSession as error:
                if unreadable is None:
                    raise
                unreadable(session, error)
                records.append(None)
        return records

    def transition(
        self,
        session: str,
        expected: SessionState,
        new: SessionState,
        *,
        token: str,
        fields: Mapping[str, Any] | None = None,
    ) -> bool:
        """Move a session from `expected` to `new` and set `fields`; False when it is in another state.

        `new` may be `expected`, to set fields only. Raises `TerminalState`, `NotOwner`.
        """
        if expected.is_terminal and new is not expected:
            raise TerminalState(session=session, state=expected.value, wanted=new.value)
        flat = [part for item in (fields or {}).items() for part in item]
        return self._as_owner(
            "session_transition",
            (self._keys.session(self._supplier, session),),
            *(token, expected.value, new.value, 0 if new.is_terminal else BACKSTOP_TTL_S, *flat),
        )

    def retire(self, session: str, *, token: str) -> bool:
        """Free the leaves of a finished session, keep the rest for its retention; False while it is live.

        May be repeated. Raises `NotOwner`.
        """
        of = (self._supplier, session)
        return self._as_owner(
            "session_retire",
            (self._keys.session(*of),),
            *(token, RETENTION_S, *sorted(TERMINAL_STATES)),
            more=(
                *(self._keys.leaves(*of), self._keys.index(*of), self._keys.seal(*of), self._keys.root(*of)),
                *(self._keys.intent(*of, CLAIM_PHASE), self._keys.intent(*of, PROOF_PHASE)),
            ),
        )

    def prune(self, *, ended_by: int) -> list[str]:
        """Take sessions off the list that ended by a height and whose record has run out; return them."""
        candidates = [session for session, _ in self.listed(ended_by=ended_by)]
        exist = ask_each(self._store, "EXISTS", self._records(candidates))
        gone = [session for session, exists in zip(candidates, exist, strict=True) if not exists]
        if gone:
            list_key = self._keys.sessions(self._supplier)
            with self._store.answers():
                self._store.node(list_key).zrem(list_key, *gone)
        return gone

    def lacking(self, field: str, sessions: Sequence[str]) -> list[str]:
        """Return those of `sessions` whose record has no such field; for many, cheaper than to read them."""
        found = ask_each(self._store, "HEXISTS", self._records(sessions), field)
        return [session for session, has in zip(sessions, found, strict=True) if not has]

    def _records(self, sessions: Sequence[str]) -> list[str]:
        return [self._keys.session(self._supplier, session) for session in sessions]

    def totals(self) -> dict[str, int]:
        """Return what became of the supplier's stream entries so far (decisions.md F)."""
        with store_errors():
            raw = self._store.client.hgetall(self._keys.totals(self._supplier))
        return {name.decode(): int(count) for name, count in raw.items()}

    def _as_owner(
        self, script: str, first: tuple[str, ...], *arguments: Any, more: tuple[str, ...] = ()
    ) -> bool:
        fence = (self._keys.owner(self._supplier), self._keys.commit(self._supplier))
        done = run_script(self._store, script, (*first, *fence, *more), *arguments)
        if done < 0:
            raise NotOwner(key=fence[0])
        return bool(done)
