"""Active health checks: one thread per pool asks its endpoints one after the other (spec/relayer.md §2.8).

HTTP and WebSocket endpoints are asked over HTTP; of gRPC endpoints a connection (with TLS) is all that is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pocket_protocol.errors import PocketError
from relayer_web.backends.contract import BackendRequest
from relayer_web.backends.endpoint import Endpoint
from relayer_web.backends.headers import HeaderRules, checked_method
from relayer_web.backends.http_client import OutgoingRequest
from relayer_web.backends.pool import BackendPool
from relayer_web.config_backends import BackendHealthCheck

DEFAULT_TIMEOUT_S = 5.0


class Prober:
    """Probes one pool until stopped. `rules` are the headers of probes, the pool's own first."""

    def __init__(
        self,
        pool: BackendPool,
        check: BackendHealthCheck,
        rules: HeaderRules,
        on_probe: Callable[[str, bool], None] = lambda endpoint, good: None,
    ) -> None:
        self._pool = pool
        self._check = check
        self._rules = rules
        self._on_probe = on_probe
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Probe now and then every `interval_seconds`, in a thread."""
        self._thread = threading.Thread(target=self._run, name="backend-prober", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._timeout_s + 1)

    def probe(self) -> None:
        """Ask every endpoint once and tell its breaker."""
        for endpoint in self._pool.endpoints:
            failure = self._failure(endpoint)
            if failure:
                endpoint.breaker.probe_failed(failure)
            else:
                endpoint.breaker.probe_succeeded()
            self._on_probe(endpoint.name, not failure)

    @property
    def _timeout_s(self) -> float:
        return self._check.probe_timeout_s or DEFAULT_TIMEOUT_S

    def _run(self) -> None:
        while True:
            self.probe()
            if self._stop.wait(self._check.interval_seconds):
                return

    def _failure(self, endpoint: Endpoint) -> str:
        """Probe once; return what was wrong, "" for nothing."""
        deadline = time.monotonic() + self._timeout_s
        try:
            if endpoint.transport == "grpc":
                endpoint.client.check_connection(deadline)
                return ""
            response = endpoint.client.call(self._request(endpoint), deadline)
        except PocketError as error:
            return f"probe: {error}"
        expected = self._check.expected_status
        if response.status not in expected if expected else not 200 <= response.status < 300:
            return f"probe: status {response.status}"
        if self._check.expected_body.encode() not in response.body:
            return "probe: unexpected body"
        return ""

    def _request(self, endpoint: Endpoint) -> OutgoingRequest:
        check = self._check
        content_type = check.content_type
        if not content_type and check.request_body.lstrip()[:1] in ("{", "["):
            content_type = "application/json"
        given = [("Content-Type", content_type)] if content_type else []
        inner = BackendRequest(check.method, check.endpoint, given, check.request_body.encode())
        return OutgoingRequest(
            checked_method(check.method),
            endpoint.target(check.endpoint),
            self._rules.merge(inner),
            inner.body,
            repeatable=True,
        )
