"""Closest proof: what shows the chain that one leaf is the leaf of a session's tree it asked for.

The compact form is what a `MsgSubmitProof` transports (spec/smst.md §6, `gob`). `verify` accepts what
the chain accepts, `verify_strict` only what an honest supplier makes (§8). Making a proof is in
`proving`. A malformed proof of any kind raises a leaf of the error tree, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from pocket_protocol import gob
from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.smst import (
    DIGEST_SIZE,
    EMPTY,
    EXTENSION_PREFIX,
    HASH_SIZE,
    INNER_PREFIX,
    LEAF_PREFIX,
    PATH_BITS,
    TRAILER_SIZE,
    bit,
    chain_digest,
    inner_digest,
    leaf_hash,
)
from pocket_protocol.types import BlockHash, Path, SessionId

LEAF_MIN_SIZE = 1 + HASH_SIZE + TRAILER_SIZE  # prefix, path, weight, count; an empty value
INNER_SIZE = 1 + 2 * DIGEST_SIZE + TRAILER_SIZE
EXTENSION_SIZE = 1 + 2 + HASH_SIZE + DIGEST_SIZE + TRAILER_SIZE
_CHILD_START = 1 + 2 + HASH_SIZE  # of the child digest in an extension


class BadCompactProof(Malformed):
    """A compact proof that cannot be expanded."""

    reason = "bad_compact_proof"
    summary = "compact closest proof is inconsistent"


class BadClosestProof(Refused):
    """A closest proof that breaks a rule of its form, whatever the root."""

    reason = "bad_closest_proof"
    summary = "closest proof is not valid"


@dataclass(frozen=True, slots=True)
class ClosestProof:
    """`SparseMerkleClosestProof`; absent byte strings are empty.

    `side_nodes` run from the leaf's sibling up to the root's child, 48 zero bytes for an empty one.
    `closest_value` is the whole leaf value: relay ‖ weight ‖ count.
    """

    path: bytes
    flipped_bits: tuple[int, ...]
    depth: int
    closest_path: bytes
    closest_value: bytes
    side_nodes: tuple[bytes, ...] = ()
    sibling_data: bytes = b""
    non_membership_leaf_data: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the bytes of `MsgSubmitProof.proof` (spec/smst.md §6, §7). Raises `BadClosestProof`."""
        return gob.encode(compact(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> ClosestProof:
        """Read the bytes of `MsgSubmitProof.proof`. Raises `gob.BadGob` or `BadCompactProof`."""
        return decompact(gob.decode(data))


def proof_path(block_hash: BlockHash, session_id: SessionId) -> Path:
    """Return the path a session is proved at: SHA-256 of seed block hash ‖ session id (spec/chain.md §6.1)."""
    return Path(sha256(block_hash + session_id.encode()).digest())


# --- compact form -------------------------------------------------------------------------------


def _minimal(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def compact(proof: ClosestProof) -> gob.CompactClosestProof:
    """Return the compact form (spec/smst.md §6). Raises `BadClosestProof` as `check_form` does."""
    check_form(proof)
    bit_mask = bytearray((len(proof.side_nodes) + 7) // 8)
    for position, node in enumerate(proof.side_nodes):
        if node == EMPTY:
            bit_mask[position >> 3] |= 0x80 >> (position & 7)
    return gob.CompactClosestProof(
        path=proof.path,
        flipped_bits=tuple(map(_minimal, proof.flipped_bits)),
        depth=_minimal(proof.depth),
        closest_path=proof.closest_path,
        closest_value_hash=proof.closest_value,
        proof=gob.CompactProof(
            side_nodes=tuple(node for node in proof.side_nodes if node != EMPTY),
            non_membership_leaf_data=proof.non_membership_leaf_data,
            bit_mask=bytes(bit_mask),
            num_side_nodes=len(proof.side_nodes),
            sibling_data=proof.sibling_data,
        ),
    )


def _expand_side_nodes(proof: gob.CompactProof) -> tuple[bytes, ...]:
    number = proof.num_side_nodes
    if not 0 <= number <= PATH_BITS:
        raise BadCompactProof("number of side nodes out of range", number=number)
    if len(proof.bit_mask) != (number + 7) // 8:
        raise BadCompactProof("bit mask of another length", length=len(proof.bit_mask), number=number)
    if number == 0:
        return ()
    mask = int.from_bytes(proof.bit_mask, "big")
    if len(proof.side_nodes) != number - mask.bit_count():
        raise BadCompactProof("side nodes do not fill the bit mask", side_nodes=len(proof.side_nodes))
    if mask & ((1 << (8 * len(proof.bit_mask) - number)) - 1):
        raise BadCompactProof("bit mask goes on after the last side node", number=number)
    given = iter(proof.side_nodes)
    return tuple(EMPTY if bit(proof.bit_mask, i) else next(given) for i in range(number))


def decompact(compacted: gob.CompactClosestProof) -> ClosestProof:
    """Return the proof behind its compact form. Raises `BadCompactProof` (spec/smst.md §8)."""
    if len(compacted.path) != HASH_SIZE:
        raise BadCompactProof("path is not 32 bytes", length=len(compacted.path))
    if max(map(len, (compacted.depth, *compacted.flipped_bits))) > 2:
        raise BadCompactProof("depth or flipped bit of more than 2 bytes")
    if compacted.proof is None:
        raise BadCompactProof("no inner proof")
    return ClosestProof(
        path=compacted.path,
        flipped_bits=tuple(int.from_bytes(entry, "big") for entry in compacted.flipped_bits),
        depth=int.from_bytes(compacted.depth, "big"),
        closest_path=compacted.closest_path,
        closest_value=compacted.closest_value_hash,
        side_nodes=_expand_side_nodes(compacted.proof),
        sibling_data=compacted.proof.sibling_data,
        non_membership_leaf_data=compacted.proof.non_membership_leaf_data,
    )


# --- verification -------------------------------------------------------------------------------


def _sibling_digest(encoding: bytes) -> bytes:
    """Return the digest of an encoded node; an extension is expanded (spec/smst.md §8 step 5)."""
    if encoding[:1] != EXTENSION_PREFIX:
        if len(encoding) < 1 + TRAILER_SIZE:
            raise BadClosestProof("sibling data is too short", length=len(encoding))
        return sha256(encoding).digest() + encoding[-TRAILER_SIZE:]
    if len(encoding) != EXTENSION_SIZE:
        raise BadClosestProof("sibling extension has another length", length=len(encoding))
    child = encoding[_CHILD_START : _CHILD_START + DIGEST_SIZE]
    return chain_digest(child, encoding[3:_CHILD_START], encoding[1], encoding[2])


def _check_paths(proof: ClosestProof) -> None:
    """Steps 1 to 3: sizes, and that the flipped bits lead from one path to the other."""
    if len(proof.path) != HASH_SIZE or len(proof.closest_path) < HASH_SIZE:
        raise BadClosestProof("path is not 32 bytes", path=len(proof.path), closest=len(proof.closest_path))
    if not 0 <= proof.depth <= PATH_BITS:
        raise BadClosestProof("depth out of range", depth=proof.depth)
    flipped = int.from_bytes(proof.path, "big")
    for index, position in enumerate(proof.flipped_bits):
        if not 0 <= position <= proof.depth:
            raise BadClosestProof("flipped bit out of range", index=index, bit=position, depth=proof.depth)
        if position == PATH_BITS:
            raise BadClosestProof("flipped bit behind the path", index=index)
        flipped ^= 1 << (PATH_BITS - 1 - position)
    difference = flipped ^ int.from_bytes(proof.closest_path[:HASH_SIZE], "big")
    if difference >> (PATH_BITS - proof.depth):
        raise BadClosestProof("flipped bits do not lead to the closest path")


def check_form(proof: ClosestProof) -> None:
    """Check what does not depend on the root: spec/smst.md §8 steps 1 to 5. Raises `BadClosestProof`."""
    _check_paths(proof)
    if len(proof.side_nodes) > PATH_BITS:
        raise BadClosestProof("too many side nodes", number=len(proof.side_nodes))
    if 0 < len(proof.non_membership_leaf_data) < 1 + HASH_SIZE:
        raise BadClosestProof("non-membership leaf is too short", length=len(proof.non_membership_leaf_data))
    if proof.sibling_data and proof.side_nodes:
        if any(len(node) != DIGEST_SIZE for node in proof.side_nodes):
            raise BadClosestProof("side node is not 48 bytes")
        if _sibling_digest(proof.sibling_data) != proof.side_nodes[0]:
            raise BadClosestProof("sibling data is not the first side node")


def _is_membership(value: bytes) -> bool:
    """Tell whether a leaf value stands for a leaf: absent, or empty with weight 0, it does not."""
    if 0 < len(value) < TRAILER_SIZE:
        raise BadClosestProof("leaf value is too short", length=len(value))
    return bool(value) and (len(value) > TRAILER_SIZE or any(value[:8]))


def _proved_digest(proof: ClosestProof) -> bytes:
    """Step 6: the digest at the place the side nodes start from."""
    path, value = proof.closest_path[:HASH_SIZE], proof.closest_value
    if _is_membership(value):
        return leaf_hash(path, value) + value[-TRAILER_SIZE:]
    other = proof.non_membership_leaf_data
    if not other:
        return EMPTY
    if len(other) < LEAF_MIN_SIZE or other[:1] != LEAF_PREFIX:
        raise BadClosestProof("non-membership leaf is no leaf", length=len(other))
    if other[1 : 1 + HASH_SIZE] == path:
        raise BadClosestProof("non-membership leaf is the leaf itself")
    return sha256(other).digest() + other[-TRAILER_SIZE:]


def verify(proof: ClosestProof, root: bytes) -> bool:
    """Tell whether the chain accepts `proof` against the 48-byte `root` (spec/smst.md §8).

    Raises `BadClosestProof` where the chain answers with an error or would crash.
    """
    check_form(proof)
    digest = _proved_digest(proof)
    for level, side_node in zip(reversed(range(len(proof.side_nodes))), proof.side_nodes, strict=True):
        sized = side_node[:DIGEST_SIZE].ljust(DIGEST_SIZE, b"\0")
        right = bit(proof.closest_path, level)
        digest = inner_digest(sized, digest) if right else inner_digest(digest, sized)
    return digest == root


def _check_sibling_form(proof: ClosestProof) -> None:
    """Check that sibling data, if there is any, is a node as the tree stores it, at the leaf's depth."""
    data = proof.sibling_data
    if not data:
        return
    prefix = data[:1]
    if prefix == EXTENSION_PREFIX:
        well_formed = (
            data[1] == proof.depth < data[2]
            and data[-TRAILER_SIZE:] == data[-2 * TRAILER_SIZE : -TRAILER_SIZE]
        )
    elif prefix == INNER_PREFIX:
        well_formed = len(data) == INNER_SIZE
    else:
        well_formed = prefix == LEAF_PREFIX and len(data) >= LEAF_MIN_SIZE
    if not well_formed or not proof.side_nodes:
        raise BadClosestProof("sibling data is no node of this depth", prefix=prefix.hex())


def verify_strict(proof: ClosestProof, root: bytes) -> bool:
    """Tell whether `proof` is what an honest supplier makes for `root`; to be asked before submitting.

    Besides `verify`: one leaf of count 1 is proved; the side nodes are as many as the depth; the flipped
    bits are exactly those in which the two paths differ above the leaf, each where the branch that
    `path` points to is empty, so no leaf can be closer; nothing is superfluous (decisions.md I).
    Raises `BadClosestProof`.
    """
    check_form(proof)
    nodes, depth = proof.side_nodes, proof.depth
    if len(proof.closest_path) != HASH_SIZE or len(nodes) != depth:
        raise BadClosestProof("side nodes are not as many as the depth", depth=depth, side_nodes=len(nodes))
    value = proof.closest_value
    if not _is_membership(value) or value[-8:] != (1).to_bytes(8, "big") or proof.non_membership_leaf_data:
        raise BadClosestProof("not the proof of one leaf")
    if any(len(node) != DIGEST_SIZE for node in nodes) or (nodes and nodes[0] == EMPTY):
        raise BadClosestProof("side nodes are not those of a tree")
    differing = tuple(i for i in range(depth) if bit(proof.path, i) != bit(proof.closest_path, i))
    if proof.flipped_bits != differing or any(nodes[depth - 1 - i] != EMPTY for i in differing):
        raise BadClosestProof("flipped bits are not where the tree has no branch")
    _check_sibling_form(proof)
    return verify(proof, root)
