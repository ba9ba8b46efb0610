"""One run of the main job on a started network: two sessions of relays, then the wait until both are paid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mining_tasks.config import load_miner_config
from mining_tasks.ledger import Row, read_ledger
from mining_tasks.wiring import keys_of, open_store
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.coin import upokt_of
from pocket_protocol.curve import Curve
from pocket_protocol.errors import PocketError, Unavailable
from pocket_protocol.session import session_end, session_start
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import Windows
from relay_cli.demo.books import Report, make_rows
from relay_cli.demo.chain_watch import ChainWatch
from relay_cli.demo.progress import Progress, ProgressView
from relay_cli.demo.traffic import Traffic
from relay_cli.relay.client_keys import read_client_keys
from relay_cli.up.network import Network

SESSIONS = 2
LOOK_S = 0.25
PATIENCE_BLOCKS = 8  # beyond the block in which all has to be settled
BOOKS_PATIENCE_BLOCKS = 6  # until the miner has read what the chain settled


class DemoFailed(Unavailable):
    """The run did not get to its end."""

    reason = "demo_failed"
    summary = "the demo did not get to its end"


class DemoRun:
    """Drives one run. Made and used by one thread; the traffic has its own."""

    def __init__(
        self, network: Network, curve: Curve, relays: int, view: ProgressView, stop: threading.Event
    ) -> None:
        self._network, self._view, self._stop = network, view, stop
        self._relays = relays
        self._queries = ChainQueries(network.run.grpc_address, insecure=True)
        self._node = CometNode(network.run.rpc_url)
        config = load_miner_config(network.layout.miner_config).config
        self._store = open_store(config, "pocket-demo")
        self._store_keys = keys_of(config.redis, config.extensions)
        self._params = SharedParams.from_proto(self._queries.shared_params())
        self._watch = ChainWatch(self._node)
        self._traffic = Traffic(
            self._queries,
            read_client_keys(network.layout.client_keys),
            curve,
            network.run.relayer_url,
            lambda: self._watch.height,
        )
        self._suppliers: list[str] = []
        self._planned_ends: list[int] = []
        self._started_at = time.monotonic()

    def run(self) -> Report:
        """Do everything. Raises `DemoFailed`, `RunEnded`, and what the chain's and the store's readers raise."""
        with self._watch, self._closed_at_the_end():
            self._suppliers = self._session_suppliers()
            before = self._balances()
            for number in range(1, SESSIONS + 1):
                self._serve_session(number)
            settlement = Windows.of(self._params, max(self._ends)).settlement
            self._wait_until(
                lambda: self._settled() >= self._expected_claims(),
                f"until block {settlement} settles",
                settlement + PATIENCE_BLOCKS,
            )
            self._wait_until(
                self._books_closed,
                "the miner reads the settlement",
                settlement + PATIENCE_BLOCKS + BOOKS_PATIENCE_BLOCKS,
            )
            served = self._traffic.served()
            return Report(
                rows=make_rows(served.answered, self._books(), self._watch.claims(self._ends)),
                failed_relays=dict(served.failed),
                balances_before=before,
                balances_after=self._balances(),
                proof_fee_upokt=int(upokt_of(self._queries.proof_params().proof_submission_fee)),
                restarts=self._network.supervisor.restarts,
                seconds=time.monotonic() - self._started_at,
            )

    def _serve_session(self, number: int) -> None:
        """Wait for the first block of the next session, and send this session's relays inside it."""
        start = session_start(self._params, self._watch.height) + self._params.num_blocks_per_session
        self._wait_until(
            lambda: self._watch.height >= start,
            f"wait for session {number} of {SESSIONS}",
            start + PATIENCE_BLOCKS,
        )
        end = int(session_end(self._params, start))
        self._planned_ends.append(end)
        duration_s = self._params.num_blocks_per_session * self._network.layout.block_time_s
        relays = self._relays // SESSIONS
        sending = threading.Thread(
            target=self._traffic.send_session, args=(relays, duration_s), name="traffic", daemon=True
        )
        sending.start()
        self._wait_until(
            lambda: not sending.is_alive(), f"serve session {number} of {SESSIONS}", end + PATIENCE_BLOCKS
        )

    def _wait_until(self, done: Callable[[], bool], phase: str, last_height: int) -> None:
        """Show progress until `done()`. Raises `DemoFailed` after `last_height`, or when asked to stop."""
        while not done():
            self._network.supervisor.check()
            self._view.show(self._progress(phase))
            if self._watch.height > last_height:
                raise DemoFailed(f"nothing more happened while: {phase} (height {self._watch.height})")
            if self._stop.wait(LOOK_S):
                raise DemoFailed(f"stopped while: {phase}")
        self._view.show(self._progress(phase))

    def _progress(self, phase: str) -> Progress:
        claims = self._watch.claims(self._ends)
        return Progress(
            phase=phase,
            height=self._watch.height,
            served=self._traffic.served().count,
            mined=sum(row.leaves for row in self._books()),
            claimed=sum(claim.created_height > 0 for claim in claims),
            proved=sum(claim.proof_valid for claim in claims),
            settled=sum(claim.settled_height > 0 for claim in claims),
            settled_upokt=sum(claim.settled_upokt for claim in claims),
        )

    @property
    def _ends(self) -> set[int]:
        """The last heights of the sessions served; on a slow machine a relay may have slipped into a third one."""
        return {*self._planned_ends, *(end for _, _, end in self._traffic.served().answered)}

    def _expected_claims(self) -> int:
        return len(self._traffic.served().answered)

    def _settled(self) -> int:
        claims = self._watch.claims(self._ends)
        return sum(bool(claim.settled_height or claim.failures) for claim in claims)

    def _books_closed(self) -> bool:
        return all(row.outcome for row in self._books())

    def _books(self) -> list[Row]:
        """Return the miner's books of the demo's sessions."""
        found: list[Row] = []
        for supplier in self._suppliers:
            try:
                rows = read_ledger(self._store, self._store_keys, supplier).rows
                found += [row for row in rows if row.session_end in self._ends]
            except PocketError as error:
                self._view.say(f"the store cannot be read now: {error}")
        return found

    def _session_suppliers(self) -> list[str]:
        """Return the suppliers of the running sessions; all of the default chain's are in every one."""
        return sorted(
            {
                supplier
                for session in self._traffic.sessions(self._watch.height)
                for supplier in session.suppliers
            }
        )

    def _balances(self) -> dict[str, int]:
        return {supplier: int(self._queries.balance(supplier)) for supplier in self._suppliers}

    @contextmanager
    def _closed_at_the_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._traffic.stop()
            self._queries.channels.close()
            self._store.close()
