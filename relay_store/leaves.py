"""The leaves of a session's tree and the index its root is computed from (spec/smst.md §11, decisions.md B, C1).

Leaves are a hash, path -> leaf value. The index is a string of 72-byte records, appended in the same
transaction as the leaves, so its length is 72 times the number of leaves. The seal, written once, is the
length and the count the root is computed from; the root is the same for whoever computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from pocket_protocol import smst
from pocket_protocol.errors import Malformed, PocketError, Unavailable
from pocket_protocol.types import Path
from relay_store.connection import Store
from relay_store.fence import Command, Fence
from relay_store.keys import OwnKeys
from relay_store.sessions import BACKSTOP_TTL_S
from relay_store.store_errors import store_errors

MAX_INDEX_BYTES: Final = 512 * 1024 * 1024  # the server's limit for one string
_CHUNK_BYTES: Final = smst.RECORD_SIZE * 50_000
_SCAN_COUNT: Final = 1000
_SEAL: Final = Struct(">QQ")


class BadSeal(Malformed):
    """A seal that is not two 64-bit numbers."""

    reason = "bad_seal"
    summary = "seal is not 16 bytes"


class LeafMissing(PocketError):
    """A leaf that the index names and the hash does not have."""

    reason = "leaf_missing"
    summary = "leaf value is missing"


class IndexTooLong(PocketError):
    """An index that would outgrow what the server stores in one string."""

    reason = "index_too_long"
    summary = "session has more relays than its index can hold"


class IndexCut(Unavailable):
    """An index shorter than its seal says: the store lost writes."""

    reason = "index_cut"
    summary = "index is shorter than its seal"


@dataclass(frozen=True, slots=True)
class Seal:
    """What the root is computed from: the first `length` bytes of the index, `count` leaves."""

    length: int
    count: int

    def to_bytes(self) -> bytes:
        """Return u64 length ‖ u64 count."""
        return _SEAL.pack(self.length, self.count)

    @classmethod
    def from_bytes(cls, data: bytes) -> Seal:
        """Read a stored seal. Raises `BadSeal`."""
        if len(data) != _SEAL.size:
            raise BadSeal(length=len(data))
        return cls(*_SEAL.unpack(data))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A new leaf on its way into the store: its path, whole value and index record."""

    path: Path
    value: bytes
    record: bytes


class Leaves:
    """The leaves of one session of one supplier."""

    def __init__(self, store: Store, keys: OwnKeys, supplier: str, session: str) -> None:
        self._store = store
        self.leaves_key = keys.leaves(supplier, session)
        self.index_key = keys.index(supplier, session)
        self.seal_key = keys.seal(supplier, session)
        self.root_key = keys.root(supplier, session)

    def read_sealed(self) -> tuple[Seal | None, smst.Root | None]:
        """Return the seal and the root, each None until it is written. Raises `BadSeal`, `smst.BadRoot`."""
        with store_errors():
            seal, root = self._store.client.mget(self.seal_key, self.root_key)
        return seal and Seal.from_bytes(seal), root and smst.Root.from_bytes(root)

    def read_index(self, length: int) -> bytes:
        """Return the first `length` bytes of the index. Raises `IndexCut`, `StoreUnavailable`."""
        chunks = []
        with store_errors():
            for start in range(0, length, _CHUNK_BYTES):
                end = min(start + _CHUNK_BYTES, length) - 1
                chunks.append(self._store.client.getrange(self.index_key, start, end))
        index = b"".join(chunks)
        if len(index) != length:
            raise IndexCut(key=self.index_key, length=len(index), sealed=length)
        return index

    def fetch(self, path: Path) -> bytes:
        """Return a leaf's value. Raises `LeafMissing`, `StoreUnavailable`."""
        return self.fetch_many((path,))[0]

    def fetch_many(self, paths: Sequence[Path]) -> list[bytes]:
        """Return several leaf values. Raises `LeafMissing`, `StoreUnavailable`."""
        values: list[bytes | None] = []
        with store_errors():
            for start in range(0, len(paths), _SCAN_COUNT):
                values += self._store.client.hmget(self.leaves_key, paths[start : start + _SCAN_COUNT])
        for path, value in zip(paths, values, strict=True):
            if value is None:
                raise LeafMissing(key=self.leaves_key, path=path.hex())
        return [value for value in values if value is not None]

    def set_root(self, root: smst.Root) -> smst.Root:
        """Write the root unless there is one; return the one that is there. Raises `StoreUnavailable`."""
        with store_errors():
            self._store.client.set(self.root_key, root.to_bytes(), nx=True, ex=BACKSTOP_TTL_S)
            return smst.Root.from_bytes(self._store.client.get(self.root_key) or b"")

    # --- commands and reads for fenced transactions

    def add(self, leaves: Sequence[Leaf], *, index_length: int) -> list[Command]:
        """Return the commands that add leaves to an index of `index_length` bytes. Raises `IndexTooLong`."""
        records = b"".join(leaf.record for leaf in leaves)
        if index_length + len(records) > MAX_INDEX_BYTES:
            raise IndexTooLong(key=self.index_key, length=index_length)
        pairs = [part for leaf in leaves for part in (leaf.path, leaf.value)]
        return [
            ("HSET", self.leaves_key, *pairs),
            ("APPEND", self.index_key, records),
            ("EXPIRE", self.leaves_key, BACKSTOP_TTL_S),
            ("EXPIRE", self.index_key, BACKSTOP_TTL_S),
        ]

    def remove(self, records: Sequence[bytes], removed: Sequence[Path]) -> list[Command]:
        """Return the commands that take `removed` out of an unsealed session with these records."""
        gone = set(removed)
        kept = b"".join(record for record in records if smst.record_path(record) not in gone)
        return [("HDEL", self.leaves_key, *removed), *self._replace_index(kept)]

    def rebuild(self, fence: Fence) -> bool:
        """Make the index anew from the leaves, in one transaction; False when somebody wrote meanwhile.

        For an unsealed session whose index does not match its leaves: a damaged store. The fence watches.
        """
        records: dict[bytes, bytes] = {}
        cursor: Any = 0
        while True:
            ((cursor, flat),) = fence.ask(("HSCAN", self.leaves_key, cursor, "COUNT", _SCAN_COUNT))
            for path, value in zip(flat[::2], flat[1::2], strict=True):
                relay_bytes, weight = smst.split_leaf_value(value)
                records[path] = smst.leaf_record(path, relay_bytes, weight)
            if cursor == b"0":
                break
        index = b"".join(records[path] for path in sorted(records))
        return fence.execute(*self._replace_index(index)) is not None

    def _replace_index(self, index: bytes) -> list[Command]:
        if not index:
            return [("DEL", self.index_key)]
        return [("SET", self.index_key, index, "EX", BACKSTOP_TTL_S)]
