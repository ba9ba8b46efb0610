"""Calls of the backend client to a raw backend."""

from __future__ import annotations

import time

from relayer_web.backends.connections import ConnectionLimits
from relayer_web.backends.contract import BackendResponse
from relayer_web.backends.http_client import HttpClient, Origin, OutgoingRequest
from relayer_web.backends.observer import BackendObserver
from tests.raw_backend import RawBackend

MAX_BODY = 1000


class Connections(BackendObserver):
    def __init__(self) -> None:
        self.reused: list[bool] = []
        self.waits: list[float] = []

    def connected(self, service_id: str, reused: bool) -> None:
        self.reused.append(reused)

    def waited(self, service_id: str, seconds: float) -> None:
        self.waits.append(seconds)


def client_of(backend: RawBackend, observer: BackendObserver | None = None, **limits: float) -> HttpClient:
    head_s = limits.pop("head_s", 0.0)
    return HttpClient(
        Origin(False, "127.0.0.1", backend.port),
        ConnectionLimits(**limits),  # type: ignore[arg-type]
        max_body_bytes=MAX_BODY,
        head_s=head_s,
        observer=observer,
    )


def ask(
    client: HttpClient,
    method: str = "POST",
    body: bytes = b"q",
    timeout_s: float = 5.0,
    *,
    repeatable: bool = True,
) -> BackendResponse:
    request = OutgoingRequest(method, "/x?y=1", [("X-A", "é")], body, repeatable)
    return client.call(request, time.monotonic() + timeout_s)
