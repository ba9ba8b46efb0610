"""Names of backends: asked for once, again when nobody answers, and never waited for beyond the time."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from relayer_web.backends.connections import ConnectionLimits
from relayer_web.backends.http_client import HttpClient, Origin
from relayer_web.backends.resolver import Resolver
from tests.raw_backend import ok, raw_backend
from tests.unit.relayer_web.backend_calls import MAX_BODY, ask


def test_names_are_resolved_once_and_again_when_nobody_answers() -> None:
    with raw_backend(ok()) as backend:
        lookups: list[str] = []
        answers = [("127.0.0.2", 1), ("127.0.0.1", backend.port)]

        def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            lookups.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers[min(len(lookups), 2) - 1])]

        resolver = Resolver("backend.test", backend.port, lookup=lookup)
        client = HttpClient(
            Origin(False, "backend.test", backend.port),
            ConnectionLimits(),
            max_body_bytes=MAX_BODY,
            resolver=resolver,
        )
        assert ask(client).body == b"ok"
        backend.hang_up()
        assert ask(client).body == b"ok"
    assert lookups == ["backend.test", "backend.test"]
    assert b"Host: backend.test:" in backend.requests[0]


def test_a_name_that_cannot_be_resolved_fails_and_a_stuck_resolver_costs_no_more_than_the_time() -> None:
    def unknown(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(OSError, match="not known"):
        Resolver("x.test", 1, lookup=unknown).addresses(time.monotonic() + 1)
    release = threading.Event()

    def stuck(*_: object, **__: object) -> list[tuple[object, ...]]:
        release.wait(10)
        return []

    with pytest.raises(TimeoutError):
        Resolver("x.test", 1, lookup=stuck).addresses(time.monotonic() + 0.1)
    release.set()


def test_old_addresses_serve_while_new_ones_are_asked_for() -> None:
    now = [0.0]
    asked: list[int] = []
    again = threading.Event()

    def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(1)
        if len(asked) == 2:
            again.set()
            raise socket.gaierror(-3, "Temporary failure")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]

    resolver = Resolver("x.test", 80, lookup=lookup, lifetime_s=30, monotonic=lambda: now[0])
    assert resolver.addresses(5.0) == [(socket.AF_INET, ("10.0.0.1", 80))]
    now[0] = 31.0
    deadline = time.monotonic() + 5
    while not again.wait(0.01):  # the first look-up may not have quite ended
        assert resolver.addresses(36.0) == [(socket.AF_INET, ("10.0.0.1", 80))]
        assert time.monotonic() < deadline
    assert resolver.addresses(36.0) == [(socket.AF_INET, ("10.0.0.1", 80))]
