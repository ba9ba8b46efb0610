from __future__ import annotations

from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.scripts import GROUPS_AT_ONCE, ask_each

KEYS = Keys()


def commands(store: Store) -> int:
    return int(store.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_one_question_to_many_keys_is_few_commands(store: Store) -> None:
    names = [f"k{number}" for number in range(2 * GROUPS_AT_ONCE + 3)]
    store.client.mset({name: name for name in names[::2]})
    ask_each(store, "GET", names[:1])
    before = commands(store)
    replies = ask_each(store, "GET", names)
    assert commands(store) - before == 3
    assert replies == [None if number % 2 else name.encode() for number, name in enumerate(names)]
    store.client.zadd("z", {"a": 1, "b": 5})
    assert ask_each(store, "ZCOUNT", ["z", "none"], 2, 9) == [1, 0]
    assert ask_each(store, "ZCOUNT", [], 2, 9) == []


def test_a_thousand_leases_are_renewed_by_two_commands(store: Store) -> None:
    lease, held = StoreLease(store), [KEYS.supplier_lease(f"s{number}") for number in range(1000)]
    for keys in held:
        assert lease.acquire(keys, "me")
    assert lease.renew(held[:1], "me") == [True]
    store.client.set(held[3].lease, "other")
    store.client.set(held[700].owner, "other")
    store.client.delete(held[999].lease)
    before = commands(store)
    renewed = lease.renew(held, "me")
    assert commands(store) - before == 2
    assert [number for number, ours in enumerate(renewed) if not ours] == [3, 700, 999]
