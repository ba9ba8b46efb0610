from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store import nodes, ticket, version
from relay_store.block_feed import BlockPublisher
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.lease import LEASE_TTL_MS, StoreLease, new_token
from relay_store.redlock import RedlockLease
from relay_store.store_errors import StoreFull, store_errors
from tests.stores import private_server

KEYS, S = Keys(), "pokt1s"
LEASES = [KEYS.supplier_lease(S), KEYS.beat_lease()]


@pytest.mark.parametrize("keys", LEASES)
def test_life_of_a_lease(store: Store, keys: object) -> None:
    lease = StoreLease(store)
    assert lease.acquire(keys, "a") == 1
    assert lease.acquire(keys, "b") is None
    assert lease.holders([keys, KEYS.supplier_lease("free")]) == ["a", None]
    assert 0 < store.client.pttl(keys.lease) <= LEASE_TTL_MS
    assert lease.renew([keys], "a") == [True] and lease.renew([keys], "b") == [False]
    assert not lease.release(keys, "b")
    assert lease.release(keys, "a") and not lease.release(keys, "a")
    assert lease.renew([keys], "a") == [False]
    assert lease.acquire(keys, "b") == 2
    assert lease.acquire(keys, "b") == 3, "what is ours already can be acquired anew"


def test_ownership_outlives_the_lease_until_somebody_else_acquires(store: Store) -> None:
    lease, keys = StoreLease(store, ttl_ms=5), KEYS.supplier_lease(S)
    assert lease.acquire(keys, "a") == 1
    while store.client.exists(keys.lease):
        pass
    assert store.client.get(keys.owner) == b"a"
    assert lease.acquire(keys, "b") == 2
    assert store.client.get(keys.owner) == b"b"


def test_a_lease_whose_ownership_is_gone_is_not_renewed(store: Store) -> None:
    lease, keys = StoreLease(store), KEYS.supplier_lease(S)
    lease.acquire(keys, "a")
    store.client.set(keys.owner, "b")
    assert lease.renew([keys], "a") == [False]


def test_a_thousand_leases_are_renewed_at_once(store: Store) -> None:
    lease = StoreLease(store)
    held = [KEYS.supplier_lease(f"pokt1s{number}") for number in range(1000)]
    for number, keys in enumerate(held):
        if number != 500:
            assert lease.acquire(keys, "a") == 1
    store.client.script_flush()
    renewed = lease.renew(held, "a")
    assert renewed.count(False) == 1 and not renewed[500]
    assert lease.renew([], "a") == []


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Store]:
    """A store that is out of memory once `fill` is done."""
    with private_server(tmp_path, **{"maxmemory-policy": "noeviction"}) as server:
        opened = connect(server.connection_url)
        yield opened
        opened.close()


def fill(store: Store) -> None:
    store.client.config_set("maxmemory", 1)
    with pytest.raises(StoreFull), store_errors():
        store.client.set("more", "x")


def test_a_full_store_keeps_nobody_from_taking_over(full: Store) -> None:
    """Suppliers change hands, nodes show that they live and heights rise: none of it needs more than a few bytes."""
    lease, keys, free = StoreLease(full), KEYS.supplier_lease(S), KEYS.supplier_lease("free")
    heights = BlockPublisher(full.client, height_key=KEYS.height(), channel="c", chain_id="pocket")
    assert lease.acquire(keys, "dead") == 1
    fill(full)
    assert lease.renew([keys], "dead") == [True]
    full.client.delete(keys.lease)
    assert lease.acquire(keys, "b") == 2 and full.client.get(keys.owner) == b"b"
    assert lease.acquire(free, "b") == 1 and lease.renew([keys, free], "b") == [True, True]
    nodes.heartbeat(full, KEYS, "n1")
    assert nodes.live_nodes(full, KEYS) == ["n1"]
    assert heights.publish(BlockPosition(Height(5), BlockHash(bytes(32)), 1))
    assert not heights.publish(BlockPosition(Height(5), BlockHash(bytes(32)), 1))


def test_a_full_store_keeps_nobody_from_taking_over_by_redlock(full: Store) -> None:
    lease, keys = RedlockLease([full], full), KEYS.supplier_lease(S)
    fill(full)
    assert lease.acquire(keys, "a") == 1 and lease.renew([keys], "a") == [True]
    full.client.delete(keys.lease)
    assert lease.acquire(keys, "b") == 2 and full.client.get(keys.owner) == b"b"


def test_tokens_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100


def test_one_ticket_for_each_supplier(store: Store) -> None:
    assert ticket.take_tickets(store, KEYS, ["a", "b"]) == (["a", "b"], {})
    assert ticket.take_tickets(store, KEYS, ["a", "b", "c"]) == (["c"], {})
    assert 0 < store.client.pttl(KEYS.ticket("a")) <= ticket.TICKET_TTL_MS
    ticket.clear_ticket(store, KEYS, "b")
    assert ticket.take_tickets(store, KEYS, ["a", "b", "c"]) == (["b"], {})


def test_a_ticket_says_how_long_relays_gather(store: Store) -> None:
    ticket.gather(store, KEYS, "a", 60)
    assert ticket.take_tickets(store, KEYS, ["a", "b"]).taken == ["a", "b"], "only a ticket can be shortened"
    ticket.gather(store, KEYS, "a", 60)
    taken, gathering = ticket.take_tickets(store, KEYS, ["a", "b"])
    assert taken == [] and gathering.keys() == {"a"}
    assert 0 < gathering["a"] <= ticket.LONGEST_GATHERING_MS / 1000
    ticket.gather(store, KEYS, "a", 0)
    assert ticket.take_tickets(store, KEYS, ["a", "b"]) == (["a"], {})


def test_nodes_live_while_they_say_so(store: Store) -> None:
    nodes.heartbeat(store, KEYS, "n2")
    nodes.heartbeat(store, KEYS, "n1")
    store.client.zadd(KEYS.nodes(), {"dead": 1, "silent": store.client.time()[0] * 1000 - 60_000})
    assert nodes.live_nodes(store, KEYS) == ["n1", "n2"]
    nodes.heartbeat(store, KEYS, "n1")
    assert store.client.zscore(KEYS.nodes(), "dead") is None
    nodes.leave(store, KEYS, "n1")
    assert nodes.live_nodes(store, KEYS) == ["n2"]


def test_data_of_a_newer_program_is_refused(store: Store) -> None:
    assert version.check_version(store, KEYS) == version.check_version(store, KEYS) == version.DATA_VERSION
    for found in (str(version.DATA_VERSION + 1), "0", "x", ""):
        store.client.set(KEYS.version(), found)
        with pytest.raises(version.DataVersionUnknown):
            version.check_version(store, KEYS)
