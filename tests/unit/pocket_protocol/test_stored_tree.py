"""Trees read back from the reference's stored nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.errors import Malformed
from pocket_protocol.smst import leaf_value, path_of
from pocket_protocol.stored_tree import BadNode, NodeMissing, children_of, leaf_of, leaves_below
from tests.vectors import load

TREES = [tree for tree in load("smst")["trees"] if tree.get("nodes")]


def stored(tree) -> dict[bytes, bytes]:
    return {bytes.fromhex(digest): bytes.fromhex(encoding) for digest, encoding in tree["nodes"].items()}


def expected(tree) -> dict[bytes, bytes]:
    leaves = {}
    for op in tree["ops"]:
        key = bytes.fromhex(op["key"])
        path = key if tree["path_hasher"] == "raw" else path_of(key)
        if op["op"] == "update":
            leaves[path] = leaf_value(bytes.fromhex(op["value"]), int(op["weight"]))
        else:
            leaves.pop(path, None)
    return leaves


def fetch_from(nodes: Mapping[bytes, bytes]):
    def fetch(digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return {digest: nodes[digest] for digest in digests if digest in nodes}

    return fetch


def found(root: bytes, nodes: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    leaves = leaves_below(root, fetch_from(nodes))
    assert len({leaf.path for leaf in leaves}) == len(leaves)
    return {leaf.path: leaf.value for leaf in leaves}


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree["name"])
def test_the_leaves_below_a_root_are_those_put_in(tree) -> None:
    nodes = stored(tree)
    assert found(bytes.fromhex(tree["root"]), nodes) == expected(tree)
    kinds = [leaf_of(digest, encoding) is not None for digest, encoding in nodes.items()]
    assert sum(kinds) == len(expected(tree))


@pytest.mark.parametrize(
    "tree", [tree for tree in TREES if len(tree["nodes"]) > 2], ids=lambda tree: tree["name"]
)
def test_a_missing_node_is_named(tree) -> None:
    nodes = stored(tree)
    for digest in nodes:
        with pytest.raises(NodeMissing, match=digest.hex()):
            found(bytes.fromhex(tree["root"]), {one: nodes[one] for one in nodes if one != digest})


def test_an_empty_tree_has_no_leaves() -> None:
    assert found(bytes(48), {}) == {}


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(TREES), st.data())
def test_a_changed_node_is_refused(tree, data) -> None:
    digest, encoding = data.draw(st.sampled_from(sorted(stored(tree).items())))
    position = data.draw(st.integers(0, len(encoding) - 1))
    changed = bytearray(encoding)
    changed[position] ^= data.draw(st.integers(1, 255))
    if encoding[0] == 2 and 3 <= position < 35:
        return  # bits of the path outside the extension's depths mean nothing
    if encoding[0] == 2 and position >= 83:
        return  # an extension repeats its child's sum and count, which its own digest does not cover
    with pytest.raises(BadNode):
        if leaf_of(digest, bytes(changed)) is None:
            children_of(digest, bytes(changed))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=60))
def test_rubbish_is_refused(encoding: bytes, digest: bytes) -> None:
    with pytest.raises(Malformed):
        if leaf_of(digest, encoding) is None:
            children_of(digest, encoding)
