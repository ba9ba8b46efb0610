"""One run: load, faults by a plan, quiet, and the verdict."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import Windows
from relay_cli.demo.chain_watch import ChainWatch
from relay_cli.relay.client_keys import read_client_keys
from relay_store.connection import connect
from tests.chaos.actions import Actions, NothingToHit, Undo
from tests.chaos.chain_journal import ChainJournal
from tests.chaos.network import BEATS, MINERS, RELAYERS, Network, Shape, metrics_directory, network
from tests.chaos.plan import Fault, draw
from tests.chaos.scale import load_average
from tests.chaos.verdict import (
    Excuses,
    Verdict,
    judge,
    judge_books,
    judge_chain,
    judge_front_ends,
    judge_load,
    judge_restarts,
    judge_states,
    judge_take_overs,
)
from tests.chaos.watch import BEAT, Watch
from tests.integration.sender import address, curve
from tests.integration.stage import wait_until
from tests.integration.steady_load import SteadyLoad

FSYNC_S = 2.0  # writes behind a running fsync, or of the last second before a failover
SETTLE_BLOCKS = 60  # what the miner may need to read the last settlement
START_S = 120.0
MORE_SESSIONS = 20
ALONE_S = 5.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for."""

    shape: Shape
    seed: int
    faults: int
    sessions: int
    per_second: float = 40.0
    only: tuple[str, ...] = ()  # kinds of faults; all of the scenario's when empty

    @property
    def load_s(self) -> float:
        return self.sessions * self.shape.session_s

    def plan(self) -> list[Fault]:
        return draw(self.shape.scenario, self.seed, self.faults, self.load_s, self.only)


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Who was gone, how many leases it held, and how long each was without another holder (None: it stayed)."""

    fault: Fault
    seconds: tuple[float | None, ...]
    alone: bool  # no other fault from some seconds before to some after


@dataclass
class Report:
    """What one run showed."""

    order: Order
    verdict: Verdict
    done: list[Fault] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # faults whose target did not run just then
    take_overs: list[TakeOver] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    journal: ChainJournal = field(default_factory=ChainJournal)
    seconds: float = 0.0
    told: list[str] = field(default_factory=list)
    load: tuple[str, str] = ("", "")  # load averages before and after


class Run:
    """Drives one network through one plan."""

    def __init__(self, running: Network, order: Order, tell: Tell) -> None:
        self._running, self._order, self._tell = running, order, tell
        self._queries = ChainQueries(running.watcher_grpc_address, insecure=True)
        self._params = SharedParams.from_proto(self._queries.shared_params())
        self._chain = ChainWatch(CometNode(running.watcher_rpc_url))
        self._suppliers = [address(f"supplier{n}") for n in range(1, order.shape.suppliers + 1)]
        self._losses: list[tuple[float, float]] = []
        self._hits: list[tuple[float, str, int]] = []
        self._done: list[tuple[float, Fault]] = []
        self._missed: list[str] = []
        self._actions = Actions(running, lambda name, pid: self._hits.append((time.monotonic(), name, pid)))

    def run(self) -> Report:
        """Do everything. What is wrong is in the report's verdict."""
        started, load_before = time.monotonic(), load_average()
        shape = self._order.shape
        with self._chain:
            first_end = int(session_end(self._params, self._chain.height)) + shape.session_blocks
            last_end = first_end + shape.session_blocks * (self._order.sessions - 1)
            # faults that last may carry the load into further sessions
            ends = range(first_end, last_end + MORE_SESSIONS * shape.session_blocks + 1, shape.session_blocks)
            url = self._running.stores.direct_url
            with Watch(
                url, self._suppliers, lambda: self._chain.claims(ends), lambda: self._chain.height
            ) as watch:
                load = self._load()
                self._await_height(first_end - shape.session_blocks + 1)
                with load:
                    self._do_plan(self._order.plan(), lambda: self._chain.height >= last_end)
                self._tell("the load has stopped; everything settles")
                self._await_settlement(load, ends, watch)
                watch.look_at_all()
                report = self._report(load, ends, watch)
        report.seconds, report.load = time.monotonic() - started, (load_before, load_average())
        return report

    def _load(self) -> SteadyLoad:
        return SteadyLoad(
            self._queries,
            read_client_keys(self._running.layout.client_keys),
            curve(),
            self._running.relayer_ports,
            lambda: self._chain.height,
            threads=4,
            per_second=self._order.per_second,
        )

    def _await_height(self, height: int) -> None:
        wait_until(lambda: self._chain.height >= height, f"block {height}", START_S)

    # --- faults

    def _do_plan(self, plan: list[Fault], over: Callable[[], bool]) -> None:
        """Begin and undo each fault at its moment; return when all is done and the last session is `over`."""
        started, order = time.monotonic(), itertools.count()
        due: list[tuple[float, int, Fault, Undo | None]] = [
            (started + fault.seconds, next(order), fault, None) for fault in plan
        ]
        heapq.heapify(due)
        idle = threading.Event()
        while due or not over():
            if not due or due[0][0] > time.monotonic():
                idle.wait(min(0.1, max(due[0][0] - time.monotonic(), 0.01)) if due else 0.1)
                continue
            _, _, fault, undo = heapq.heappop(due)
            if undo is not None:
                self._undo(fault, undo)
                continue
            undo = self._begin(fault)
            if undo is not None:
                heapq.heappush(due, (time.monotonic() + fault.lasts_s, next(order), fault, undo))

    def _begin(self, fault: Fault) -> Undo | None:
        began = time.monotonic()
        try:
            undo = self._actions.begin(fault)
        except (NothingToHit, OSError, ValueError) as error:
            self._missed.append(f"{fault}: {error}")
            self._tell(f"{fault}  (missed: {error})")
            return None
        except Exception as error:  # a store that is away just then
            self._missed.append(f"{fault}: {error!r}")
            return None
        self._tell(str(fault))
        self._done.append((began, fault))
        if fault.kind in ("kill store", "fail over", "fail over, then kill"):
            self._losses.append((began - FSYNC_S, began + fault.lasts_s + FSYNC_S))
        return undo

    def _undo(self, fault: Fault, undo: Undo) -> None:
        """Try until it is undone: what it is done to may be away for a moment."""

        def undone() -> bool:
            try:
                undo()
            except Exception:
                return False
            return True

        wait_until(undone, f"the end of: {fault}", 30)

    # --- the end

    def _await_settlement(self, load: SteadyLoad, ends: range, watch: Watch) -> None:
        expected = set(load.counted.answered)
        last = Windows.of(self._params, max(key[2] for key in expected)).settlement + SETTLE_BLOCKS

        def settled() -> bool:
            if self._chain.height > last:
                return True
            claims = self._chain.claims(ends)
            done = {claim.key for claim in claims if claim.settled_height or claim.failures}
            return done >= expected and self._books_closed()

        seconds = (last - self._chain.height) * self._order.shape.block_s * 2 + 60
        wait_until(settled, "the last settlement", max(seconds, 60.0))

    def _books_closed(self) -> bool:
        verdict = Verdict()
        store = connect(self._running.stores.direct_url)
        try:
            judge_books(verdict, store, self._running.keys, self._suppliers)
        finally:
            store.close()
        return not any("left as" in problem or "left in streams" in problem for problem in verdict.problems)

    def _report(self, load: SteadyLoad, ends: range, watch: Watch) -> Report:
        claims = {claim.key: claim for claim in self._chain.claims(ends)}
        watch.witness.read_leaves(claims.values())
        verdict = judge(load.counted, claims, watch.witness, Excuses(watch.height_at, self._losses))
        layout = self._running.layout
        kills = sum(fault.kind in ("kill master", "kill front-end worker") for _, fault in self._done)
        judge_restarts(verdict, self._running.told)
        judge_load(verdict, load.counted, self._order.load_s * self._order.per_second, self._order.sessions)
        judge_front_ends(verdict, [metrics_directory(layout, name) for name in RELAYERS], kills)
        store = connect(self._running.stores.direct_url)
        judge_books(verdict, store, self._running.keys, self._suppliers)
        store.close()
        windows: dict[int, Windows] = {}
        journal = ChainJournal().read(
            self._running.journal,
            lambda end: windows.setdefault(end, Windows.of(self._params, end)),  # type: ignore[arg-type]
        )
        judge_chain(verdict, journal)
        logs = [layout.logs / f"{name}.log" for name in MINERS]
        judge_states(verdict, watch.gone_back, logs)
        take_overs = self._take_overs(watch)
        judge_take_overs(
            verdict, [(str(one.fault), s) for one in take_overs if one.alone for s in one.seconds if s]
        )
        restarts = {k: v for one in self._running.supervisors for k, v in one.restarts.items()}
        return Report(
            self._order,
            verdict,
            [fault for _, fault in self._done],
            self._missed,
            take_overs,
            restarts,
            journal,
            told=self._running.told,
        )

    def _take_overs(self, watch: Watch) -> list[TakeOver]:
        found = []
        for at, name, process_id in self._hits:
            if name not in (*MINERS, *BEATS):
                continue
            began, fault = min(self._done, key=lambda one: abs(one[0] - at))
            if name in MINERS:
                token = watch.tokens.get(process_id, "")
                held = [one for one in watch.held_by(token, at) if one != BEAT] if token else []
            else:
                history = watch.holders[BEAT]
                current = next((h.token for h in reversed(history) if h.since <= at), None)
                token = current if current and current.endswith(f"-{process_id}") else ""
                held = [BEAT] if token else []
            if not held:
                continue
            others = [
                one
                for when, one in self._done
                if one is not fault and when < began + ALONE_S and when + one.lasts_s > began - ALONE_S
            ]
            seconds = tuple(watch.taken_over_s(one, token, at) for one in held)
            if fault.lasts_s:  # woken before it was replaced: not a take-over
                seconds = tuple(s if s is not None and s < fault.lasts_s + 5 else None for s in seconds)
            found.append(TakeOver(fault, seconds, not others))
        return found


def run(directory: Path, order: Order, tell: Tell) -> Report:
    """Start everything, run the plan, stop everything; `directory` keeps the logs and the chain's journal."""
    with network(directory, order.shape) as running:
        return Run(running, order, tell).run()
