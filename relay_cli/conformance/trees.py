"""Checks of smst.json: roots, closest proofs, their bytes, and which altered proofs are accepted.

Not applicable is what states how the reference stores and updates its tree node by node (decisions.md H):
here the leaves are stored and roots and proofs are computed from their index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from pocket_protocol import gob
from pocket_protocol.closest_proof import (
    BadClosestProof,
    BadCompactProof,
    ClosestProof,
    compact,
    proof_path,
    verify,
)
from pocket_protocol.errors import PocketError
from pocket_protocol.proving import prove_closest
from pocket_protocol.smst import (
    EMPTY,
    EXTENSION_PREFIX,
    Root,
    bulk_root,
    common_prefix,
    leaf_record,
    leaf_value,
    path_of,
)
from pocket_protocol.types import BlockHash, ComputeUnits, Path, RelayHash, SessionId
from relay_cli.conformance.check import Case, Context, VectorFile, attempt

_NODES = "the reference's stored nodes; here no inner node is stored"
_DELETES = "relays are never removed from a tree"
_NOT_APPLICABLE = {
    "nodes": _NODES,
    "n_nodes": _NODES,
    "store_sha256": _NODES,
    "commit_log": _NODES,
    "per_op_commit_store_equal": _NODES,
    "lazy_equal": "how the reference's tree loads from its store; here none is loaded",
    "prove": "membership proofs are not used on chain",
    "deletes": _DELETES,
}
_UNKNOWN = "no check for this field"
# Fields that an extension's free path bits reach; the network's are those of some leaf below it.
_FREE_BITS_FIELDS = ("proof", "proof_sha256", "sibling_data")


class _Tree:
    """The leaves of one tree of the file, in whatever order they were written."""

    def __init__(self) -> None:
        self.values: dict[Path, bytes] = {}
        self._records: dict[Path, bytes] = {}

    def update(self, path: Path, value: bytes, weight: int) -> None:
        self.values[path] = leaf_value(value, ComputeUnits(weight))
        self._records[path] = leaf_record(path, value, ComputeUnits(weight))

    def records(self) -> list[bytes]:
        return sorted(self._records.values())

    def root(self) -> bytes:
        return bulk_root(self.records())


def verdict(proof_bytes: bytes, root: bytes) -> str:
    """Return the file's word for what becomes of a proof: true, false or error:<stage>."""
    try:
        return str(verify(ClosestProof.from_bytes(proof_bytes), root)).lower()
    except gob.BadGob:
        return "error:unmarshal"
    except BadCompactProof:
        return "error:decompact"
    except BadClosestProof:
        return "error:verify"


def _fields(proof: ClosestProof, root: bytes) -> dict[str, object]:
    """Return what the file says of a closest proof, computed from `proof`."""
    proof_bytes = proof.to_bytes()
    compacted = compact(proof).proof or gob.CompactProof()
    return {
        "bitmask": compacted.bit_mask.hex(),
        "closest_path": proof.closest_path.hex(),
        "closest_value_hash_is_nil": not proof.closest_value,
        "compact_side_nodes": len(compacted.side_nodes),
        "depth": proof.depth,
        "flipped_bits": list(proof.flipped_bits),
        "n_side_nodes": compacted.num_side_nodes,
        "proof": proof_bytes.hex(),
        "proof_len": len(proof_bytes),
        "proof_sha256": sha256(proof_bytes).hexdigest(),
        "sibling_data": proof.sibling_data.hex(),
        "sibling_data_len": len(proof.sibling_data),
        "side_nodes": ["" if node == EMPTY else node.hex() for node in proof.side_nodes],
        "value_hash_len": len(proof.closest_value),
        "verify": verdict(proof_bytes, root),
    }


def _other_free_bits(proof: ClosestProof, tree: _Tree, root: bytes) -> Iterator[dict[str, object]]:
    """Yield the fields of each valid proof that differs in the free path bits of its extension only."""
    data = proof.sibling_data
    if data[:1] != EXTENSION_PREFIX:
        return
    for path in tree.values:
        if common_prefix(path, data[3:35]) >= data[2]:
            other = replace(proof, sibling_data=data[:3] + path + data[35:])
            if verify(other, root):
                yield _fields(other, root)


def _error_text(error: PocketError) -> str:
    """Return the network's text for a flipped bit behind the depth, the one error proving can end in."""
    if not {"index", "bit", "depth"} <= error.values.keys():
        return f"error: {error}"
    values = error.values
    return (
        f"bad proof\ninvalid flipped bit index {values['index']}: got {values['bit']}, "
        f"outside of [0, {values['depth']}]"
    )


def _closest_cases(name: str, closest: Mapping[str, Any], tree: _Tree) -> Iterator[Case]:
    records, root = tree.records(), tree.root()
    proof: ClosestProof | None = None
    try:
        proof = prove_closest(records, Path(bytes.fromhex(closest["path"])), tree.values.__getitem__)
        computed = _fields(proof, root)
        missing: object = _UNKNOWN
    except PocketError as error:
        computed = {"error": _error_text(error)}
        missing = f"error: {error}"
    for field, expected in closest.items():
        if field == "path" or field in _NOT_APPLICABLE:
            continue
        got = computed.get(field, missing)
        if proof and got != expected and field in _FREE_BITS_FIELDS:
            others = _other_free_bits(proof, tree, root)
            got = next((other[field] for other in others if other[field] == expected), got)
        yield Case(f"{name}/{field}", expected, got)


def _root_cases(name: str, stated: Mapping[str, Any], tree: _Tree) -> Iterator[Case]:
    root = Root.from_bytes(tree.root())
    yield Case(f"{name}/root", stated["root"], root.to_bytes().hex())
    yield Case(f"{name}/sum", stated["sum"], str(root.sum))
    yield Case(f"{name}/count", stated["count"], str(root.count))


def _mutated_cases(name: str, mutated: list[Mapping[str, str]]) -> Iterator[Case]:
    for case in mutated:
        got = verdict(bytes.fromhex(case["proof"]), bytes.fromhex(case["root"]))
        # Where the reference crashes, an error at any stage is right.
        if case["verify"] == "panic" and got.startswith("error:"):
            got = "panic"
        yield Case(f"{name}/mutated/{case['name']}", case["verify"], got)


_TREE_FIELDS = frozenset(
    {"name", "group", "path_hasher", "ops", "root", "sum", "count", "closest", "mutated"}
)
_LARGE_FIELDS = frozenset({"seed", "n", "checkpoints", "root", "sum", "count", "closest"})


def _unknown_fields(name: str, stated: Mapping[str, Any], known: frozenset[str]) -> Iterator[Case]:
    for field in stated.keys() - known - _NOT_APPLICABLE.keys():
        yield Case(f"{name}/{field}", "a known field", _UNKNOWN)


def check_trees(trees: list[Mapping[str, Any]], _file: Mapping[str, Any]) -> Iterator[Case]:
    """Trees given operation by operation: the root after each, closest proofs, altered proofs."""
    for stated in trees:
        if stated["group"] == "deletes":
            continue
        name, tree = stated["name"], _Tree()
        for position, op in enumerate(stated["ops"]):
            key = bytes.fromhex(op["key"])
            path = Path(key) if stated["path_hasher"] == "raw" else path_of(RelayHash(key))
            tree.update(path, bytes.fromhex(op["value"]), int(op["weight"]))
            yield Case(f"{name}/op {position}/root", op["root"], tree.root().hex())
        yield from _root_cases(name, stated, tree)
        for position, closest in enumerate(stated["closest"]):
            yield from _closest_cases(f"{name}/closest {position}", closest, tree)
        yield from _mutated_cases(name, stated.get("mutated", []))
        yield from _unknown_fields(name, stated, _TREE_FIELDS)


def _grow(tree: _Tree, seed: str, start: int, end: int) -> None:
    """Add the leaves `start`..`end`-1 of the generator that the file's notes define."""
    for i in range(start, end):
        key = sha256(f"key|{seed}|{i}".encode()).digest()
        value = b"".join(sha256(f"val|{seed}|{i}|{j}".encode()).digest() for j in range(i % 4 + 1))
        tree.update(path_of(RelayHash(key)), value, 1 + i * 7919 % 1000)


def check_large(trees: list[Mapping[str, Any]], _file: Mapping[str, Any]) -> Iterator[Case]:
    """Trees of 1,000 leaves and more, grown from a seed: roots on the way, and closest proofs."""
    for stated in trees:
        name, tree, grown = stated["seed"], _Tree(), 0
        for checkpoint in stated["checkpoints"]:
            _grow(tree, name, grown, grown := checkpoint["n"])
            yield Case(f"{name}/at {grown}/root", checkpoint["root"], tree.root().hex())
        _grow(tree, name, grown, stated["n"])
        yield from _root_cases(name, stated, tree)
        for position, closest in enumerate(stated["closest"]):
            yield from _closest_cases(f"{name}/closest {position}", closest, tree)
        yield from _unknown_fields(name, stated, _LARGE_FIELDS)


def check_other_type_ids(streams: list[Mapping[str, str]], _file: Mapping[str, Any]) -> Iterator[Case]:
    """A proof under other type ids is read, and written again under the canonical ones."""
    for position, stream in enumerate(streams):
        data = bytes.fromhex(stream["same_proof_other_type_ids"])
        yield Case(
            f"{position}", stream["canonical"], attempt(lambda data=data: gob.encode(gob.decode(data)).hex())
        )


def check_proof_path(paths: list[Mapping[str, str]], _file: Mapping[str, Any]) -> Iterator[Case]:
    """The path a session is proved at."""
    for position, stated in enumerate(paths):
        block_hash = BlockHash(bytes.fromhex(stated["block_hash"]))
        yield Case(
            f"{position}", stated["path"], proof_path(block_hash, SessionId(stated["session_id"])).hex()
        )


SMST = VectorFile(
    "smst",
    {
        "format": Context(),
        "library": Context(),
        "notes": Context(),
        "trees": check_trees,
        "large": check_large,
        "gob_other_type_ids": check_other_type_ids,
        "proof_path": check_proof_path,
    },
    not_applicable=_NOT_APPLICABLE,
)
