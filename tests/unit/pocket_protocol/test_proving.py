"""Proofs made from the index alone: the right leaf, the bytes of the network."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.closest_proof import BadClosestProof, ClosestProof, verify, verify_strict
from pocket_protocol.proving import prove_closest
from pocket_protocol.smst import LeafMismatch, bulk_root, leaf_value
from pocket_protocol.types import Path
from tests.unit.pocket_protocol.session_trees import (
    Leaf,
    plain_digest,
    records_of,
    relay_leaf,
    trees,
    values_of,
)

_PATHS = st.binary(min_size=32, max_size=32)


def _distance(path: bytes, other: bytes) -> int:
    return int.from_bytes(path, "big") ^ int.from_bytes(other, "big")


@settings(max_examples=100, deadline=None)
@given(trees(min_size=1), st.data())
def test_proof_is_of_the_closest_leaf_and_verifies(leaves: list[Leaf], data):
    path = Path(data.draw(_PATHS | st.sampled_from([leaf.path for leaf in leaves])))
    records, root = records_of(leaves), plain_digest(leaves)
    proof = prove_closest(records, path, values_of(leaves).__getitem__)
    closest = min(leaves, key=lambda leaf: _distance(leaf.path, path))
    assert proof.closest_path == closest.path
    assert proof.closest_value == closest.value
    assert ClosestProof.from_bytes(proof.to_bytes()) == proof
    assert verify(proof, root)
    assert verify_strict(proof, root)


@settings(max_examples=30, deadline=None)
@given(trees(min_size=1), _PATHS)
def test_without_sibling_data_one_leaf_is_fetched(leaves: list[Leaf], path: bytes):
    fetched = []

    def fetch(leaf_path: Path) -> bytes:
        fetched.append(leaf_path)
        return values_of(leaves)[leaf_path]

    proof = prove_closest(records_of(leaves), Path(path), fetch, with_sibling_data=False)
    assert fetched == [proof.closest_path]
    assert proof.sibling_data == b""
    assert verify_strict(proof, plain_digest(leaves))


def test_weight_comes_from_the_record():
    """A leaf stored before the weight was known is proved with the weight its record was given."""
    leaf = relay_leaf(b"relay", 1000)
    proof = prove_closest([leaf.record], Path(bytes(32)), lambda _: leaf_value(b"relay", 0))
    assert proof.closest_value == leaf.value
    assert verify_strict(proof, bulk_root([leaf.record]))


def test_value_of_another_leaf_is_refused():
    leaf = relay_leaf(b"relay")
    with pytest.raises(LeafMismatch):
        prove_closest([leaf.record], Path(bytes(32)), lambda _: leaf_value(b"other", 1000))


def test_path_of_another_length_is_refused():
    with pytest.raises(BadClosestProof):
        prove_closest([], Path(bytes(31)), lambda _: b"")


def test_empty_tree():
    proof = prove_closest([], Path(bytes(32)), lambda _: b"")
    assert (proof.flipped_bits, proof.closest_path) == ((0,), bytes(48))
    assert verify(proof, bytes(48))
    with pytest.raises(BadClosestProof):
        verify_strict(proof, bytes(48))


def test_large_tree():
    leaves = [relay_leaf(i.to_bytes(4, "big")) for i in range(3000)]
    records, values = records_of(leaves), values_of(leaves)
    root = bulk_root(records)
    for path in (os.urandom(32), bytes(32), b"\xff" * 32):
        assert verify_strict(prove_closest(records, Path(path), values.__getitem__), root)
