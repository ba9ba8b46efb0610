"""Sparse Merkle sum tree of a session: nodes, index records and the root of a set of leaves.

The leaves are the only durable state (spec/smst.md §11). Their index is a string of 72-byte records,
`path(32) ‖ leaf hash(32) ‖ u64(weight)`, from which root and proofs are computed; a leaf's value,
`relay bytes ‖ u64(weight) ‖ u64(1)`, is needed only for the one leaf that is proved. Every node has a
48-byte digest, `hash(32) ‖ u64(sum) ‖ u64(count)`; sums and counts wrap at 2^64 as on the network.
Numbers are big-endian, bits count from the most significant bit of byte 0 (spec/smst.md §1-§3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct

from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.types import ComputeUnits, Path, RelayHash

HASH_SIZE = 32
DIGEST_SIZE = 48  # hash ‖ sum ‖ count
RECORD_SIZE = 72  # path ‖ leaf hash ‖ weight
TRAILER_SIZE = 16  # weight ‖ count at the end of a leaf value
PATH_BITS = 256
EMPTY = bytes(DIGEST_SIZE)  # digest of an absent child, and root of the empty tree

LEAF_PREFIX = b"\x00"
INNER_PREFIX = b"\x01"
EXTENSION_PREFIX = b"\x02"

_U64 = Struct(">Q")
_U64_MAX = (1 << 64) - 1
_META = Struct(">QQ")
_ONE = _U64.pack(1)


class BadRoot(Malformed):
    """A root that is not 48 bytes."""

    reason = "bad_root"
    summary = "root is not 48 bytes"


class BadIndex(Malformed):
    """An index that is not a whole number of records."""

    reason = "bad_index"
    summary = "leaf index is not made of whole records"


class BadLeafValue(Malformed):
    """A leaf value without the trailer `u64(weight) ‖ u64(1)`."""

    reason = "bad_leaf_value"
    summary = "leaf value has no valid trailer"


class BadWeight(Malformed):
    """A weight that does not fit 64 bits."""

    reason = "bad_weight"
    summary = "weight is not an unsigned 64-bit number"


class LeafMismatch(Refused):
    """A leaf value that is not the one its index record was made from."""

    reason = "leaf_mismatch"
    summary = "leaf value does not belong to its index record"


@dataclass(frozen=True, slots=True)
class Root:
    """A root as it stands in a claim: `digest` (32 bytes), `sum` in compute units, `count` in relays."""

    digest: bytes
    sum: int
    count: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Root:
        """Read the 48 bytes of a root. Raises `BadRoot`."""
        if len(data) != DIGEST_SIZE:
            raise BadRoot(length=len(data))
        return cls(bytes(data[:HASH_SIZE]), *_META.unpack_from(data, HASH_SIZE))

    def to_bytes(self) -> bytes:
        """Return hash ‖ sum ‖ count, 48 bytes (spec/smst.md §1)."""
        return self.digest + _META.pack(self.sum, self.count)


def path_of(relay_hash: RelayHash) -> Path:
    """Return the tree path of a relay: SHA-256 of its hash (spec/smst.md §1)."""
    return Path(sha256(relay_hash).digest())


def bit(path: bytes, index: int) -> int:
    """Return bit `index` of `path`: 0 goes left, 1 goes right."""
    return path[index >> 3] >> (7 - (index & 7)) & 1


# --- leaves and their index records ------------------------------------------------------------


def leaf_value(relay_bytes: bytes, weight: ComputeUnits) -> bytes:
    """Return `relay ‖ u64(weight) ‖ u64(1)`, which a leaf holds and a proof carries. Raises `BadWeight`."""
    if not 0 <= weight <= _U64_MAX:
        raise BadWeight(weight=weight)
    return relay_bytes + _U64.pack(weight) + _ONE


def split_leaf_value(value: bytes) -> tuple[bytes, ComputeUnits]:
    """Return (relay bytes, weight) of a leaf value. Raises `BadLeafValue`."""
    if len(value) < TRAILER_SIZE or value[-8:] != _ONE:
        raise BadLeafValue(length=len(value))
    return value[:-TRAILER_SIZE], ComputeUnits(_U64.unpack_from(value, len(value) - TRAILER_SIZE)[0])


def leaf_hash(path: bytes, value: bytes) -> bytes:
    """Return the 32-byte hash of the leaf with this whole leaf value (spec/smst.md §2)."""
    return sha256(LEAF_PREFIX + path + value).digest()


def leaf_record(path: Path, relay_bytes: bytes, weight: ComputeUnits) -> bytes:
    """Return the 72-byte index record of a relay. Raises `BadWeight`."""
    return path + leaf_hash(path, leaf_value(relay_bytes, weight)) + _U64.pack(weight)


def record_path(record: bytes) -> Path:
    """Return the path of an index record."""
    return Path(record[:HASH_SIZE])


def record_weight(record: bytes) -> ComputeUnits:
    """Return the weight of an index record."""
    return ComputeUnits(_U64.unpack_from(record, 2 * HASH_SIZE)[0])


def record_digest(record: bytes) -> bytes:
    """Return the digest of the leaf an index record stands for."""
    return record[HASH_SIZE:] + _ONE


def collapse(index: bytes) -> list[bytes]:
    """Return the records of a raw index, one per path in ascending order of paths.

    A repeated path keeps its last record, as the leaf stored under it keeps its last value.
    Raises `BadIndex` if the length is no multiple of 72.
    """
    if len(index) % RECORD_SIZE:
        raise BadIndex(length=len(index))
    by_path = {
        index[start : start + HASH_SIZE]: index[start : start + RECORD_SIZE]
        for start in range(0, len(index), RECORD_SIZE)
    }
    return sorted(by_path.values())


def other_weight(records: Iterable[bytes], weight: ComputeUnits) -> list[Path]:
    """Return the paths of the records whose weight is not `weight`: those `reweigh` has to be called for."""
    packed = _U64.pack(weight)
    return [record_path(record) for record in records if record[2 * HASH_SIZE :] != packed]


def reweigh(record: bytes, value: bytes, weight: ComputeUnits) -> bytes:
    """Return `record` with `weight` in place of its own (decisions.md B4).

    `value` is the leaf value stored under the record's path; its trailer may have either weight.
    Raises `BadLeafValue`, `BadWeight`, and `LeafMismatch` if the record was not made from that relay.
    """
    relay_bytes, _ = split_leaf_value(value)
    path = record_path(record)
    if leaf_record(path, relay_bytes, record_weight(record)) != record:
        raise LeafMismatch(path=path.hex())
    return leaf_record(path, relay_bytes, weight)


# --- digests of inner nodes ---------------------------------------------------------------------


def inner_encoding(left: bytes, right: bytes) -> bytes:
    """Return the 113 bytes of the inner node over two digests (spec/smst.md §2)."""
    left_sum, left_count = _META.unpack_from(left, HASH_SIZE)
    right_sum, right_count = _META.unpack_from(right, HASH_SIZE)
    meta = _META.pack(left_sum + right_sum & _U64_MAX, left_count + right_count & _U64_MAX)
    return INNER_PREFIX + left + right + meta


def inner_digest(left: bytes, right: bytes) -> bytes:
    """Return the digest of the inner node over two digests."""
    encoding = inner_encoding(left, right)
    return sha256(encoding).digest() + encoding[-TRAILER_SIZE:]


def extension_encoding(start: int, end: int, path: bytes, child: bytes) -> bytes:
    """Return the 99 bytes of the extension over depths `start`..`end`-1 above `child` (spec/smst.md §2)."""
    return EXTENSION_PREFIX + bytes((start, end)) + path + child + child[HASH_SIZE:]


def chain_digest(digest: bytes, path: bytes, start: int, end: int) -> bytes:
    """Return the digest of the chain of one-child nodes at depths `start`..`end`-1 above `digest`."""
    meta = digest[HASH_SIZE:]
    for depth in range(end - 1, start - 1, -1):
        pair = EMPTY + digest if path[depth >> 3] >> (7 - (depth & 7)) & 1 else digest + EMPTY
        digest = sha256(INNER_PREFIX + pair + meta).digest() + meta
    return digest


# --- bulk build ---------------------------------------------------------------------------------


def common_prefix(first: bytes, second: bytes) -> int:
    """Return in how many leading bits two 32-byte paths (or the paths of two records) agree."""
    difference = int.from_bytes(first[:HASH_SIZE], "big") ^ int.from_bytes(second[:HASH_SIZE], "big")
    return PATH_BITS - difference.bit_length()


def subtree_digest(records: Sequence[bytes], start: int, end: int, depth: int) -> bytes:
    """Return the digest at `depth` of the subtree of `records[start:end]`, which agree in `depth` bits.

    The records are sorted and their paths distinct. One pass with a stack of (depth, left digest) of
    the open branches along the right edge; no tree is held (spec/smst.md §11).
    """
    open_branches: list[tuple[int, bytes]] = []
    previous = records[start]
    previous_path = int.from_bytes(previous[:HASH_SIZE], "big")
    digest = record_digest(previous)

    def close(below: int) -> bytes:
        """Join the open branches deeper than `below - 1` into the digest as seen from depth `below`."""
        joined = digest
        while open_branches and open_branches[-1][0] >= below:
            branch, left = open_branches.pop()
            joined = inner_digest(left, joined)
            top = below
            if open_branches and open_branches[-1][0] >= below:
                top = open_branches[-1][0] + 1
            if top < branch:
                joined = chain_digest(joined, previous, top, branch)
        return joined

    for position in range(start + 1, end):
        record = records[position]
        path = int.from_bytes(record[:HASH_SIZE], "big")
        branch = PATH_BITS - (path ^ previous_path).bit_length()
        if open_branches and open_branches[-1][0] > branch:
            digest = close(branch + 1)
        open_branches.append((branch, digest))
        digest, previous, previous_path = record_digest(record), record, path
    return close(depth)


def bulk_root(records: Sequence[bytes]) -> bytes:
    """Return the 48-byte root over sorted records with distinct paths, as `collapse` gives them.

    The root depends on the set of leaves alone; without leaves it is 48 zero bytes (spec/smst.md §11).
    """
    return subtree_digest(records, 0, len(records), 0) if records else EMPTY
