"""Fixed-base tables for keys seen often: a warm ring of two verifies in a quarter less time, half where caches are large.

Source: spec/signatures.md §10.2, signatures_speed.md. The table of a point B holds d·256^w·B for each byte d of each
window w, so that a·A + b·B is one sum of at most 64 entries, which the library adds in one call. It costs 36-57 ms
and about 1 MB, and pays for itself after some 1,500 verifications: so it is made only for rings that have verified
often, a small piece with each verification, and the ones used least are dropped.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from pocket_protocol.curve import GENERATOR, INFINITY, hash_to_curve
from pocket_protocol.curve_libsecp256k1 import Library, LibraryCurve
from pocket_protocol.recently_used import RecentlyUsed

WINDOWS = 32
DIGITS = 255  # of a window; digit 0 adds nothing
ENTRIES = WINDOWS * DIGITS
ENTRIES_PER_STEP = 51  # a quarter of a millisecond
TABLE_BYTES = 1_000_000  # entries 522 kB, their addresses 460 kB
BUILD_AFTER = 2000
PAIR_LIMIT = 4096
MAX_RING_SIZE = 8  # rings beyond it are not what gateways send
FEWEST_TABLES = 2 * MAX_RING_SIZE + 3  # with the image, the generator and the one being filled


class FixedBaseTable:
    """The multiples of one point, filled in steps."""

    def __init__(self, library: Library, context: Any, point: Any) -> None:
        self._ffi, self._lib, self._context = library.ffi, library.lib, context
        self._entries = self._ffi.new(f"secp256k1_pubkey[{ENTRIES}]")
        self._entries[0] = point[0]
        self._filled = 1
        self._addresses: list[list[bytes]] = []

    def step(self) -> bool:
        """Fill the next entries; return True when the table is complete."""
        entries, pair = self._entries, self._ffi.new("secp256k1_pubkey *[2]")
        stop = min(self._filled + ENTRIES_PER_STEP, ENTRIES)
        for index in range(self._filled, stop):
            # The step within a window is its first entry, and the last entry plus one step starts the next window.
            # No entry is a multiple of N, so that no sum here is infinity.
            pair[0], pair[1] = entries + index - 1, entries + (index - 1) // DIGITS * DIGITS
            self._lib.secp256k1_ec_pubkey_combine(self._context, entries + index, pair, 2)
        self._filled = stop
        if stop == ENTRIES:
            self._addresses = self._entry_addresses()
        return stop == ENTRIES

    def summands(self, scalar: int) -> bytes:
        """Return the addresses, one after the other, of the entries whose sum is scalar·B."""
        return b"".join(map(list.__getitem__, self._addresses, scalar.to_bytes(WINDOWS, "little")))

    def _entry_addresses(self) -> list[list[bytes]]:
        start, pointer_size = int(self._ffi.cast("uintptr_t", self._entries)), self._ffi.sizeof("void *")
        size = self._ffi.sizeof("secp256k1_pubkey")
        flat = [(start + size * i).to_bytes(pointer_size, sys.byteorder) for i in range(ENTRIES)]
        return [[b"", *flat[first : first + DIGITS]] for first in range(0, ENTRIES, DIGITS)]


class TableCurve(LibraryCurve):
    """`LibraryCurve` that makes tables for the members and images of rings that verify often."""

    def __init__(self, library: Library, table_bytes: int, *, build_after: int = BUILD_AFTER) -> None:
        """Keep at most `table_bytes` of tables; start one after `build_after` verifications of a ring."""
        if table_bytes < FEWEST_TABLES * TABLE_BYTES:
            raise ValueError(f"tables need at least {FEWEST_TABLES * TABLE_BYTES} bytes")
        super().__init__(library)
        self.name = f"{library.name} with tables"
        self._library = library
        self._build_after = build_after
        self._pointer_size = self._ffi.sizeof("void *")
        self._verified: RecentlyUsed[bytes, int] = RecentlyUsed(PAIR_LIMIT)
        self._tables: RecentlyUsed[bytes, FixedBaseTable] = RecentlyUsed(table_bytes // TABLE_BYTES - 1)
        # Points whose table is to come, the first of them being filled by who holds the lock.
        self._waiting: dict[bytes, None] = {}
        self._filling: FixedBaseTable | None = None
        self._one_fills = threading.Lock()

    def ring_points(self, public_key: bytes, key_image: bytes, s: int, c: int) -> tuple[bytes, bytes]:
        generator, base = self._tables.get(GENERATOR), self._tables.get(public_key)
        member, image = self._members.get(public_key), self._tables.get(key_image)
        hashed = self._tables.get(member.hashed_bytes) if member else None
        if generator is None or base is None or hashed is None or image is None:
            return super().ring_points(public_key, key_image, s, c)
        left = self._add_up(generator.summands(s) + base.summands(c))
        return left, self._add_up(hashed.summands(s) + image.summands(c))

    def note_verified(self, public_keys: Sequence[bytes], key_image: bytes) -> None:
        super().note_verified(public_keys, key_image)
        self._fill()
        if len(public_keys) > MAX_RING_SIZE:
            return
        ring = key_image + b"".join(public_keys)
        count = (self._verified.get(ring) or 0) + 1
        if count >= self._build_after:
            count = 0  # tables that were dropped are made again after as many verifications
            self._want(public_keys, key_image)
        self._verified.put(ring, count)

    def _want(self, public_keys: Sequence[bytes], key_image: bytes) -> None:
        points = [GENERATOR, key_image, *public_keys]
        points += [hash_to_curve(key, self.is_point).point for key in public_keys]
        for point in points:
            if self._tables.get(point) is None and len(self._waiting) <= self._tables.limit:
                self._waiting.setdefault(point)

    def _fill(self) -> None:
        """Do one step on the table being made, unless another thread is at it."""
        if not self._waiting or not self._one_fills.acquire(blocking=False):
            return
        try:
            point = next(iter(self._waiting))
            table = self._filling or FixedBaseTable(self._library, self._context, self._decode(point))
            self._filling = table
            if table.step():
                self._tables.put(point, table)
                self._filling = None
                del self._waiting[point]
        finally:
            self._one_fills.release()

    def _add_up(self, summands: bytes) -> bytes:
        count = len(summands) // self._pointer_size
        if count == 0:
            return INFINITY
        scratch = self._borrow()
        pointers = self._ffi.cast("secp256k1_pubkey **", self._ffi.from_buffer(summands))
        if self._lib.secp256k1_ec_pubkey_combine(self._context, scratch.sum, pointers, count):
            encoded = self._encode(scratch, scratch.sum)
        else:
            encoded = INFINITY
        self._idle.append(scratch)
        return encoded
