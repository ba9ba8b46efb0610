"""What is seen of a run from outside: who holds each lease, how sessions change their states, which leaves are sealed."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import RedisClusterException, RedisError

from relay_cli.demo.chain_watch import ClaimOnChain
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.nodes import live_nodes
from relay_store.session_state import TERMINAL_STATES, SessionState
from relay_store.sessions import Sessions
from relay_store.store_errors import StoreUnavailable, store_errors
from tests.integration.session_books import Witness

LEASES_S, SESSIONS_S = 0.05, 0.5
BEAT = "beat"
# in the order a session can pass through them; all terminal states are last
_RANK = {
    SessionState.ACTIVE: 0,
    SessionState.CLAIMING: 1,
    SessionState.CLAIMED: 2,
    SessionState.PROVING: 3,
    **dict.fromkeys(TERMINAL_STATES, 4),
}


@dataclass
class Holding:
    """From `since` (monotonic) a lease was held by `token`, or by nobody."""

    since: float
    token: str | None


@dataclass
class Watch:
    """Looks until it is closed; a context manager. Stores that do not answer are asked again."""

    url: str
    suppliers: Sequence[str]
    claims: Callable[[], list[ClaimOnChain]]
    height: Callable[[], int]
    keys: Keys = field(default_factory=Keys)
    holders: dict[str, list[Holding]] = field(default_factory=dict)  # of each supplier, and of the beat
    tokens: dict[int, str] = field(
        default_factory=dict
    )  # first characters of the token, by parent's process id
    states: dict[tuple[str, str], SessionState] = field(default_factory=dict)  # supplier, session
    heights: list[tuple[float, int]] = field(default_factory=list)  # (monotonic, the chain's), as it rose
    gone_back: list[str] = field(default_factory=list)  # sessions that left a later state for an earlier one

    def __post_init__(self) -> None:
        self._closed = threading.Event()
        self._stores = [self._connect(), self._connect()]
        self.witness = Witness(self._stores[1], self.keys)
        looks = ((self._look_at_leases, LEASES_S), (self._look_at_sessions, SESSIONS_S))
        self._threads = [threading.Thread(target=self._repeat, args=look, daemon=True) for look in looks]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()
        for store in self._stores:
            store.close()

    def _connect(self) -> Store:
        return connect(self.url, timeout_s=2)

    def _repeat(self, look: Callable[[], None], every_s: float) -> None:
        while not self._closed.wait(every_s):
            try:
                look()
            except (StoreUnavailable, RedisError, RedisClusterException):
                for store in self._stores:
                    store.refresh_topology()

    # --- leases

    def height_at(self, moment: float) -> int:
        """The chain's height at a moment."""
        return next((height for since, height in reversed(self.heights) if since <= moment), 0)

    def _look_at_leases(self) -> None:
        height = self.height()
        if not self.heights or self.heights[-1][1] < height:
            self.heights.append((time.monotonic(), height))
        store = self._stores[0]
        names = [*self.suppliers, BEAT]
        leases = [*(self.keys.lease(one) for one in self.suppliers), self.keys.beat_lease().lease]
        with store_errors():
            pipeline = store.client.pipeline(transaction=False)
            for lease in leases:
                pipeline.get(lease)
            tokens = pipeline.execute()
        now = time.monotonic()
        for name, raw in zip(names, tokens, strict=True):
            token = None if raw is None else raw.decode()
            history = self.holders.setdefault(name, [])
            if not history or history[-1].token != token:
                history.append(Holding(now, token))
        for node in live_nodes(store, self.keys):
            found = re.fullmatch(r".*-(\d+)-([0-9a-f]{8})", node)
            if found:
                self.tokens[int(found[1])] = found[2]

    def held_by(self, token: str, at: float) -> list[str]:
        """The suppliers (or the beat) whose lease a holder had at a moment; `token` may be its beginning."""
        return [
            name
            for name, history in list(self.holders.items())
            if (last := _last_before(history, at)) and last.token and last.token.startswith(token)
        ]

    def taken_over_s(self, name: str, token: str, at: float) -> float | None:
        """Seconds from a moment until somebody else held the lease; None if nobody has."""
        for holding in self.holders[name]:
            if holding.since > at and holding.token and not holding.token.startswith(token):
                return holding.since - at
        return None

    # --- sessions

    def _look_at_sessions(self) -> None:
        store = self._stores[1]
        for supplier in self.suppliers:
            sessions = Sessions(store, self.keys, supplier)
            open_ones = [
                session
                for session, _ in sessions.listed()
                if self.states.get((supplier, session), SessionState.ACTIVE) not in TERMINAL_STATES
            ]
            self._note(supplier, open_ones, sessions)
        self.witness.read_leaves(self.claims())

    def look_at_all(self) -> None:
        """See every session once more, those that were over included."""
        for supplier in self.suppliers:
            sessions = Sessions(self._stores[1], self.keys, supplier)
            self._note(supplier, [session for session, _ in sessions.listed()], sessions)

    def _note(self, supplier: str, ids: Sequence[str], sessions: Sessions) -> None:
        for session, record in zip(ids, sessions.read_many(ids), strict=True):
            if record is None:
                continue
            before = self.states.get((supplier, session), SessionState.ACTIVE)
            if before is not record.state and (
                before in TERMINAL_STATES or _RANK[record.state] < _RANK[before]
            ):
                self.gone_back.append(f"{supplier} {session}: {before} and then {record.state}")
            self.states[supplier, session] = record.state


def _last_before(history: Sequence[Holding], at: float) -> Holding | None:
    return next((holding for holding in reversed(history) if holding.since <= at), None)
