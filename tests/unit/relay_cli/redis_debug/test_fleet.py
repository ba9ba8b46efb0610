"""leader and supplier, over leases, heartbeats and registry documents as the product writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from mining_tasks.foreign_miners import ForeignMiners
from relay_cli.redis_debug.leader import lease_status
from relay_store.connection import Store, connect
from relay_store.lease import StoreLease
from relay_store.nodes import heartbeat
from relay_store.redlock import RedlockLease
from relay_store.registry import ACTIVE, NOT_STAKED, SupplierState, encode_supplier_state
from tests.mined_relays import KEYS, SUPPLIER
from tests.stores import private_server
from tests.unit.relay_cli.redis_debug.debug_runs import NODE, SID, TOKEN, debug, mine, read


def register(
    store: Store, supplier: str, status: str = ACTIVE, services: tuple[str, ...] = ("svc1",)
) -> None:
    staked = status != NOT_STAKED
    state = SupplierState(supplier, status, staked, services, last_updated=1_700_000_000, updated_by=NODE)
    store.client.set(KEYS.supplier(supplier), encode_supplier_state(state))
    store.client.sadd(KEYS.registered_suppliers(), supplier)


def test_without_a_beat_the_leader_command_says_so_and_fails(store: Store) -> None:
    result = debug(store, "leader")
    assert result.exit_code == 1
    assert "No active leader: nobody holds pm:beat:lease" in result.stdout
    assert "reference" not in result.stdout


def test_beat_and_nodes_are_named(store: Store) -> None:
    heartbeat(store, KEYS, NODE)
    StoreLease(store).acquire(KEYS.beat_lease(), f"{TOKEN}-beat-host-9")
    StoreLease(store).acquire(KEYS.supplier_lease(SUPPLIER), TOKEN)
    document = read(store, "leader")
    (beat,) = document["leaders"]
    assert (beat["role"], beat["holder"], beat["epoch"], beat["status"]) == (
        "beat",
        "beat-host-9",
        1,
        "healthy",
    )
    assert 0 < beat["ttl_s"] <= 3
    (node,) = document["nodes"]
    assert (node["node"], node["kind"], node["status"], node["suppliers"]) == (NODE, "ours", "live", 1)


@pytest.mark.parametrize(
    ("ttl_ms", "status"),
    [(30_000, "healthy"), (20_001, "healthy"), (20_000, "ok"), (10_001, "ok"), (10_000, "WARNING")],
)
def test_a_lease_is_judged_by_the_thirds_of_its_life(ttl_ms: int, status: str) -> None:
    assert lease_status(ttl_ms, 30_000) == status
    assert lease_status(-1, 30_000) == lease_status(-2, 30_000) == lease_status(0, 30_000) == "CRITICAL"


def test_the_leader_of_a_reference_deployment_is_shown_and_one_that_never_ends_is_critical(
    store: Store,
) -> None:
    StoreLease(store).acquire(KEYS.beat_lease(), TOKEN)
    ForeignMiners(store, KEYS, "reference-1").show()
    store.client.set(KEYS.global_leader(), "reference-1", ex=25)
    rows = {row["role"]: row for row in read(store, "leader")["leaders"]}
    assert (rows["reference's leader"]["holder"], rows["reference's leader"]["status"]) == (
        "reference-1",
        "healthy",
    )
    store.client.persist(KEYS.global_leader())
    rows = {row["role"]: row for row in read(store, "leader")["leaders"]}
    assert (rows["reference's leader"]["ttl_s"], rows["reference's leader"]["status"]) == ("none", "CRITICAL")
    store.client.delete(KEYS.global_leader())
    rows = {row["role"]: row for row in read(store, "leader")["leaders"]}
    assert rows["reference's leader"]["holder"] == ""  # its miners live, and none of them leads


def test_a_reference_deployment_alone_needs_no_beat(store: Store) -> None:
    ForeignMiners(store, KEYS, "reference-1").show()
    assert debug(store, "leader").exit_code == 1
    store.client.set(KEYS.global_leader(), "reference-1", ex=25)
    assert "No active leader" not in debug(store, "leader").stdout and debug(store, "leader").exit_code == 0
    heartbeat(store, KEYS, NODE)
    assert "No active leader" in debug(store, "leader").stdout and debug(store, "leader").exit_code == 1


@pytest.fixture
def masters(tmp_path: Path) -> Iterator[list[str]]:
    with ExitStack() as servers:
        yield [
            servers.enter_context(private_server(tmp_path / str(number))).connection_url
            for number in range(2)
        ]


def test_a_beat_over_independent_masters_leads_while_most_of_them_say_so(
    store: Store, masters: list[str], tmp_path: Path
) -> None:
    urls = [*masters, "redis://127.0.0.1:1/0"]
    host, port = store.url.hosts[0]
    file = tmp_path / "miner.yaml"
    node = {"query_node_rpc_url": "http://127.0.0.1:1", "query_node_grpc_url": "127.0.0.1:1"}
    settings = {"redis": {"url": f"redis://{host}:{port}/0"}, "pocket_node": node, "keys": {"keys_file": "k"}}
    file.write_text(yaml.safe_dump({**settings, "extensions": {"redlock_urls": urls}}))
    votes = [connect(url) for url in masters]
    assert RedlockLease(votes, store, ttl_ms=60_000).acquire(KEYS.beat_lease(), TOKEN)
    result = debug(store, "--config", file, "leader", "--json")
    (beat,) = json.loads(result.stdout)["leaders"]
    assert (result.exit_code, beat["holder"], beat["epoch"]) == (0, TOKEN, 1)
    votes[0].client.delete(KEYS.beat_lease().lease)
    assert debug(store, "--config", file, "leader").exit_code == 1


def test_the_overview_tells_who_owns_what_and_what_is_wrong(store: Store, tmp_path: Path) -> None:
    heartbeat(store, KEYS, NODE)
    heartbeat(store, KEYS, "miner-idle-1-00000000")
    mine(store, tmp_path, 2)
    register(store, SUPPLIER)
    for supplier in ("pokt1second", "pokt1third"):
        register(store, supplier)
        StoreLease(store).acquire(KEYS.supplier_lease(supplier), TOKEN)
    register(store, "pokt1free")
    register(store, "pokt1gone", NOT_STAKED, ())
    register(store, "pokt1empty", services=())
    store.client.set(KEYS.supplier("pokt1broken"), b"{")
    document = read(store, "supplier")
    assert document["summary"] == {
        "suppliers": 7,
        "staked": 5,
        "not_staked": 2,
        "owned": 3,
        "live_nodes": 2,
        "fair_share": "3-4",
    }
    shares = {row["node"]: (row["suppliers"], row["share"]) for row in document["nodes"]}
    assert shares == {NODE: (3, "balanced"), "miner-idle-1-00000000": (0, "under (-3)")}
    owners = {row["supplier"]: (row["stake"], row["owner"]) for row in document["suppliers"]}
    assert owners[SUPPLIER] == ("active", NODE) and owners["pokt1free"] == ("active", "")
    assert owners["pokt1empty"][0] == "contaminated" and owners["pokt1broken"][0] == "unreadable"
    shown = debug(store, "supplier").stdout
    for warning in (
        "pokt1free is staked and nobody owns it",
        "pokt1gone is not served: its stake is not_staked",
        "pokt1empty is said to be staked for nothing",
    ):
        assert f"WARNING: {warning}" in shown


def test_a_supplier_two_sides_hold_is_warned_of(store: Store) -> None:
    heartbeat(store, KEYS, NODE)
    register(store, SUPPLIER)
    StoreLease(store).acquire(KEYS.supplier_lease(SUPPLIER), TOKEN)
    ForeignMiners(store, KEYS, "reference-1").show()
    store.client.set(KEYS.miner_claim(SUPPLIER), "reference-1", ex=90)
    assert read(store, "supplier")["warnings"] == [
        f"{SUPPLIER} is owned by {NODE} and claimed by reference-1"
    ]


def test_suppliers_are_listed_as_relayers_see_them(store: Store) -> None:
    register(store, SUPPLIER, services=("svc1", "svc2"))
    register(store, "pokt1gone", NOT_STAKED, ())
    rows = {row["supplier"]: row for row in read(store, "supplier", "--list")}
    assert rows[SUPPLIER]["services"] == "svc1, svc2" and rows[SUPPLIER]["staked"] == "yes"
    assert rows[SUPPLIER]["last_updated"] == "2023-11-14T22:13:20Z"
    assert (rows["pokt1gone"]["status"], rows["pokt1gone"]["staked"]) == ("not_staked", "no")
    assert debug(store, "supplier", "--list", "--claims").exit_code == 2


def test_one_supplier_is_shown_with_lease_and_sessions(store: Store, tmp_path: Path) -> None:
    heartbeat(store, KEYS, NODE)
    register(store, SUPPLIER)
    mine(store, tmp_path, 2)
    fields = read(store, "supplier", "--supplier", SUPPLIER)
    assert (fields["owner"], fields["epoch"], fields["sessions"]) == (NODE, 1, "1 active")
    assert fields["reference_claim"] == "nobody" and fields["waiting"] == 0
    missing = debug(store, "supplier", "--supplier", "pokt1nobody")
    assert missing.exit_code == 1 and "nothing is known of pokt1nobody" in missing.stderr
    assert SID not in missing.output
