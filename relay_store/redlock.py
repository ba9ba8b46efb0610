"""A lease over N independent masters: it holds while a majority of them says so (decisions.md E).

The majority decides who holds the lease; the data store gets the owner token only afterwards, by a script
that refuses once the lease has ended by the data store's clock. So a holder that was paused between the
two steps cannot take the ownership back from its successor. What fences writes is the ownership alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from pocket_protocol.errors import Unavailable
from relay_store.connection import Store
from relay_store.keys import LeaseKeys
from relay_store.lease import LEASE_TTL_MS
from relay_store.scripts import run_over, run_script
from relay_store.store_errors import store_errors

CLOCK_DRIFT: Final = 0.01  # of the TTL, and 2 ms: how far the masters' clocks may run apart
CLOCK_DRIFT_MS: Final = 2
SILENT_S: Final = (
    1.0  # a master that did not answer is not waited for again so soon: there may be many leases
)


class RedlockLease:
    """`lease.Lease` over `masters`, with ownership in `data`. Masters that do not answer count against it.

    Connect the masters with time-outs far below the TTL. Methods raise `StoreUnavailable` only for `data`.
    """

    def __init__(
        self,
        masters: Sequence[Store],
        data: Store,
        *,
        ttl_ms: int = LEASE_TTL_MS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._masters = tuple(masters)
        self._data = data
        self._ttl_ms = ttl_ms
        self._monotonic = monotonic
        self._majority = len(self._masters) // 2 + 1
        self._silent_until: dict[int, float] = {}  # masters that did not answer, by their position

    def acquire(self, keys: LeaseKeys, token: str) -> int | None:
        """Take the lease from a majority, then the ownership; return the epoch, None if either failed."""
        valid_ms = self._ttl_ms - int(self._ttl_ms * CLOCK_DRIFT) - CLOCK_DRIFT_MS
        ends_ms = self._data_time_ms(keys) + valid_ms
        started = self._monotonic()
        taken = self._on_masters("lease_acquire", keys, token)
        spent_ms = (self._monotonic() - started) * 1000
        epoch = None
        if sum(reply is not None for reply in taken) >= self._majority and spent_ms < valid_ms:
            epoch = self._own(keys, token, ends_ms)
        if epoch is None:
            self.release(keys, token)
        return epoch

    def _own(self, keys: LeaseKeys, token: str, ends_ms: int) -> int | None:
        if keys.owner is None:  # a singleton writes nothing that is fenced
            with store_errors():
                return int(self._data.client.incr(keys.epoch))
        names = (keys.lease, keys.owner, keys.epoch)
        epoch = run_script(self._data, "redlock_own", names, token, ends_ms, self._ttl_ms)
        return None if epoch is None else int(epoch)

    def _data_time_ms(self, keys: LeaseKeys) -> int:
        with store_errors():
            seconds, microseconds = self._data.node(keys.owner or keys.lease).time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _on_masters(self, script: str, keys: LeaseKeys, token: str) -> list[object]:
        return self._ask(lambda master: run_script(master, script, (keys.lease,), token, self._ttl_ms))

    def _ask(self, question: Callable[[Store], object]) -> list[object]:
        """Return each master's reply, None for those that do not answer or did not do so a moment ago."""
        replies: list[object] = [None] * len(self._masters)
        for position, master in enumerate(self._masters):
            if self._monotonic() < self._silent_until.get(position, float("-inf")):
                continue
            try:
                replies[position] = question(master)
            except Unavailable:
                self._silent_until[position] = self._monotonic() + SILENT_S
        return replies

    def renew(self, held: Sequence[LeaseKeys], token: str) -> list[bool]:
        """Prolong leases of one kind together; False where a majority or the ownership is lost."""
        if not held:
            return []
        votes = [0] * len(held)
        groups = [(keys.lease,) for keys in held]
        started = self._monotonic()
        for replies in self._ask(lambda master: run_over(master, "lease_renew", groups, token, self._ttl_ms)):
            if isinstance(replies, list):
                votes = [count + int(reply) for count, reply in zip(votes, replies, strict=True)]
        in_time = (self._monotonic() - started) * 1000 < self._ttl_ms
        owned = self._show(held, token)
        return [in_time and count >= self._majority and own for count, own in zip(votes, owned, strict=True)]

    def _show(self, held: Sequence[LeaseKeys], token: str) -> list[bool]:
        fenced = [keys for keys in held if keys.owner is not None]
        groups = [(keys.lease, keys.owner or "") for keys in fenced]
        replies = run_over(self._data, "redlock_show", groups, token, self._ttl_ms)
        shown = dict(zip(fenced, replies, strict=True))
        return [keys.owner is None or bool(shown[keys]) for keys in held]

    def release(self, keys: LeaseKeys, token: str) -> bool:
        """Give the lease up on every master that answers; False when a majority had lost it."""
        released = sum(reply == 1 for reply in self._on_masters("lease_release", keys, token))
        if keys.owner is not None:
            run_script(self._data, "lease_release", (keys.lease,), token)
        return released >= self._majority
