"""The debug commands on a Cluster: every master is looked at, and what is deleted goes wherever it lives."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from relay_store.connection import Store
from relay_store.group_commit import GroupCommit
from relay_store.lease import StoreLease
from relay_store.meter import Allowance, RelayMeter
from relay_store.registry import ACTIVE, SupplierState, encode_supplier_state
from tests.mined_relays import KEYS, SUPPLIER
from tests.topologies import Cluster
from tests.unit.relay_cli.redis_debug.debug_runs import SID, TOKEN, debug, mine, read

SPREAD = 40  # keys enough to stand on both masters


def test_sessions_trees_suppliers_and_leaders_are_seen_on_every_master(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 5, sealed=True)
    for number in range(SPREAD):
        StoreLease(store).acquire(KEYS.supplier_lease(f"pokt1s{number}"), TOKEN)
    StoreLease(store).acquire(KEYS.beat_lease(), TOKEN)
    assert [row["session"] for row in read(store, "sessions")] == [SID]
    (tree,) = read(store, "smst", "--session", SID)["trees"]
    assert (tree["consistent"], tree["root_leaves"]) == ("yes", 5)
    assert read(store, "supplier")["summary"]["owned"] == SPREAD + 1
    assert read(store, "leader")["leaders"][0]["holder"] == TOKEN
    assert read(store, "streams", "--supplier", SUPPLIER)["readers"][0]["pending"] == 0


def test_keys_meters_and_caches_are_counted_and_deleted_on_every_master(
    cluster: Cluster, store: Store
) -> None:
    meter = RelayMeter(GroupCommit(store), KEYS, ttl_s=60)
    contaminated = encode_supplier_state(SupplierState(SUPPLIER, ACTIVE, True))
    for number in range(SPREAD):
        meter.reserve(Allowance(f"s{number}", SUPPLIER, "app", "svc1", 20, 1000, None, 10), 1)
        store.client.set(KEYS.service(f"svc{number}"), b"abc")
        store.client.set(KEYS.supplier(f"pokt1s{number}"), contaminated)
    assert all(master.dbsize() for master in cluster.masters)
    assert len(read(store, "meter")) == SPREAD
    assert len(read(store, "keys", "--limit", 0)) == sum(master.dbsize() for master in cluster.masters)
    assert read(store, "cache", "--type", "all", "--invalidate", "--all", "--yes")["deleted"] == 2 * SPREAD
    result = debug(store, "flush", "--pattern", "ha:meter:*", answer="DELETE\n")
    assert f"{2 * SPREAD + 1} keys deleted" in result.stdout
    assert sum(master.dbsize() for master in cluster.masters) == 0


def test_a_message_published_at_any_master_is_heard(cluster: Cluster, store: Store) -> None:
    done = threading.Event()

    def talk() -> None:
        while not done.wait(0.01):
            for number, master in enumerate(cluster.masters):
                master.publish("news", number)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        result = debug(store, "pubsub", "--channel", "news", "--duration", 0.3, "--json")
    finally:
        done.set()
        talker.join()
    assert {json.loads(line)["payload"] for line in result.stdout.splitlines()} == {"0", "1"}
