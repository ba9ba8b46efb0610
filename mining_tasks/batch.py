"""One batch of judged entries: what the store says about them, and the transaction that settles them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mining_tasks.judgement import Fate, Judged, KnownSession, is_too_late
from pocket_protocol.types import Height
from relay_store.connection import Store
from relay_store.dead import bury
from relay_store.fence import Command, Fence
from relay_store.keys import OwnKeys
from relay_store.leaves import Leaf, Leaves
from relay_store.session_state import SessionState, read_state
from relay_store.sessions import BACKSTOP_TTL_S

_COUNTED = (Fate.NEW, Fate.DUPLICATE, Fate.LATE, Fate.BELOW, Fate.DEAD)


@dataclass(slots=True)
class _Stored:
    """A session as the store has it at this moment."""

    sealed: bool
    state: SessionState | None  # None: no leaf yet
    index_length: int
    present: set[bytes]  # those of the batch's paths that are leaves already


class Batch:
    """The entries of one transaction. Call `compare` under the watch, then `commands`."""

    def __init__(
        self,
        store: Store,
        keys: OwnKeys,
        supplier: str,
        sessions: Mapping[str, KnownSession],
        judged: list[Judged],
    ) -> None:
        self._keys = keys
        self._supplier = supplier
        self._known = sessions
        self.judged = judged
        self._by_session: dict[str, list[Judged]] = defaultdict(list)
        for one in judged:
            if one.session:
                self._by_session[one.session].append(one)
        self._leaves = {session: Leaves(store, keys, supplier, session) for session in self._by_session}
        self._stored: dict[str, _Stored] = {}
        self._letters = 0

    def compare(self, fence: Fence, height: Height) -> None:
        """Watch and read the sessions, then tell duplicates and late relays from new ones.

        Reading also finds keys of a wrong type before anything is written: Redis would not roll back.
        Raises `StoreRefused` then, and `StoreUnavailable`.
        """
        if self._by_session:
            watched = [leaves.seal_key for leaves in self._leaves.values()]
            watched += [self._keys.session(self._supplier, session) for session in self._by_session]
            fence.watch_more(*watched)
        questions: list[Command] = [
            ("HLEN", self._keys.totals(self._supplier)),
            ("ZCARD", self._keys.sessions(self._supplier)),
            ("XLEN", self._keys.dead(self._supplier)),
        ]
        for session in self._by_session:
            questions += self._questions(session)
        _, _, self._letters, *answers = fence.ask(*questions)
        replies = iter(answers)
        for session, entries in self._by_session.items():
            stored = self._stored[session] = self._read(session, replies)
            known = self._known.get(session)
            closed = stored.sealed or (stored.state is not None and stored.state.is_terminal)
            _tell_apart(entries, stored, closed or (known is not None and is_too_late(known.facts, height)))

    def _paths(self, session: str) -> list[bytes]:
        return [one.leaf.path for one in self._by_session[session] if one.leaf is not None]

    def _questions(self, session: str) -> list[Command]:
        leaves = self._leaves[session]
        return [
            ("GET", leaves.seal_key),
            ("HGET", self._keys.session(self._supplier, session), "state"),
            ("STRLEN", leaves.index_key),
            ("HMGET", leaves.leaves_key, *(self._paths(session) or (b"",))),
        ]

    def _read(self, session: str, replies: Any) -> _Stored:
        seal, state, index_length, values = (next(replies) for _ in range(4))
        found = zip(self._paths(session), values, strict=False)
        return _Stored(
            sealed=seal is not None,
            state=None if state is None else read_state(state),
            index_length=index_length,
            present={path for path, value in found if value is not None},
        )

    def commands(self) -> list[Command]:
        """Return the transaction but for the acknowledgement: leaves, counters, dead letters."""
        commands: list[Command] = []
        for session in self._by_session:
            commands += self._settle_session(session)
        for one in self.judged:
            if one.fate is Fate.DEAD:
                commands.append(self._bury(one))
        return commands + _count(self._keys.totals(self._supplier), self.judged)

    def _bury(self, one: Judged) -> Command:
        of = (self._keys, self._supplier, one.entry, one.reason, one.detail)
        self._letters += 1
        counted = one.session if self._is_on_record(one.session) else ""
        return bury(*of, session=counted, letters=self._letters - 1)

    def _is_on_record(self, session: str) -> bool:
        """Whether the session has a record after this transaction."""
        if not session:
            return False
        new = any(one.fate is Fate.NEW for one in self._by_session[session])
        return new or self._stored[session].state is not None

    def _settle_session(self, session: str) -> list[Command]:
        entries, stored = self._by_session[session], self._stored[session]
        new = [one.leaf for one in entries if one.fate is Fate.NEW and one.leaf is not None]
        key = self._keys.session(self._supplier, session)
        if not self._is_on_record(session):
            return []  # never had a leaf: counted in the totals alone
        commands: list[Command] = []
        if new:
            commands += self._add_leaves(session, new, stored)
        commands += _count(key, entries)
        if stored.state is None or not stored.state.is_terminal:
            commands.append(("EXPIRE", key, BACKSTOP_TTL_S))
        return commands

    def _add_leaves(self, session: str, new: list[Leaf], stored: _Stored) -> list[Command]:
        snapshot = self._known[session].snapshot
        commands = self._leaves[session].add(new, index_length=stored.index_length)
        if stored.state is None:
            fields = [part for item in snapshot.to_fields().items() for part in item]
            commands.append(("HSET", self._keys.session(self._supplier, session), *fields))
        commands.append(("ZADD", self._keys.sessions(self._supplier), snapshot.end_height, session))
        return commands


def _tell_apart(entries: Iterable[Judged], stored: _Stored, late: bool) -> None:
    """Set the fate of entries that are NEW so far: a path seen before is a duplicate, even in a sealed session."""
    seen = stored.present
    for one in entries:
        if one.fate is not Fate.NEW or one.leaf is None:
            continue
        if one.leaf.path in seen:
            one.fate = Fate.DUPLICATE
        elif late:
            one.fate = Fate.LATE
        else:
            seen.add(one.leaf.path)


def _count(key: str, entries: Iterable[Judged]) -> list[Command]:
    fates: Counter[str] = Counter()
    for one in entries:
        if one.fate in _COUNTED:
            fates[one.fate.value] += 1
            fates["weight_mismatch"] += one.other_weight
    return [("HINCRBY", key, name, number) for name, number in fates.items() if number]
