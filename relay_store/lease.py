"""Leases: who works for a supplier, and who is the one beat (decisions.md A, E; design.md §3).

A lease is a key with a short TTL that holds its holder's token. Taking a supplier's lease also writes the
owner token every transaction is fenced by, and counts an epoch, in the same script. The lease says who
*should* write; the fence (`fence.py`) decides who *can*.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, Protocol

from relay_store.connection import Store
from relay_store.keys import LeaseKeys
from relay_store.scripts import ask_each, run_over, run_script
from relay_store.store_errors import store_errors

LEASE_TTL_MS: Final = 3000


def new_token() -> str:
    """Return a fresh owner token for a worker node: made once by its parent process, shared by its children."""
    return secrets.token_hex(16)


class Lease(Protocol):
    """What holders need of a lease, over one store or over several independent ones."""

    def acquire(self, keys: LeaseKeys, token: str) -> int | None:
        """Take the lease if it is free or ours; return its epoch, None when somebody else holds it."""

    def renew(self, held: Sequence[LeaseKeys], token: str) -> list[bool]:
        """Prolong leases, all in one go; False where the lease or its ownership was lost."""

    def release(self, keys: LeaseKeys, token: str) -> bool:
        """Give the lease up; False when it was not ours any more."""


class StoreLease:
    """`Lease` over the one store that also holds the data. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, *, ttl_ms: int = LEASE_TTL_MS) -> None:
        self._store = store
        self._ttl_ms = ttl_ms

    def acquire(self, keys: LeaseKeys, token: str) -> int | None:
        """Take the lease if it is free or already ours. Acquiring anew what is ours counts a new epoch."""
        if keys.owner is not None:
            return self._acquire((keys.lease, keys.owner, keys.epoch), token)
        if self._acquire((keys.lease,), token) is None:
            return None
        with store_errors():  # apart: a singleton's keys need not share a slot, and its epoch fences nothing
            return int(self._store.client.incr(keys.epoch))

    def _acquire(self, names: tuple[str, ...], token: str) -> int | None:
        epoch = run_script(self._store, "lease_acquire", names, token, self._ttl_ms)
        return None if epoch is None else int(epoch)

    def renew(self, held: Sequence[LeaseKeys], token: str) -> list[bool]:
        """Prolong leases of one kind together. False: release it, acquire it anew before writing."""
        groups = [(keys.lease,) if keys.owner is None else (keys.lease, keys.owner) for keys in held]
        return [bool(reply) for reply in run_over(self._store, "lease_renew", groups, token, self._ttl_ms)]

    def release(self, keys: LeaseKeys, token: str) -> bool:
        """Give the lease up, so that another node need not wait for its end."""
        return bool(run_script(self._store, "lease_release", (keys.lease,), token))

    def holders(self, leases: Sequence[LeaseKeys]) -> list[str | None]:
        """Return the token that holds each lease now, None where nobody does."""
        tokens = ask_each(self._store, "GET", [keys.lease for keys in leases])
        return [None if token is None else token.decode() for token in tokens]
