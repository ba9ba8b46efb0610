"""Many relays at once, over session borders (spec/relayer.md §8.4)."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pocket_protocol.errors import PocketError
from relay_cli.relay.client import Connection, InnerRequest, RelayClient
from relay_cli.relay.load_results import LoadResults
from relay_cli.relay.relay_session import RelaySession
from relay_cli.relay.service_answer import check_answer

ChooseSupplier = Callable[[RelaySession, int], str]


def one_supplier(address: str = "") -> ChooseSupplier:
    """Always choose `address`, or the session's first supplier when it is empty."""
    return lambda session, number: address or session.suppliers[0]


def all_suppliers(session: RelaySession, number: int) -> str:
    """Choose the session's suppliers in turn."""
    return session.suppliers[number % len(session.suppliers)]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How many relays, how many at a time, and how many a second (0: as fast as they are answered)."""

    request: InnerRequest
    relayer_url: str
    choose_supplier: ChooseSupplier
    count: int
    concurrency: int = 10
    per_second: float = 0.0
    timeout_s: float = 120.0


class LoadTest:
    """Sends a plan's relays from `concurrency` threads. `height` gives the chain's height now."""

    def __init__(self, client: RelayClient, plan: LoadPlan, height: Callable[[], int]) -> None:
        self.results = LoadResults()
        self._client, self._plan, self._height = client, plan, height
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._started_at = 0.0

    def run(self, on_progress: Callable[[LoadResults], None] = lambda results: None) -> LoadResults:
        """Send everything and return what was counted; `on_progress` is called several times a second."""
        self._started_at = time.monotonic()
        names = range(min(self._plan.concurrency, max(self._plan.count, 1)))
        threads = [threading.Thread(target=self._work, name=f"load-{n}", daemon=True) for n in names]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    on_progress(self.results)
        finally:
            self._stopping.set()
            self.results.duration_s = time.monotonic() - self._started_at
        return self.results

    def stop(self) -> None:
        """Send no more relays; those on their way are still waited for."""
        self._stopping.set()

    def _work(self) -> None:
        plan = self._plan
        connection = self._client.connect(plan.relayer_url, plan.request.transport, plan.timeout_s)
        try:
            while not self._stopping.is_set():
                number = next(self._numbers)
                if number >= self._plan.count or not self._wait_for_turn(number):
                    return
                self._send(connection, number)
        finally:
            connection.close()

    def _wait_for_turn(self, number: int) -> bool:
        """Wait until the relay is due; False when the test was stopped meanwhile."""
        if not self._plan.per_second:
            return True
        due = self._started_at + number / self._plan.per_second
        return not self._stopping.wait(max(0.0, due - time.monotonic()))

    def _send(self, connection: Connection, number: int) -> None:
        request = self._plan.request
        try:
            session = self._client.source.at(self._height())
            relay = self._client.sign(session, self._plan.choose_supplier(session, number), request)
            outcome = self._client.send(connection, relay, request.transport)
            check_answer(outcome.response, request.transport)
        except PocketError as error:
            self.results.record_error(str(error))
        else:
            self.results.record(outcome)
