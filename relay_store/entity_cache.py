"""Facts of the chain, kept at three levels (spec/relayer.md §5): this process, Redis, the node.

    L1 fresh -> else L2 -> else the loader, once per process and, while Redis answers, once per deployment

Differences from the reference, on purpose (§5.2): callers of one process share one look-up; a lock is freed
only by its owner; Redis being away costs only the second level, never the answer; every level has a TTL and
a bound; "the chain says there is none" is remembered too, briefly; when the node is away, an entry that has
just run out is better than no answer.
"""

from __future__ import annotations

import copy
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pocket_protocol.errors import PocketError, Refused, Unavailable
from relay_store.store_errors import store_errors

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

DEFAULT_LIMIT: Final = 4096
LOCK_S: Final = 5
CONTENDED_WAITS_S: Final = (
    0.005,
    0.01,
    0.02,
    0.04,
)  # the loser looks at L2 after each, then asks the chain itself
FLIGHT_S: Final = 30.0  # a look-up by another caller is waited for no longer than the node's own time-out
_UNLOCK: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)


class LookupTimeout(Unavailable):
    """Another caller's look-up of the same entity did not come back in time."""

    reason = "lookup_timeout"
    summary = "the look-up took too long"


@dataclass(frozen=True)
class Lifetimes:
    """How long an entry counts, in seconds, and how many are kept in this process."""

    fresh_s: float  # L1
    stale_s: float = 0.0  # beyond fresh_s, used only when the loader is unavailable
    absent_s: float = 2.0  # L1, "there is none"
    retry_s: float = 0.5  # after a failed look-up the chain is left alone for this long
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True)
class SharedLevel(Generic[K, V]):
    """How an entity is kept in Redis.

    `decode` raises a leaf of the error tree or ValueError for what it cannot read or what is not `key`'s.
    """

    key: Callable[[K], str]
    encode: Callable[[V], bytes]
    decode: Callable[[K, bytes], V]
    ttl_s: Callable[[K, V], float]
    lock_key: Callable[[K], str] | None = None


class _Flight:
    __slots__ = ("done", "error", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.error: PocketError | None = None


class _Entry(Generic[V]):
    __slots__ = ("absence", "stored_at", "value")

    def __init__(self, value: V | None, absence: PocketError | None, stored_at: float) -> None:
        self.value = value
        self.absence = absence
        self.stored_at = stored_at


Count = Callable[[str, str, str], None]  # entity, "hit" or "miss" and level, or "lock" and its result


def no_count(entity: str, event: str, level: str) -> None:
    """Metrics hook that counts nothing."""


class EntityCache(Generic[K, V]):
    """One kind of entity. `load(key)` asks the chain; its `Refused` means "there is none"."""

    def __init__(
        self,
        name: str,
        load: Callable[[K], V],
        lifetimes: Lifetimes,
        *,
        client: Any = None,
        shared: SharedLevel[K, V] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        count: Count = no_count,
    ) -> None:
        self.name = name
        self._load = load
        self._lifetimes = lifetimes
        self._client = client
        self._shared = shared
        self._monotonic = monotonic
        self._count = count
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._flights: dict[K, _Flight] = {}
        self._failures: OrderedDict[K, tuple[float, Unavailable]] = OrderedDict()
        self._generation = 0

    def peek(self, key: K) -> V | None:
        """The value if this process has a fresh one. No I/O."""
        entry = self._entries.get(key)
        if entry is None or entry.absence is not None:
            return None
        if self._monotonic() - entry.stored_at >= self._lifetimes.fresh_s:
            return None
        return entry.value

    def has(self, key: K) -> bool:
        """Whether this process has a value, fresh or not. No I/O."""
        entry = self._entries.get(key)
        return entry is not None and entry.absence is None

    def known(self) -> list[K]:
        """The keys this process has a value of."""
        with self._lock:
            return [key for key, entry in self._entries.items() if entry.absence is None]

    def get(self, key: K) -> V:
        """The value. Raises what the loader raises, and `LookupTimeout`."""
        entry = self._entries.get(key)
        if entry is not None:
            age_s = self._monotonic() - entry.stored_at
            if entry.absence is None and age_s < self._lifetimes.fresh_s:
                self._count(self.name, "hit", "l1")
                return entry.value  # type: ignore[return-value]
            if entry.absence is not None and age_s < self._lifetimes.absent_s:
                raise copy.copy(entry.absence)  # its own traceback: a kept one would grow with every raise
        self._count(self.name, "miss", "l1")
        failure = self._failures.get(key)
        if failure is not None and self._monotonic() - failure[0] < self._lifetimes.retry_s:
            return self._stale(key, failure[1])
        return self._fly(key, self._read_through)

    def refresh(self, key: K) -> V:
        """The value from the chain, written to every level."""
        return self._fly(key, self._load_and_share)

    def invalidate(self, key: K) -> None:
        """Forget what this process has under `key`; a look-up under way is not stored either."""
        with self._lock:
            self._generation += 1
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything this process has."""
        with self._lock:
            self._generation += 1
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _fly(self, key: K, lookup: Callable[[K], V]) -> V:
        """Run `lookup` once for all callers that want `key` now."""
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
            generation = self._generation
        if not leads:
            if not flight.done.wait(FLIGHT_S):
                raise LookupTimeout(entity=self.name)
            if flight.error is not None:
                raise copy.copy(flight.error)
            return flight.value  # type: ignore[no-any-return]
        try:
            flight.value = self._settle(key, lookup, generation)
            return flight.value  # type: ignore[no-any-return]
        except BaseException as error:
            # A copy without traceback: that knows this frame, hence the flight, and all that its callers hold.
            flight.error = (
                copy.copy(error) if isinstance(error, PocketError) else LookupTimeout(entity=self.name)
            )
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()

    def _settle(self, key: K, lookup: Callable[[K], V], generation: int) -> V:
        try:
            value = lookup(key)
        except Refused as absence:
            self._store(key, _Entry(None, copy.copy(absence), self._monotonic()), generation)
            raise
        except Unavailable as failure:
            with self._lock:
                self._failures[key] = (self._monotonic(), copy.copy(failure))
                while len(self._failures) > self._lifetimes.limit:
                    self._failures.popitem(last=False)
            return self._stale(key, failure)
        self._store(key, _Entry(value, None, self._monotonic()), generation)
        return value

    def _stale(self, key: K, failure: Unavailable) -> V:
        """The value that ran out, if it may still be used; else raise `failure`."""
        entry = self._entries.get(key)
        usable_s = self._lifetimes.fresh_s + self._lifetimes.stale_s
        if entry is None or entry.absence is not None or self._monotonic() - entry.stored_at >= usable_s:
            raise copy.copy(failure)
        self._count(self.name, "hit", "stale")
        return entry.value  # type: ignore[return-value]

    def _store(self, key: K, entry: _Entry[V], generation: int) -> None:
        with self._lock:
            if generation != self._generation:
                return  # invalidated meanwhile: what was read may be older than the invalidation
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while self._entries and (
                len(self._entries) > self._lifetimes.limit
                or self._is_over(next(iter(self._entries.values())))
            ):
                self._entries.popitem(last=False)

    def _is_over(self, entry: _Entry[V]) -> bool:
        """Whether an entry is of no use any more. Sessions come and go: without this each would stay."""
        lifetimes = self._lifetimes
        usable_s = lifetimes.absent_s if entry.absence is not None else lifetimes.fresh_s + lifetimes.stale_s
        return self._monotonic() - entry.stored_at >= usable_s

    def _read_through(self, key: K) -> V:
        value = self._from_shared(key, "l2")
        if value is not None:
            return value
        lock = self._shared.lock_key(key) if self._shared is not None and self._shared.lock_key else None
        if lock is None:
            return self._load_and_share(key)
        token = secrets.token_hex(8)
        is_ours = self._try_lock(lock, token)
        self._count(self.name, "lock", "acquired" if is_ours else "contended")
        if is_ours:
            try:
                return self._load_and_share(key)
            finally:
                self._unlock(lock, token)
        for wait_s in CONTENDED_WAITS_S:
            time.sleep(wait_s)
            value = self._from_shared(key, "l2_retry")
            if value is not None:
                return value
        return self._load_and_share(key)

    def _load_and_share(self, key: K) -> V:
        self._count(self.name, "miss", "l3")
        value = self._load(key)
        if self._shared is not None:
            ttl_ms = max(1, int(self._shared.ttl_s(key, value) * 1000))
            with (
                suppress(PocketError),
                store_errors(),
            ):  # the second level is a convenience; the value is good
                self._client.set(self._shared.key(key), self._shared.encode(value), px=ttl_ms)
        return value

    def _from_shared(self, key: K, level: str) -> V | None:
        if self._shared is None:
            return None
        try:
            with store_errors():
                stored = self._client.get(self._shared.key(key))
        except PocketError:
            return None
        if stored is None:
            self._count(self.name, "miss", level)
            return None
        try:
            value = self._shared.decode(key, stored)
        except (PocketError, ValueError):
            self._count(self.name, "miss", f"{level}_unreadable")
            return None
        self._count(self.name, "hit", level)
        return value

    def _try_lock(self, lock: str, token: str) -> bool:
        try:
            with store_errors():
                return bool(self._client.set(lock, token, nx=True, ex=LOCK_S))
        except PocketError:
            return True  # without Redis there is nothing to coordinate with

    def _unlock(self, lock: str, token: str) -> None:
        with suppress(PocketError), store_errors():  # it runs out by itself
            self._client.eval(_UNLOCK, 1, lock, token)


class MalformedInvalidation(ValueError):
    """A message on an invalidation channel that is not JSON; nothing is forgotten because of it."""


def invalidate_by_message(
    payload: bytes, field: str, invalidate: Callable[[str], None], clear: Callable[[], None]
) -> None:
    """Apply one message of an invalidation channel (spec/relayer.md §5.3).

    Exactly the two bytes `{}` clear everything; `{"<field>": "<key>"}` drops one entry; other JSON does
    nothing. Raises `MalformedInvalidation` for what is not a JSON object.
    """
    if payload == b"{}":
        clear()
        return
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedInvalidation(f"{len(payload)} bytes that are not JSON") from error
    if not isinstance(message, dict):
        raise MalformedInvalidation("not a JSON object")
    key = message.get(field)
    if isinstance(key, str) and key:
        invalidate(key)
