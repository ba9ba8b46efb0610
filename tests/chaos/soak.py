"""Hundreds of sessions in minutes: what a session leaves behind, and whether everything else returns to where it was."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import Windows
from relay_cli.demo.chain_watch import ChainWatch
from relay_cli.relay.client_keys import read_client_keys
from relay_store.session_state import TERMINAL_STATES
from relay_store.sessions import Sessions
from tests.chaos.scale import (
    THRESHOLD_UPOKT,
    Scale,
    Tell,
    descriptors,
    load_average,
    memory_mib,
    processes_of,
    scaled,
)
from tests.integration.sender import address, curve
from tests.integration.session_books import Witness, problems_of
from tests.integration.stage import Deployment, wait_until
from tests.integration.steady_load import SteadyLoad

PARTS = ("store", "localnet", "backend", "miner", "beat", "relayer")
OURS = ("store", "miner", "beat", "relayer")
CACHE_ENTRIES = (
    64  # of each kind: full before the base is taken, so that what grows after it is no cache that fills
)
WARM_UP_SESSIONS = 70
ROUNDS = 4
BLOCK_S, SESSION_BLOCKS, WINDOW_BLOCKS = 0.25, 6, 48
QUIET_S = 10.0  # expiring caches and meters, pools that shrink
SETTLE_BLOCKS = 40
# Kept for seven days after a session's end, by intent (decisions.md A), and for a day (the reference's, ha:tx:track).
RETAINED = re.compile(rb".*:(session|seal|root|intent:claim|intent:proof)$|ha:tx:track:.*")
LIVE = re.compile(rb"pm:.*:(leaves|index)$")
METER = re.compile(rb".*:meter:.*")
MORE_MEMORY, MORE_IN_LAST_ROUND = 1.15, 1.02
MORE_FILES, MORE_KEYS = 12, 40


@dataclass(frozen=True)
class Level:
    """What is in use at a quiet moment."""

    keys: Counter[str]
    store_mib: float
    memory_mib: dict[str, float]
    files: dict[str, int]

    @classmethod
    def now(cls, running: Deployment) -> Level:
        client, keys = running.store.client, Counter[str]()
        for key in client.scan_iter(count=1000):
            kinds = (("retained", RETAINED), ("of live sessions", LIVE), ("meters", METER))
            keys[next((name for name, pattern in kinds if pattern.match(key)), "other")] += 1
        parts = {name: ids for name, ids in processes_of(running).items() if name in OURS}
        return cls(
            keys,
            client.info("memory")["used_memory"] / 2**20,
            {name: memory_mib(ids) for name, ids in parts.items()},
            {name: descriptors(ids) for name, ids in parts.items()},
        )

    def __str__(self) -> str:
        keys = ", ".join(f"{count} {name}" for name, count in sorted(self.keys.items()))
        parts = ", ".join(
            f"{name} {self.memory_mib[name]:.0f} MiB {self.files[name]} files" for name in self.files
        )
        return f"keys: {keys}; store {self.store_mib:.2f} MiB; {parts}"


def soak(directory: Path, sessions: int, per_second: float, tell: Tell) -> bool:
    """Return whether the books closed and everything but the retained records returned to its level."""
    scale = Scale(
        2,
        BLOCK_S,
        SESSION_BLOCKS,
        WINDOW_BLOCKS,
        threshold_upokt=2 * THRESHOLD_UPOKT,
        cache_entries=CACHE_ENTRIES,
    )
    tell(f"{sessions} sessions of {SESSION_BLOCKS * BLOCK_S:g} s, load average {load_average()}")
    with (
        scaled(directory, scale, PARTS) as running,
        ChainWatch(CometNode(running.layout.ports.url("rpc"))) as watch,
    ):
        one = _Soak(running, watch, per_second, tell)
        problems = one.serve(WARM_UP_SESSIONS)
        levels = [base := Level.now(running)]
        tell(f"after {WARM_UP_SESSIONS} sessions, all settled: {base}")
        for number in range(1, ROUNDS + 1):
            problems += one.serve(sessions // ROUNDS)
            levels.append(Level.now(running))
            tell(f"after {number * (sessions // ROUNDS)} more, all settled: {levels[-1]}")
        before_last, end = levels[-2:]
        new = end.keys["retained"] - base.keys["retained"]
        grown = (end.store_mib - base.store_mib) * 2**20
        tell(
            f"retained: {new} keys of {one.books} books, {grown / max(one.books, 1):.0f} bytes of the store each"
        )
        problems += _growth(base, end)
        problems += _still_growing(before_last, end)
        for problem in problems:
            tell(f"PROBLEM {problem}")
        tell(f"{one.answered} relays answered, {one.too_late} of them too late to be mined (and not charged)")
        tell(f"load average {load_average()}")
        return not problems


def _growth(base: Level, end: Level) -> list[str]:
    found = []
    if end.keys["of live sessions"]:
        found.append(f"{end.keys['of live sessions']} keys of live sessions are left")
    for kind in ("other", "meters"):
        if end.keys[kind] > base.keys[kind] + MORE_KEYS:
            found.append(f"{kind} keys: {base.keys[kind]}, then {end.keys[kind]}")
    for name in base.files:
        if end.files[name] > base.files[name] + MORE_FILES:
            found.append(f"{name}: {base.files[name]} open files, then {end.files[name]}")
        if name != "store" and end.memory_mib[name] > MORE_MEMORY * base.memory_mib[name]:
            found.append(f"{name}: {base.memory_mib[name]:.0f} MiB, then {end.memory_mib[name]:.0f}")
    return found


def _still_growing(before_last: Level, end: Level) -> list[str]:
    """What grew in the last round still: caches are full, so memory has to be level."""
    return [
        f"{name}: {before:.1f} MiB before the last round, then {end.memory_mib[name]:.1f}"
        for name, before in before_last.memory_mib.items()
        if name != "store" and end.memory_mib[name] > MORE_IN_LAST_ROUND * before
    ]


class _Soak:
    def __init__(self, running: Deployment, watch: ChainWatch, per_second: float, tell: Tell) -> None:
        self._running, self._watch, self._per_second, self._tell = running, watch, per_second, tell
        self._queries = ChainQueries(running.layout.ports.address("grpc"), insecure=True)
        self._params = SharedParams.from_proto(self._queries.shared_params())
        self.books = self.answered = self.too_late = 0
        self._heights: list[tuple[float, int]] = []  # (monotonic, the chain's), as it rose

    def serve(self, sessions: int) -> list[str]:
        """Serve relays in so many sessions, wait until all are settled and quiet; return what does not fit."""
        running, watch = self._running, self._watch
        witness = Witness(running.store, running.keys)
        first = int(session_end(self._params, watch.height)) + SESSION_BLOCKS
        last = first + SESSION_BLOCKS * (sessions - 1)
        ends = range(first, last + 2 * SESSION_BLOCKS, SESSION_BLOCKS)
        wait_until(lambda: watch.height > first - SESSION_BLOCKS, "the first session", 60)
        load = SteadyLoad(
            self._queries,
            read_client_keys(running.layout.client_keys),
            curve(),
            [running.layout.ports.numbers["relayer"]],
            lambda: watch.height,
            per_second=self._per_second,
        )

        def reached(height: int) -> bool:
            witness.read_leaves(watch.claims(ends))
            if not self._heights or self._heights[-1][1] < watch.height:
                self._heights.append((time.monotonic(), watch.height))
            return watch.height >= height

        seconds = sessions * SESSION_BLOCKS * BLOCK_S
        with load:
            wait_until(lambda: reached(last - 1), "the last session", 4 * seconds + 60)
        settlement = Windows.of(self._params, last).settlement  # type: ignore[arg-type]
        wait_until(
            lambda: reached(settlement + SETTLE_BLOCKS) and self._all_over(), "the last settlement", 300
        )
        time.sleep(QUIET_S)
        claims = {claim.key: claim for claim in watch.claims(ends)}
        counted = load.counted
        self.books += len(counted.answered)
        self.answered += sum(map(len, counted.answered.values()))
        problems = []
        for key in sorted(counted.answered):
            leaves, end = witness.leaves.get(key, set()), key[2]
            self.too_late += sum(
                path not in leaves and self._was_over(end, at) for path, at in counted.answered[key].items()
            )
            found = problems_of(
                key, counted, claims.get(key), leaves, lambda at, end=end: self._was_over(end, at)
            )
            problems += [f"{key}: {problem}" for problem in found]
        return problems

    def _was_over(self, end: int, at: float) -> bool:
        """Whether a relay answered at a moment may have come too late for its session (decisions.md C2)."""
        return next((height for since, height in reversed(self._heights) if since <= at), 0) >= end

    def _all_over(self) -> bool:
        for role in ("supplier1", "supplier2"):
            sessions = Sessions(self._running.store, self._running.keys, address(role))
            records = sessions.read_many([session for session, _ in sessions.listed()])
            if any(r and (r.state not in TERMINAL_STATES or "retired" not in r.more) for r in records):
                return False
        return True
