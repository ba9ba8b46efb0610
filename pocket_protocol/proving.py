"""Making the closest proof of a session from its sorted index alone (spec/smst.md §5, §11).

No tree is held: the walk narrows a range of the sorted records and hashes each sibling range once. The
leaf values a proof carries, one or two, are fetched by path.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pocket_protocol.closest_proof import BadClosestProof, ClosestProof
from pocket_protocol.smst import (
    EMPTY,
    HASH_SIZE,
    LEAF_PREFIX,
    PATH_BITS,
    TRAILER_SIZE,
    LeafMismatch,
    bit,
    common_prefix,
    extension_encoding,
    inner_encoding,
    leaf_hash,
    leaf_value,
    record_digest,
    record_path,
    record_weight,
    split_leaf_value,
    subtree_digest,
)
from pocket_protocol.types import Path

# Fetches the leaf value stored under a path; its trailer may have another weight than the record.
FetchLeafValue = Callable[[Path], bytes]


@dataclass(slots=True)
class _Walk:
    """Where the walk towards the closest leaf stands: `records[start:end]` below `depth`."""

    start: int
    end: int
    depth: int
    flipped_bits: list[int]
    side_nodes: list[bytes]  # from the root down
    sibling: tuple[int, int]  # range of the sibling last passed by


def _split(records: Sequence[bytes], start: int, end: int, depth: int) -> int:
    """Return the first position in [start, end) whose path has bit `depth` set; bits above agree."""
    prefix = int.from_bytes(record_path(records[start]), "big")
    low_bits = PATH_BITS - 1 - depth
    boundary = (prefix >> low_bits | 1) << low_bits
    return bisect_left(records, boundary.to_bytes(HASH_SIZE, "big"), start, end)


def _descend(records: Sequence[bytes], path: Path) -> _Walk:
    """Walk from the root to the leaf whose path XOR `path` is smallest (spec/smst.md §5)."""
    walk = _Walk(0, len(records), 0, [], [], (0, 0))
    while walk.end - walk.start > 1:
        first = records[walk.start]
        branch = common_prefix(first, records[walk.end - 1])
        # Depths with one child only: where the path points to the missing one, its bit is flipped.
        walk.flipped_bits += [i for i in range(walk.depth, branch) if bit(path, i) != bit(first, i)]
        walk.side_nodes += [EMPTY] * (branch - walk.depth)
        middle = _split(records, walk.start, walk.end, branch)
        halves = (walk.start, middle), (middle, walk.end)
        side = bit(path, branch)
        walk.sibling = halves[1 - side]
        walk.side_nodes.append(subtree_digest(records, *walk.sibling, branch + 1))
        walk.start, walk.end = halves[side]
        walk.depth = branch + 1
    return walk


def _value_of(record: bytes, fetch: FetchLeafValue) -> bytes:
    """Return the leaf value of a record, with the record's weight. Raises `LeafMismatch`."""
    path = record_path(record)
    relay_bytes, _ = split_leaf_value(fetch(path))
    value = leaf_value(relay_bytes, record_weight(record))
    if leaf_hash(path, value) != record_digest(record)[:HASH_SIZE]:
        raise LeafMismatch(path=path.hex())
    return value


def _node_encoding(
    records: Sequence[bytes], start: int, end: int, depth: int, fetch: FetchLeafValue
) -> bytes:
    """Return the stored encoding of the node at `depth` over `records[start:end]` (spec/smst.md §2)."""
    first = records[start]
    if end - start == 1:
        return LEAF_PREFIX + record_path(first) + _value_of(first, fetch)
    branch = common_prefix(first, records[end - 1])
    middle = _split(records, start, end, branch)
    left = subtree_digest(records, start, middle, branch + 1)
    right = subtree_digest(records, middle, end, branch + 1)
    inner = inner_encoding(left, right)
    if branch == depth:
        return inner
    # The network's encoding has the path of some leaf below in its free bits: any serves (§2).
    child = sha256(inner).digest() + inner[-TRAILER_SIZE:]
    return extension_encoding(depth, branch, record_path(first), child)


def prove_closest(
    records: Sequence[bytes], path: Path, fetch: FetchLeafValue, *, with_sibling_data: bool = True
) -> ClosestProof:
    """Return the proof of the leaf closest to the 32-byte `path`, used as it is (spec/smst.md §5, §11).

    `records` are the sorted records with distinct paths, as `smst.collapse` gives them. `fetch` is
    called for the leaf, and for its sibling if that is a leaf too and `with_sibling_data` is set: the
    chain does not need it, the reference sends it, and it can be as large as a relay.
    Raises `BadClosestProof`, `smst.LeafMismatch`, `smst.BadLeafValue` and what `fetch` raises.
    """
    if len(path) != HASH_SIZE:
        raise BadClosestProof("path is not 32 bytes", length=len(path))
    if not records:
        return ClosestProof(path, flipped_bits=(0,), depth=0, closest_path=EMPTY, closest_value=b"")
    walk = _descend(records, path)
    leaf = records[walk.start]
    sibling_data = b""
    if with_sibling_data and walk.side_nodes:
        sibling_data = _node_encoding(records, *walk.sibling, walk.depth, fetch)
    return ClosestProof(
        path=path,
        flipped_bits=tuple(walk.flipped_bits),
        # The network's tree leaves the depth of a leaf at the very bottom at 0 (spec/smst.md §5).
        depth=walk.depth if walk.depth < PATH_BITS else 0,
        closest_path=record_path(leaf),
        closest_value=_value_of(leaf, fetch),
        side_nodes=tuple(reversed(walk.side_nodes)),
        sibling_data=sibling_data,
    )
