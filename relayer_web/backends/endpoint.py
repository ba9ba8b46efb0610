"""One address of a pool: its URL, its breaker and the way a request for it is built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from relayer_web.backends.breaker import Breaker
from relayer_web.backends.contract import BackendFailed, BackendRequest, BackendResponse
from relayer_web.backends.headers import HeaderRules, checked_method
from relayer_web.backends.http_client import Origin, OutgoingRequest
from relayer_web.backends.path import request_target

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
QUERY_TRANSPORTS = frozenset({"jsonrpc", "cometbft"})
SECURE_SCHEMES = frozenset({"https", "wss", "grpcs"})
WEBSOCKET_SCHEMES = frozenset({"ws", "wss"})
REMEMBERED_TARGETS = 256
REMEMBERED_URL_LENGTH = 256


@dataclass(frozen=True, slots=True)
class EndpointUrl:
    """A configured URL taken apart."""

    scheme: str
    origin: Origin
    path: str
    query: str

    @classmethod
    def parse(cls, url: str) -> EndpointUrl:
        """`url` is complete and was checked when the configuration was read."""
        parts = urlsplit(url)
        secure = parts.scheme in SECURE_SCHEMES
        port = parts.port or (443 if secure else 80)
        return cls(parts.scheme, Origin(secure, parts.hostname or "", port), parts.path, parts.query)


class BackendClient(Protocol):
    """Sends requests to one origin: over HTTP/1.1, or as gRPC calls."""

    def call(self, request: OutgoingRequest, deadline: float) -> BackendResponse:
        """Raises `BackendTimeout`, `BackendFailed`, `ForbiddenRequest`."""

    def check_connection(self, deadline: float) -> None:
        """Have a connection. Raises `BackendTimeout`, `BackendFailed`."""

    def close(self) -> None:
        """Close what is idle."""


class Endpoint:
    """An address relays of one (service, transport) may go to."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        transport: str,
        base_path: str,
        max_url_bytes: int,
        breaker: Breaker,
        rules: HeaderRules,
        client: BackendClient,
    ) -> None:
        self.name = name
        self.url = url
        self.breaker = breaker
        self.client = client
        self.location = EndpointUrl.parse(url)
        self.transport = transport
        self._base_path = base_path
        self._max_url_bytes = max_url_bytes
        self._rules = rules
        self._remembered = lru_cache(REMEMBERED_TARGETS)(self._computed_target)

    def target(self, inner_url: str) -> str:
        """Return path and query of a request for `inner_url` here. Raises `ForbiddenRequest`."""
        if len(inner_url) <= REMEMBERED_URL_LENGTH:
            return self._remembered(inner_url)
        return self._computed_target(inner_url)

    def prepare(self, request: BackendRequest) -> OutgoingRequest:
        """Build what is sent here. Raises `ForbiddenRequest`."""
        method = checked_method(request.method)
        return OutgoingRequest(
            method,
            self.target(request.url),
            self._rules.merge(request),
            request.body,
            repeatable=self.transport in QUERY_TRANSPORTS or method in SAFE_METHODS,
            may_stream=request.may_stream,
        )

    def headers(self, request: BackendRequest) -> list[tuple[str, str]]:
        """Return the headers a request gets here, for connections of the caller's own. Raises `ForbiddenRequest`."""
        return self._rules.merge(request)

    def send(self, request: OutgoingRequest, deadline: float) -> BackendResponse:
        """Send to this endpoint. Raises `BackendTimeout`, `BackendFailed`, `ForbiddenRequest`."""
        if self.location.scheme in WEBSOCKET_SCHEMES:
            raise BackendFailed(what=f"{self.location.scheme} takes no HTTP request", sent=False)
        return self.client.call(request, deadline)

    def _computed_target(self, inner_url: str) -> str:
        location = self.location
        return request_target(location.path, location.query, self._base_path, inner_url, self._max_url_bytes)
