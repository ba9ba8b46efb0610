"""Session trees to test with: leaves, a plain recursive definition of the tree, hypothesis strategies."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from hypothesis import strategies as st

from pocket_protocol.smst import bit, leaf_record, leaf_value, path_of
from pocket_protocol.types import ComputeUnits, Path, RelayHash


@dataclass(frozen=True)
class Leaf:
    """A relay of a tree, under any 32-byte path."""

    path: Path
    relay_bytes: bytes
    weight: int

    @property
    def value(self) -> bytes:
        return leaf_value(self.relay_bytes, ComputeUnits(self.weight))

    @property
    def record(self) -> bytes:
        return leaf_record(self.path, self.relay_bytes, ComputeUnits(self.weight))


def relay_leaf(relay_bytes: bytes, weight: int = 1000) -> Leaf:
    """Return the leaf a relay gets on the network: its path is the hash of its hash."""
    return Leaf(path_of(RelayHash(sha256(relay_bytes).digest())), relay_bytes, weight)


def records_of(leaves: list[Leaf]) -> list[bytes]:
    return sorted(leaf.record for leaf in leaves)


def values_of(leaves: list[Leaf]) -> dict[Path, bytes]:
    return {leaf.path: leaf.value for leaf in leaves}


def plain_digest(leaves: list[Leaf], depth: int = 0) -> bytes:
    """Return the digest at `depth` straight from the definition: every level is hashed (spec/smst.md §2)."""
    if not leaves:
        return bytes(48)
    if len(leaves) == 1:
        (leaf,) = leaves
        meta = leaf.weight.to_bytes(8, "big") + (1).to_bytes(8, "big")
        return sha256(b"\x00" + leaf.path + leaf.relay_bytes + meta).digest() + meta
    children = [plain_digest([x for x in leaves if bit(x.path, depth) == side], depth + 1) for side in (0, 1)]
    meta = b"".join(
        (sum(int.from_bytes(child[start : start + 8], "big") for child in children) % 2**64).to_bytes(
            8, "big"
        )
        for start in (32, 40)
    )
    return sha256(b"\x01" + b"".join(children) + meta).digest() + meta


_WEIGHTS = st.integers(0, 2**64 - 1)
_RELAYS = st.binary(min_size=1, max_size=40)
# Paths that share long prefixes: a few bases, one bit of each changed. The last bit of all is 0, so that no
# two paths share 255 bits: there the network's proofs do not state the depth.
_NEAR_PATHS = st.builds(
    lambda base, position: int.from_bytes(bytes([base]) * 32, "big") ^ 1 << position,
    st.sampled_from([0x00, 0x0F, 0xFF]),
    st.integers(1, 255),
)
_PATHS = (_NEAR_PATHS | st.integers(0, 2**256 - 1)).map(lambda path: (path & ~1).to_bytes(32, "big"))


def trees(min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[list[Leaf]]:
    """Leaves with distinct paths, many of them with long common prefixes."""
    leaf = st.builds(Leaf, _PATHS.map(Path), _RELAYS, _WEIGHTS)
    return st.lists(leaf, min_size=min_size, max_size=max_size, unique_by=lambda leaf: leaf.path)
