"""Sentinel and Cluster over TLS. By hand: the embedded server is built without, POCKET_STORE_SERVER names one with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mining_tasks.accumulate import accumulate
from operations.broker import broker_of
from operations.sections import RedisSection, SharedExtensions
from relay_cli.up.store_server import store_executable
from relay_store.connection import Store, connect
from relay_store.lease import StoreLease
from relay_store.store_errors import StoreUnavailable
from relayer_web.task_sender import celery_app, task_sender
from tests.mined_relays import KEYS, SUPPLIER, publish_relays
from tests.stores import kill_server
from tests.tls import make_certificates
from tests.topologies import running_cluster, running_sentinel, wait_until
from tests.unit.mining_tasks.accumulations import assert_exact, assert_ledger, node_on


@pytest.fixture(scope="module", autouse=True)
def _tls() -> None:
    """Skip where the server is built without TLS: only with it the wrong file is what it complains about."""
    command = [str(store_executable()), "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    if "Failed to configure TLS" not in said:
        pytest.skip("the server is built without TLS: name another in POCKET_STORE_SERVER")


def _mine(store: Store, directory: Path, first: int) -> None:
    publish_relays(store, 1, range(first, first + 10))
    accumulate(SUPPLIER, node_on(store, directory / "locks", 1))
    assert_exact(store, 1, range(first + 10))
    assert_ledger(store, first + 10)


def test_a_cluster(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls")
    with running_cluster(tmp_path, certificates) as cluster:
        store = connect(cluster.url)
        _mine(store, tmp_path, 0)
        assert all(node.connection_pool.connection_kwargs["ssl_ca_certs"] for node in store.masters())
        store.close()
        with pytest.raises(StoreUnavailable):
            connect(cluster.url.partition("?")[0])


def test_sentinels_a_failover_and_the_broker_behind_them(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls")
    with running_sentinel(tmp_path, certificates) as replicated:
        with pytest.raises(StoreUnavailable):
            connect(replicated.url.partition("?")[0]).ping()
        store = connect(replicated.url, timeout_s=1)
        _mine(store, tmp_path, 0)
        broker = broker_of(RedisSection(url=replicated.url), SharedExtensions())
        task_sender(broker).send(SUPPLIER)
        with celery_app(broker).connection_for_write() as connection:
            assert connection.SimpleQueue(f"supplier.{SUPPLIER}").get(timeout=5).payload[0] == [SUPPLIER]
        replica = connect(replicated.replica.connection_url).client
        wait_until(lambda: replica.exists(KEYS.supplier_lease(SUPPLIER).owner))
        kill_server(replicated.master)
        wait_until(lambda: StoreLease(store).acquire(KEYS.supplier_lease(SUPPLIER), "me"))
        _mine(store, tmp_path, 10)
        store.close()
