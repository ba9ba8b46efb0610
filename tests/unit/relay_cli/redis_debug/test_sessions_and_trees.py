"""sessions, streams, smst and submissions, over what a real accumulation leaves in a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mining_tasks.inclusion import ROOT_FIELD
from pocket_protocol import smst as tree
from relay_store.connection import Store
from relay_store.leaves import Leaves
from tests.mined_relays import CUPR, KEYS, SUPPLIER, expected_root, header_of, publish, publish_relays
from tests.unit.relay_cli.redis_debug.debug_runs import SESSION_KEY, SID, debug, mine, read


def test_one_session_is_shown_with_every_field(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 5)
    store.client.hset(
        SESSION_KEY, mapping={ROOT_FIELD: expected_root(1, range(5)).to_bytes().hex(), "note": b"\xff\n"}
    )
    (document,) = read(store, "sessions", "--session", SID)
    assert (document["session"], document["state"], document["leaves"]) == (SID, "active", 5)
    assert document["compute_units"] == 5 * CUPR and document["claim_window"] == "22-30"
    assert document[ROOT_FIELD] == expected_root(1, range(5)).to_bytes().hex()
    assert document["ttl_s"] > 0
    shown = debug(store, "sessions", "--session", SID).stdout
    assert f"session                  {SID}" in shown and "\\xff\\n" in shown
    assert read(store, "sessions", "--session", "0" * 64) == []
    assert debug(store, "sessions", "--session", "0" * 64).stdout == "nothing found\n"
    assert [row["session"] for row in read(store, "sessions", "--state", "active")] == [SID]
    assert (
        debug(store, "sessions", "--state", "settled").exit_code == 2
    )  # the reference's help lists it; it is none


def test_sessions_of_a_reference_miner_are_listed_and_damaged_ones_named(store: Store) -> None:
    fields = {
        "session_id": SID,
        "supplier_operator_address": SUPPLIER,
        "service_id": "svc1",
        "application_address": "pokt1application",
        "session_start_height": 11,
        "session_end_height": 20,
        "state": "claimed",
        "claimed_root_hash": expected_root(1, range(3)).to_bytes(),
    }
    store.client.hset(KEYS.reference_session(SUPPLIER, SID), mapping=fields)
    store.client.hset(KEYS.reference_session(SUPPLIER, "broken"), mapping={"state": "claimed"})
    store.client.sadd(KEYS.reference_session_index(SUPPLIER), SID, "broken")
    rows = {row["session"]: row for row in read(store, "sessions", "--reference")}
    assert (
        rows[SID]["state"] == "claimed" and rows[SID]["root"] == expected_root(1, range(3)).to_bytes().hex()
    )
    assert rows[SID]["problem"] == "" and "cannot be read" in rows["broken"]["problem"]
    assert [
        row["session"]
        for row in read(store, "sessions", "--reference", "--state", "claimed", "--session", SID)
    ] == [SID]
    assert read(store, "sessions") == []


def test_a_stream_shows_its_readers_and_only_its_newest_entries(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 1)
    publish_relays(store, 1, range(10, 15))
    store.client.xreadgroup("ha-miners", "other", {KEYS.relay_stream(SUPPLIER): ">"}, count=2)
    publish(store, [b"no relay"])
    document = read(store, "streams", "--supplier", SUPPLIER, "--limit", 3)
    assert (document["entries"], document["pending"]) == (6, 2)
    readers = {reader["group"]: reader for reader in document["readers"]}
    assert (
        readers["ha-miners"]["pending"] == 2 and "other (2 pending" in readers["ha-miners"]["consumer_names"]
    )
    poison, *relays = document["newest"]
    assert len(relays) == 2 and poison["problem"] and poison["bytes"] == 8
    assert {(row["session"], row["service"], row["compute_units"]) for row in relays} == {(SID, "svc1", CUPR)}
    assert all(len(row["relay_hash"]) == 64 and row["problem"] == "" for row in relays)
    shown = debug(store, "streams", "--supplier", SUPPLIER).stdout
    assert "Consumer groups" in shown and "Newest entries" in shown
    assert read(store, "streams", "--supplier", "pokt1nobody")["entries"] == 0


def test_a_sound_tree_is_told_with_its_seal_root_and_leaves(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 12)
    (one,) = read(store, "smst", "--session", SID, "--limit", 2)["trees"]
    assert (one["consistent"], one["leaves"], one["index_bytes"]) == ("yes", 12, 12 * 72)
    assert (one["compute_units"], one["leaves_of_another_weight"], one["root"]) == (12 * CUPR, 0, "none")
    assert [(leaf["compute_units"], leaf["bytes"] > 200) for leaf in one["first"]] == [(CUPR, True)] * 2
    mine(store, tmp_path, 12, sealed=True)
    (one,) = read(store, "smst", "--session", SID, "--supplier", SUPPLIER)["trees"]
    root = expected_root(1, range(12))
    assert (one["sealed_leaves"], one["sealed_bytes"], one["root_leaves"]) == (12, 12 * 72, 12)
    assert (one["root"], one["root_compute_units"]) == (root.digest.hex(), root.sum)
    assert one["problems"] == [] and "First leaves" in debug(store, "smst", "--session", SID).stdout
    assert read(store, "smst", "--session", "0" * 64) == {"trees": [], "reference": []}


def _cut_index(store: Store, leaves: Leaves) -> None:
    store.client.set(leaves.index_key, store.client.get(leaves.index_key)[:-72])


def _repeat_record(store: Store, leaves: Leaves) -> None:
    index = store.client.get(leaves.index_key)
    store.client.set(leaves.index_key, index[:-72] + index[:72])


def _lose_leaf(store: Store, leaves: Leaves) -> None:
    path = tree.record_path(tree.collapse(store.client.get(leaves.index_key))[0])
    store.client.hdel(leaves.leaves_key, path)
    store.client.hset(leaves.leaves_key, b"x" * 32, b"another")


def _other_root(store: Store, leaves: Leaves) -> None:
    store.client.set(leaves.root_key, expected_root(1, range(3)).to_bytes())


def _broken_seal(store: Store, leaves: Leaves) -> None:
    store.client.set(leaves.seal_key, b"seal")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_cut_index, "12 leaves need an index of 864 bytes, it has 792"),
        (_cut_index, "sealed over 864 bytes of an index that has 792"),
        (_repeat_record, "12 leaves, 11 of them in the index"),
        (_lose_leaf, "is missing"),
        (_other_root, "the stored root is not that of the leaves"),
        (_broken_seal, "seal is not 16 bytes"),
    ],
)
def test_a_damaged_tree_is_told_and_is_an_error(
    store: Store, tmp_path: Path, damage: Any, problem: str
) -> None:
    mine(store, tmp_path, 12, sealed=True)
    damage(store, Leaves(store, KEYS, SUPPLIER, SID))
    result = debug(store, "smst", "--session", SID)
    assert result.exit_code == 1
    assert problem in result.stdout and "consistent                no" in result.stdout


def test_the_freed_leaves_of_a_finished_session_are_no_damage(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 3, sealed=True)
    leaves = Leaves(store, KEYS, SUPPLIER, SID)
    store.client.hset(SESSION_KEY, "state", "proved")
    store.client.delete(leaves.leaves_key, leaves.index_key)
    (one,) = read(store, "smst", "--session", SID)["trees"]
    assert one["consistent"].startswith("leaves freed") and one["root_leaves"] == 3


def test_leaves_whose_weight_was_not_known_are_counted_and_no_damage(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 4)
    leaves = Leaves(store, KEYS, SUPPLIER, SID)
    records = tree.collapse(store.client.get(leaves.index_key))
    path = tree.record_path(records[0])
    relay, _ = tree.split_leaf_value(store.client.hget(leaves.leaves_key, path))
    store.client.hset(leaves.leaves_key, path, tree.leaf_value(relay, 0))  # type: ignore[arg-type]
    store.client.set(leaves.index_key, tree.leaf_record(path, relay, 0) + b"".join(records[1:]))  # type: ignore[arg-type]
    (one,) = read(store, "smst", "--session", SID)["trees"]
    assert (one["leaves_of_another_weight"], one["compute_units"], one["consistent"]) == (1, 3 * CUPR, "yes")


def test_the_tree_of_a_reference_miner_is_shown(store: Store) -> None:
    nodes = {f"{number:064x}": bytes(number + 1) for number in range(5)}
    store.client.hset(KEYS.smst(SUPPLIER, SID, "nodes"), mapping=nodes)
    store.client.set(KEYS.smst(SUPPLIER, SID, "live_root"), expected_root(1, range(3)).to_bytes())
    (one,) = read(store, "smst", "--session", SID, "--limit", 2)["reference"]
    assert (one["supplier"], one["nodes"], one["root"]) == (SUPPLIER, 5, "none")
    assert "3 leaves" in one["live_root"] and len(one["first"]) == 2
    assert all(len(row["node"]) == 64 for row in one["first"])


def submission(number: int, **fields: Any) -> dict[str, Any]:
    header = header_of(number)
    return {
        "supplier": SUPPLIER,
        "service": "svc1",
        "application": "pokt1application",
        "session_id": header.session_id,
        "session_start": header.session_start_block_height,
        "session_end": header.session_end_block_height,
        "claim_tx_hash": "AA",
        "claim_success": True,
        "claim_submit_timestamp": number,
        "num_relays": number,
        "proof_required": False,
        **fields,
    }


def keep(store: Store, *records: dict[str, Any]) -> None:
    for record in records:
        key = KEYS.submission(record["supplier"], record["session_end"], record["session_id"])
        store.client.set(key, json.dumps(record))


def test_submissions_are_newest_first_filtered_and_judged_by_the_chain(store: Store) -> None:
    keep(
        store,
        submission(1, claim_on_chain_outcome="on_chain_found", claim_error_reason="a try that failed before"),
        submission(
            2, claim_on_chain_outcome="on_chain_missing"
        ),  # the node took it, the chain does not have it
        submission(3, proof_required=True, proof_tx_hash="BB", proof_success=True),
        submission(4, proof_required=True),
        submission(5, claim_tx_hash="", claim_success=False, claim_on_chain_outcome="on_chain_missing"),
        submission(6, claim_success=False, claim_error_reason="insufficient funds"),
        submission(7, claim_tx_hash="", claim_success=False),  # not worth its fee
    )
    shown = [line.split() for line in debug(store, "submissions").stdout.splitlines()]
    assert shown[0][:4] == ["SESSION", "END", "SERVICE", "SUPPLIER"]
    figures = {line[0]: " ".join(line[3:]) for line in shown[1:-1]}
    assert list(figures) == ["80", "70", "60", "50", "40", "30", "20"]
    assert figures["20"].startswith("✓ SUCCESS -") and figures["30"].startswith("✗ FAILED -")
    assert figures["40"].startswith("✓ SUCCESS ✓ SUCCESS") and figures["50"].startswith("✓ SUCCESS ⊗ MISSING")
    assert figures["60"].startswith("⊗ MISSING -") and figures["80"].startswith("- -")
    assert "insufficient funds" in debug(store, "submissions", "--failed-only").stdout
    ends = lambda *options: [record["session_end"] for record in read(store, "submissions", *options)]  # noqa: E731
    assert ends("--failed-only") == [70, 60, 50, 30]
    assert ends("--success-only", "--limit", 2) == [80, 40]
    assert ends("--limit", 0, "--supplier", SUPPLIER) == [80, 70, 60, 50, 40, 30, 20]
    assert ends("--session-end", 30) == [30] and ends("--service", "other") == []
    (one,) = read(store, "submissions", "--session", header_of(2).session_id)
    assert one["claim_on_chain_outcome"] == "on_chain_missing"
    assert (
        "claim on chain outcome  on_chain_missing"
        in debug(store, "submissions", "--session", one["session_id"]).stdout
    )
    assert debug(store, "submissions", "--failed-only", "--success-only").exit_code == 2


def test_a_record_that_cannot_be_read_hides_no_other(store: Store) -> None:
    keep(store, submission(1))
    store.client.set(KEYS.submission(SUPPLIER, 1, "broken"), b"[1")
    result = debug(store, "submissions", "--json")
    assert len(json.loads(result.stdout)) == 1 and "unreadable record" in result.stderr
