"""The endpoints of one (service, transport): which one a relay gets, and when another is tried (spec/relayer.md §2.7).

A second attempt always goes to another endpoint and shares the first one's deadline: ten seconds are ten seconds,
however many attempts were made in them. It is made after a transport failure or a status of 500 and above, never
after a time-out, and only where doing it twice does no harm: JSON-RPC and CometBFT calls, idempotent methods, and
whatever never left this process.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

from relayer_web.backends.contract import (
    BackendFailed,
    BackendRequest,
    BackendResponse,
    BackendTimeout,
    NoBackend,
)
from relayer_web.backends.endpoint import Endpoint
from relayer_web.backends.http_client import OutgoingRequest

FIRST_SERVER_ERROR = 500


class BackendPool:
    """`strategy` is first_healthy or round_robin; `timeout_s` bounds a whole call."""

    def __init__(
        self, endpoints: Sequence[Endpoint], *, strategy: str, max_retries: int, timeout_s: float
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.strategy = strategy
        self._max_retries = max_retries
        self._timeout_s = timeout_s
        self._turn = itertools.count(1)

    def is_ready(self) -> bool:
        """Whether any endpoint is healthy. No I/O."""
        return any(endpoint.breaker.is_healthy() for endpoint in self.endpoints)

    def select(self) -> Endpoint:
        """Return the endpoint whose turn it is. Raises `NoBackend`."""
        endpoints = self.endpoints
        first = next(self._turn) if self.strategy == "round_robin" else 0
        for offset in range(len(endpoints)):
            endpoint = endpoints[(first + offset) % len(endpoints)]
            if endpoint.breaker.may_try():
                return endpoint
        raise NoBackend(configured=True)

    def other(self, last: Endpoint) -> Endpoint | None:
        """Return the first healthy endpoint in the configured order that is not `last`."""
        healthy = (e for e in self.endpoints if e is not last and e.breaker.may_try())
        return next(healthy, None)

    def call(self, request: BackendRequest) -> BackendResponse:
        """Send `request` to one endpoint, after a failure to another. Raises what `Backends.call` does."""
        deadline = time.monotonic() + self._timeout_s
        endpoint = self.select()
        for attempt in itertools.count():
            outgoing = endpoint.prepare(request)
            answer, repeatable = _attempt(endpoint, outgoing, deadline)
            other = self.other(endpoint) if repeatable and attempt < self._max_retries else None
            if other is None:
                break
            endpoint = other
        if isinstance(answer, BackendFailed):
            raise answer
        return replace(answer, retries=attempt) if attempt else answer

    def call_once(self, request: BackendRequest) -> BackendResponse:
        """Send `request` once and tell the breaker nothing. Raises what `Backends.call` does."""
        endpoint = self.select()
        return endpoint.send(endpoint.prepare(request), time.monotonic() + self._timeout_s)


def _attempt(
    endpoint: Endpoint, outgoing: OutgoingRequest, deadline: float
) -> tuple[BackendResponse | BackendFailed, bool]:
    """Send once and tell the breaker. Returns answer or failure, and whether another endpoint may be asked.

    Raises `BackendTimeout`: a slow backend is not a broken one, and there is no time left anyway.
    """
    breaker = endpoint.breaker
    try:
        response = endpoint.send(outgoing, deadline)
    except BackendTimeout:
        raise
    except BackendFailed as failure:
        breaker.relay_failed(str(failure))
        return failure, outgoing.repeatable or not failure.values.get("sent", True)
    if response.status >= FIRST_SERVER_ERROR:
        breaker.relay_failed(f"status {response.status}")
        return response, outgoing.repeatable
    if response.complaint:
        breaker.relay_failed(response.complaint)
        return response, False
    breaker.relay_succeeded()
    if response.stream is not None:
        response.stream.on_close(lambda failure: breaker.relay_failed(failure) if failure else None)
    return response, False
