"""Roots of session trees, their index records, and weights set late."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import smst
from pocket_protocol.smst import Root, bulk_root, collapse, leaf_record, leaf_value, path_of, reweigh
from tests.unit.pocket_protocol.session_trees import Leaf, plain_digest, records_of, relay_leaf, trees
from tests.vectors import load


@pytest.mark.parametrize("tree", load("smst")["trees"], ids=lambda tree: tree["name"])
def test_root_after_each_operation(tree):
    """Also after deletes: the root is that of the set of leaves."""
    records = {}
    for op in tree["ops"]:
        key = bytes.fromhex(op["key"])
        path = key if tree["path_hasher"] == "raw" else path_of(key)
        if op["op"] == "update":
            records[path] = leaf_record(path, bytes.fromhex(op["value"]), int(op["weight"]))
        else:
            records.pop(path, None)
        assert bulk_root(sorted(records.values())).hex() == op["root"]
    assert bulk_root(sorted(records.values())).hex() == tree["root"]


@settings(max_examples=60, deadline=None)
@given(trees(), st.randoms(use_true_random=False))
def test_root_equals_the_plain_definition_in_any_order(leaves: list[Leaf], shuffler):
    records = [leaf.record for leaf in leaves] * 2
    shuffler.shuffle(records)
    assert bulk_root(collapse(b"".join(records))) == plain_digest(leaves)


def test_empty_tree_and_single_leaf():
    assert bulk_root([]) == bytes(48)
    leaf = relay_leaf(b"relay", 7)
    assert bulk_root([leaf.record]) == leaf.record[32:] + (1).to_bytes(8, "big")


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_root_value_round_trip(digest: bytes, total: int, count: int):
    data = Root(digest, total, count).to_bytes()
    assert len(data) == 48
    assert Root.from_bytes(data) == Root(digest, total, count)


def test_sum_comes_before_count():
    leaves = [relay_leaf(bytes([i]), 1000) for i in range(3)]
    root = Root.from_bytes(bulk_root(records_of(leaves)))
    assert (root.sum, root.count) == (3000, 3)


@pytest.mark.parametrize("length", [0, 32, 47, 49])
def test_root_of_another_length(length: int):
    with pytest.raises(smst.BadRoot):
        Root.from_bytes(bytes(length))


def test_collapse_keeps_the_last_record_of_a_path():
    leaf, other = relay_leaf(b"a"), relay_leaf(b"b")
    unweighed = Leaf(leaf.path, leaf.relay_bytes, 0)
    index = unweighed.record + other.record + leaf.record
    assert collapse(index) == sorted([leaf.record, other.record])
    assert collapse(b"") == []


@pytest.mark.parametrize("length", [1, 71, 73])
def test_torn_index(length: int):
    with pytest.raises(smst.BadIndex):
        collapse(bytes(length))


def test_records_written_without_weight_get_the_session_weight():
    """decisions.md B4: sum = count × compute units per relay, whatever was known when."""
    known, unknown = relay_leaf(b"known", 1000), relay_leaf(b"unknown", 0)
    weighed = Leaf(unknown.path, unknown.relay_bytes, 1000)
    records = records_of([known, unknown])
    assert smst.other_weight(records, 1000) == [unknown.path]
    assert reweigh(unknown.record, unknown.value, 1000) == weighed.record
    assert reweigh(unknown.record, weighed.value, 1000) == weighed.record


def test_reweigh_refuses_another_relay_and_a_torn_value():
    leaf = relay_leaf(b"relay", 0)
    with pytest.raises(smst.LeafMismatch):
        reweigh(leaf.record, leaf_value(b"other", 0), 1000)
    for value in (b"", b"short", leaf.value[:-1], leaf.value[:-1] + b"\x02"):
        with pytest.raises(smst.BadLeafValue):
            reweigh(leaf.record, value, 1000)


@pytest.mark.parametrize("weight", [-1, 2**64])
def test_weight_that_does_not_fit(weight: int):
    with pytest.raises(smst.BadWeight):
        leaf_value(b"relay", weight)


@given(st.binary(max_size=60), st.integers(0, 2**64 - 1))
def test_leaf_value_round_trip(relay_bytes: bytes, weight: int):
    assert smst.split_leaf_value(leaf_value(relay_bytes, weight)) == (relay_bytes, weight)
