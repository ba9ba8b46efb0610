"""Reading a supplier's relay stream so that nothing is ever left behind (decisions.md B3).

One consumer name serves all our workers, so whatever any of them had in hand when it died is what the
next one reads first. Entries leave the stream only in the transaction that stores what became of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay_store.connection import Store
from relay_store.fence import Command, Fence
from relay_store.keys import OwnKeys
from relay_store.scripts import ask_each
from relay_store.store_errors import StoreRefused, store_errors

CONSUMER: Final = "accumulate"
DATA_FIELD: Final = b"data"
ALONE_AFTER: Final = 5  # an entry delivered more often is read in a batch of one
DEAD_AFTER: Final = 8  # and delivered more often than this it kills workers
# Mixed fleets: an entry that a miner of the reference has had so long it will not settle. It settles a batch at once, and
# what it reads after it gave a supplier up it drops, where its own kind waits 60 s: too long for short windows.
FOREIGN_IDLE_MS: Final = 5_000
_PAGE: Final = 500
_ALL: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivered stream entry. `body` is None when it was deleted while pending."""

    id: bytes
    body: bytes | None
    deliveries: int = 1

    @property
    def kills_workers(self) -> bool:
        """Whether it was delivered so often without any outcome that it is not looked into any more."""
        return self.deliveries > DEAD_AFTER


class RelayStream:
    """Reader of one supplier's stream for the length of one accumulation."""

    def __init__(
        self,
        keys: OwnKeys,
        supplier: str,
        *,
        group: str = "",
        mixed_fleet: bool = False,
        xackdel: bool = False,
    ) -> None:
        """`group` replaces the namespace's; with `mixed_fleet`, live foreign consumers keep what they hold."""
        self.key = keys.relay_stream(supplier)
        self.group = group or keys.consumer_group()
        self._min_idle_ms = FOREIGN_IDLE_MS if mixed_fleet else 0
        self._xackdel = xackdel
        self._pending_first = True

    @property
    def reads_pending(self) -> bool:
        """Whether the next read begins with what is pending."""
        return self._pending_first

    def read(self, fence: Fence, count: int) -> list[Entry]:
        """Return up to `count` entries: pending ones first, then new ones, then what neither shows.

        Empty when the stream holds nothing for us. Raises `StoreUnavailable`, `StoreRefused`.
        """
        try:
            return self._read(fence, count)
        except StoreRefused as error:
            if error.code != "NOGROUP":
                raise
            self.create_group(fence)
            return self._read(fence, count)

    def _read(self, fence: Fence, count: int) -> list[Entry]:
        if self._pending_first:
            if entries := self._read_pending(fence, count):
                return entries
            self._pending_first = False
        if entries := self._read_group(fence, b">", count):
            return entries
        (length,) = fence.ask(("XLEN", self.key))
        if not length:
            return []
        if entries := self._read_pending(fence, count):
            return entries
        return self._read_pending(fence, count) if self.reclaim(fence) else []

    def _read_pending(self, fence: Fence, count: int) -> list[Entry]:
        """Read what is pending, without handing out together what may kill the worker (decisions.md B3)."""
        (page,) = fence.ask(("XPENDING", self.key, self.group, "-", "+", count, CONSUMER))
        if not page:
            return []
        earlier = {entry_id: deliveries for entry_id, _, _, deliveries in page}
        together = 0
        for deliveries in earlier.values():
            if deliveries >= ALONE_AFTER:
                break
            together += 1
        return self._read_group(fence, b"0", max(together, 1), earlier)

    def _read_group(
        self, fence: Fence, start: bytes, count: int, earlier: dict[bytes, int] | None = None
    ) -> list[Entry]:
        (reply,) = fence.ask(
            ("XREADGROUP", "GROUP", self.group, CONSUMER, "COUNT", count, "STREAMS", self.key, start)
        )
        deliveries = earlier or {}
        return [
            Entry(entry_id, _body(fields), deliveries.get(entry_id, 0) + 1)
            for _, entries in reply or ()
            for entry_id, fields in entries
        ]

    def create_group(self, fence: Fence) -> None:
        """Create the group from the stream's beginning, and the stream, unless they exist."""
        try:
            fence.ask(("XGROUP", "CREATE", self.key, self.group, "0", "MKSTREAM"))
        except StoreRefused as error:
            if error.code != "BUSYGROUP":
                raise

    def read_again(self) -> None:
        """Forget where reading stood: what was read and not acknowledged is pending and comes first."""
        self._pending_first = True

    def uncount(self, fence: Fence, entries: Sequence[Entry]) -> None:
        """Take back the count of a delivery that failed for a reason that lies not in the entries."""
        by_count: dict[int, list[bytes]] = {}
        for entry in entries:
            by_count.setdefault(entry.deliveries - 1, []).append(entry.id)
        for earlier, ids in by_count.items():
            fence.ask(("XCLAIM", self.key, self.group, CONSUMER, 0, *ids, "RETRYCOUNT", earlier, "JUSTID"))

    def acknowledge(self, entries: Iterable[Entry]) -> list[Command]:
        """Return the commands that take entries out of the stream, for the transaction that settles them."""
        ids = [entry.id for entry in entries]
        persist = ("PERSIST", self.key)
        if self._xackdel:
            return [persist, ("XACKDEL", self.key, self.group, "DELREF", "IDS", len(ids), *ids)]
        return [persist, ("XACK", self.key, self.group, *ids), ("XDEL", self.key, *ids)]

    def reclaim(self, fence: Fence) -> int:
        """Make pending for us what other consumers hold and what nobody holds; return how many entries.

        Run once when the supplier is taken over, and whenever the stream holds what no read returns.
        """
        return self._claim_from_others(fence) + self._claim_strays(fence)

    def _claim_from_others(self, fence: Fence) -> int:
        claimed, cursor = 0, b"0-0"
        while True:
            (reply,) = fence.ask(
                (
                    "XAUTOCLAIM",
                    self.key,
                    self.group,
                    CONSUMER,
                    self._min_idle_ms,
                    cursor,
                    "COUNT",
                    _PAGE,
                    "JUSTID",
                )
            )
            cursor = reply[0]
            claimed += len(reply[1])
            if cursor == b"0-0":
                return claimed

    def _claim_strays(self, fence: Fence) -> int:
        """Claim entries that were delivered once, are pending for nobody and yet are in the stream."""
        delivered = self._last_delivered(fence)
        claimed, start = 0, b"-"
        while True:
            (page,) = fence.ask(("XRANGE", self.key, start, delivered, "COUNT", _PAGE))
            if not page:
                return claimed
            ids = [entry_id for entry_id, _ in page]
            (held,) = fence.ask(("XPENDING", self.key, self.group, ids[0], ids[-1], _ALL))
            strays = sorted(set(ids) - {row[0] for row in held}, key=_order)
            if strays:
                fence.ask(("XCLAIM", self.key, self.group, CONSUMER, 0, *strays, "FORCE", "JUSTID"))
                claimed += len(strays)
            start = b"(" + ids[-1]

    def _last_delivered(self, fence: Fence) -> bytes:
        (groups,) = fence.ask(("XINFO", "GROUPS", self.key))
        for group in groups:
            facts = dict(zip(group[::2], group[1::2], strict=True))
            if facts[b"name"] == self.group.encode():
                last: bytes = facts[b"last-delivered-id"]
                return last
        return b"0-0"


def _body(fields: Any) -> bytes | None:
    """Return the `data` field, b"" if there is none, None for an entry that was deleted while pending."""
    if fields is None:
        return None
    body: bytes = dict(zip(fields[::2], fields[1::2], strict=True)).get(DATA_FIELD, b"")
    return body


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def stream_length(store: Store, keys: OwnKeys, supplier: str) -> int:
    """Return how many entries wait: unread and pending ones. Raises `StoreUnavailable`."""
    with store_errors():
        return int(store.client.xlen(keys.relay_stream(supplier)))


def stream_lengths(store: Store, keys: OwnKeys, suppliers: Sequence[str]) -> dict[str, int]:
    """Return how many entries wait in each supplier's stream, in one go. Raises `StoreUnavailable`."""
    lengths = ask_each(store, "XLEN", [keys.relay_stream(supplier) for supplier in suppliers])
    return dict(zip(suppliers, lengths, strict=True))


def stream_tail(store: Store, keys: OwnKeys, supplier: str) -> bytes | None:
    """Return the id of the newest entry, None when the stream is empty."""
    with store_errors():
        newest = store.client.xrevrange(keys.relay_stream(supplier), count=1)
    return newest[0][0] if newest else None


def drained_up_to(store: Store, keys: OwnKeys, supplier: str, entry_id: bytes) -> bool:
    """Return whether every entry up to `entry_id` has been settled: none of them is in the stream."""
    with store_errors():
        return not store.client.xrange(keys.relay_stream(supplier), max=entry_id, count=1)
