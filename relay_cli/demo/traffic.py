"""Relays in two whole sessions: for each service an application, signed for by its gateway."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pocket_chain.queries import ChainQueries
from pocket_protocol.curve import Curve
from pocket_protocol.envelope import HttpRequest
from relay_cli.relay.client import InnerRequest, RelayClient, default_body, json_request
from relay_cli.relay.client_keys import ClientKeys
from relay_cli.relay.load_results import LoadResults
from relay_cli.relay.load_test import LoadPlan, LoadTest, all_suppliers
from relay_cli.relay.relay_session import RelaySession, SessionSource, choose_application

CONCURRENCY = 4  # of each service
RELAY_TIMEOUT_S = 10.0
SHARE_OF_SESSION = (
    0.6  # the time in which a session's relays are sent, so that all of them are answered inside it
)

REQUESTS = {
    "develop-http": json_request("jsonrpc", default_body("eth_blockNumber")),
    "develop-rest": InnerRequest("rest", HttpRequest("GET", "/rest/status", (("Accept", ("*/*",)),))),
}


@dataclass(slots=True)
class Served:
    """All relays answered so far, as the client counted them."""

    answered: Counter[tuple[str, str, int]]  # (supplier, service id, session end) -> relays
    failed: Counter[str]

    @property
    def count(self) -> int:
        return sum(self.answered.values())


class Traffic:
    """Sends relays session by session. `height` gives the chain's height now."""

    def __init__(
        self,
        queries: ChainQueries,
        keys: ClientKeys,
        curve: Curve,
        relayer_url: str,
        height: Callable[[], int],
    ) -> None:
        self._relayer_url, self._height = relayer_url, height
        self._clients: dict[str, RelayClient] = {}
        self._running: list[tuple[str, LoadTest]] = []
        for service in REQUESTS:
            addresses = keys.application_addresses(curve)
            position = choose_application(queries, addresses, service)
            source = SessionSource(queries, addresses[position], service)
            self._clients[service] = RelayClient(source, keys.signing_key(position), curve)

    def sessions(self, height: int) -> list[RelaySession]:
        """Return each service's session at `height`."""
        return [client.source.at(height) for client in self._clients.values()]

    def send_session(self, relays: int, duration_s: float) -> None:
        """Send `relays` spread over the services, the suppliers and a part of the session; wait for the last answer."""
        threads = []
        per_service = relays // len(self._clients)
        for service, client in self._clients.items():
            plan = LoadPlan(
                request=REQUESTS[service],
                relayer_url=self._relayer_url,
                choose_supplier=all_suppliers,
                count=per_service,
                concurrency=CONCURRENCY,
                per_second=per_service / (duration_s * SHARE_OF_SESSION),
                timeout_s=RELAY_TIMEOUT_S,
            )
            test = LoadTest(client, plan, self._height)
            self._running.append((service, test))
            threads.append(threading.Thread(target=test.run, name=f"traffic-{service}", daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        """Send no more relays."""
        for _, test in self._running:
            test.stop()

    def served(self) -> Served:
        """Return what was answered and what failed so far."""
        answered: Counter[tuple[str, str, int]] = Counter()
        failed: Counter[str] = Counter()
        for service, test in list(self._running):
            results: LoadResults = test.results
            failed.update(results.errors)
            for (session, supplier), count in list(results.served.items()):
                answered[supplier, service, results.session_ends[session]] += count
        return Served(answered, failed)
