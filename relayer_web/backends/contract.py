"""The seam between the relay pipeline and the backends (spec/relayer.md §1.4, §2.7, §2.8).

The pipeline decides *whether* a relay may reach a backend; an implementation of `Backends` decides
which endpoint gets it, joins and cleans the URL, adds configured headers and auth, retries, times
out and keeps the circuit breaker.

    Unavailable
    +-- BackendTimeout      no complete answer within the service's time; never retried
    +-- BackendFailed       dial, TLS, read or framing error, or an answer over the size limit
    +-- NoBackend           no pool for (service, transport), or none of its endpoints is healthy
    Refused
    +-- ForbiddenRequest    method, header or URL that must not be sent on (decisions D7)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pocket_protocol.errors import Refused, Unavailable

STREAMED_TYPES: Final = frozenset({"text/event-stream", "application/x-ndjson"})


class BackendTimeout(Unavailable):
    """The backend did not give a complete answer in time."""

    reason = "backend_timeout"
    summary = "the backend did not answer in time"


class BackendFailed(Unavailable):
    """The backend could not be reached, or its answer could not be read."""

    reason = "backend_network_error"
    summary = "the backend could not be used"


class NoBackend(Unavailable):
    """Nothing healthy serves this service over this transport. `configured`: a pool exists."""

    reason = "no_backend"
    summary = "no healthy backend"
    configured: bool


class ForbiddenRequest(Refused):
    """The inner request asks for something that is not sent on."""

    reason = "forbidden_request"
    summary = "the inner request may not be sent on"


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """The inner request as the gateway signed it, with what the outer one adds.

    `url` is the inner URL untouched (only its path and query count); `headers` are the inner headers,
    one entry per value, original case. `fill_in` are outer headers used only where the inner request
    has none of that name; `overrides` replace same-named ones (outer `Pocket-*`, then Pocket-Supplier,
    Pocket-Service and Pocket-Application). Config headers and auth go between the two groups of
    overrides, so the last three are given apart in `identity`. `may_stream`: an answer that is a stream
    (`STREAMED_TYPES`) may be handed back while it is still coming.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    fill_in: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    may_stream: bool = False


class BodyStream(Protocol):
    """A body that is still coming. Whoever got it closes it, read to its end or not."""

    def read(self, wait_s: float) -> bytes | None:
        """Return what has come, b"" when nothing did within `wait_s`, None at the end.

        Raises `BackendTimeout` past the call's deadline, `BackendFailed` when it breaks off.
        """

    def close(self) -> None:
        """Give the connection back, or end it when there is more to come."""

    def on_close(self, call: Callable[[str], None]) -> None:
        """Have `call` called once at the end, with what made the backend fail, "" for nothing."""


@dataclass(frozen=True, slots=True)
class BackendResponse:
    """What the backend said, body as it was on the wire after transfer decoding (a gzipped body is gzipped).

    `headers`: one entry per header line, in order, hop-by-hop ones included. `retries`: attempts
    beyond the first that were made. With a `stream`, that is the body and `body` is empty. `complaint`: the answer
    stands, and says that the backend is not well; its breaker counts it.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    retries: int = 0
    stream: BodyStream | None = None
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """One endpoint of a pool as /ready/<service> shows it."""

    name: str
    url: str
    healthy: bool
    transport: str = ""  # the status page alone shows it


class Backends(Protocol):
    """All pools of one worker process. Safe to call from many greenlets or threads."""

    def is_ready(self, service_id: str, transport: str) -> bool:
        """Whether a pool exists for exactly this transport and has a healthy endpoint. Cheap, no I/O."""

    def has_pool(self, service_id: str, transport: str) -> bool:
        """Whether a pool exists for exactly this transport, healthy or not."""

    def call(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        """Send `request` and return the answer, whatever its status.

        Raises `BackendTimeout`, `BackendFailed`, `NoBackend`, `ForbiddenRequest`.
        """

    def call_once(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        """Like `call`, for probes: one attempt, which says nothing about the endpoint's health."""

    def report(self, service_id: str) -> Sequence[EndpointReport]:
        """All endpoints of a service, over all transports."""
