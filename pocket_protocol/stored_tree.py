"""Trees as the reference keeps them: every node by its digest (spec/smst.md §2, §9). Only read here.

A node stands under its 48-byte digest as its raw encoding. What is found there is believed only as far as it
hashes to what it stands under; an extension's digest is that of the chain it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pocket_protocol.errors import Malformed
from pocket_protocol.smst import (
    DIGEST_SIZE,
    EMPTY,
    EXTENSION_PREFIX,
    HASH_SIZE,
    INNER_PREFIX,
    LEAF_PREFIX,
    TRAILER_SIZE,
    chain_digest,
)
from pocket_protocol.types import Path

INNER_SIZE = 1 + 2 * DIGEST_SIZE + TRAILER_SIZE
EXTENSION_SIZE = 1 + 2 + HASH_SIZE + DIGEST_SIZE + TRAILER_SIZE
FETCH_SIZE = 500  # nodes asked for at once

# Takes digests, returns the encodings stored under them; what is not there is absent.
FetchNodes = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]


class BadNode(Malformed):
    """A stored node that cannot be read, or that is not the one its digest names."""

    reason = "bad_node"
    summary = "not a node of the tree"


class NodeMissing(Malformed):
    """A node that the tree refers to and that is not stored."""

    reason = "node_missing"
    summary = "a node of the tree is missing"


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf: its path and its whole value, `relay ‖ u64(weight) ‖ u64(1)`."""

    path: Path
    value: bytes


def leaf_of(digest: bytes, encoding: bytes) -> StoredLeaf | None:
    """Return the leaf stored under `digest`, None for a node of another kind. Raises `BadNode`."""
    if encoding[:1] != LEAF_PREFIX:
        return None
    if len(encoding) < 1 + HASH_SIZE + TRAILER_SIZE or digest != _hashed(encoding):
        raise BadNode(digest=digest.hex(), kind="leaf")
    return StoredLeaf(Path(encoding[1 : 1 + HASH_SIZE]), encoding[1 + HASH_SIZE :])


def children_of(digest: bytes, encoding: bytes) -> list[bytes]:
    """Return the digests of the non-empty nodes right below an inner node or an extension. Raises `BadNode`."""
    if encoding[:1] == INNER_PREFIX and len(encoding) == INNER_SIZE and digest == _hashed(encoding):
        pair = encoding[1 : 1 + DIGEST_SIZE], encoding[1 + DIGEST_SIZE : 1 + 2 * DIGEST_SIZE]
        return [child for child in pair if child != EMPTY]
    if encoding[:1] == EXTENSION_PREFIX and len(encoding) == EXTENSION_SIZE:
        start, end = encoding[1], encoding[2]
        path, child = encoding[3 : 3 + HASH_SIZE], encoding[3 + HASH_SIZE : 3 + HASH_SIZE + DIGEST_SIZE]
        if start < end and digest == chain_digest(child, path, start, end):
            return [child]
    raise BadNode(digest=digest.hex(), kind=encoding[:1].hex())


def leaves_below(root: bytes, fetch: FetchNodes) -> list[StoredLeaf]:
    """Return all leaves of the tree with this 48-byte root. Raises `BadNode`, `NodeMissing`, and what `fetch` raises."""
    leaves: list[StoredLeaf] = []
    waiting = [] if root == EMPTY else [root]
    while waiting:
        asked, waiting = waiting[-FETCH_SIZE:], waiting[:-FETCH_SIZE]
        found = fetch(asked)
        for digest in asked:
            encoding = found.get(digest)
            if encoding is None:
                raise NodeMissing(digest=digest.hex())
            leaf = leaf_of(digest, encoding)
            if leaf is None:
                waiting += children_of(digest, encoding)
            else:
                leaves.append(leaf)
    return leaves


def _hashed(encoding: bytes) -> bytes:
    return sha256(encoding).digest() + encoding[-TRAILER_SIZE:]
