"""The coalescing flag of a supplier: at most one accumulation task is on its way (decisions.md B1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from redis.exceptions import RedisClusterException, RedisError

from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.store_errors import store_error, store_errors

TICKET_TTL_MS: Final = 5000


def take_tickets(store: Store, keys: OwnKeys, suppliers: Sequence[str]) -> list[str]:
    """Return those of `suppliers` that had no ticket and have one now: the caller sends each one task.

    One round trip, for a front end that does this every 20-50 ms. A task that could not be sent gives its
    ticket back (`clear_ticket`). Raises `StoreUnavailable`, `StoreFull`.
    """
    with store_errors():
        pipeline = store.client.pipeline(transaction=False)
        for supplier in suppliers:
            pipeline.set(keys.ticket(supplier), b"1", nx=True, px=TICKET_TTL_MS)
        replies = pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, RedisError | RedisClusterException):
            raise store_error(reply)
    return [supplier for supplier, taken in zip(suppliers, replies, strict=True) if taken]


def clear_ticket(store: Store, keys: OwnKeys, supplier: str) -> None:
    """Let the next relay of `supplier` send a task again. A task does this first of all."""
    with store_errors():
        store.client.delete(keys.ticket(supplier))
