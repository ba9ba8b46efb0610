"""Bridges whose backend is lost, and bridges of a relayer that is told to end (spec/relayer.md §1.7)."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from tests.integration.sender import Sender
from tests.integration.socket_relays import OTHER, SERVICE, connect, relay, socket_stage
from tests.integration.stage import get_json, wait_until


def test_a_lost_backend_is_no_1006(tmp_path: Any) -> None:
    """And SIGTERM ends a hundred bridges with 1001, long before the time to finish is over."""
    with socket_stage(tmp_path) as stage:
        sender = Sender(stage.layout.ports.address("grpc"), [SERVICE, OTHER], 5)
        with connect(stage) as client:
            client.send(relay(sender))
            client.message()
            os.kill(stage.process_id("backend"), signal.SIGKILL)
            assert client.goodbye() == (1011, "backend connection lost")
        url = stage.layout.ports.url("backend") + "/health"

        def is_back() -> bool:
            try:
                return bool(get_json(url))
            except OSError:
                return False

        wait_until(is_back, "the backend to be started again")
        clients = [connect(stage) for _ in range(100)]
        for client in clients[:50]:
            client.send(relay(sender))
            client.message()
        started = time.monotonic()
        os.kill(stage.process_id("relayer"), signal.SIGTERM)
        goodbyes = [client.goodbye() for client in clients]
        assert {code for code, _ in goodbyes} == {1001}
        for client in clients:
            client.sock.close()
        assert time.monotonic() - started < 10
