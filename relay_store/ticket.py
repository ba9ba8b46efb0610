"""The coalescing flag of a supplier: at most one accumulation task is on its way (decisions.md B1).

A front end takes the ticket and sends a task. The task, when it begins, leaves the ticket only a moment to live:
in that moment relays gather, so that the next task finds a batch. What a ticket has left to live thus says which
of the two it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisClusterException, RedisError

from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.store_errors import store_error, store_errors

TICKET_TTL_MS: Final = 5000
LONGEST_GATHERING_MS: Final = 2000


class Tickets(NamedTuple):
    """The outcome for each supplier; one that is in neither has a task on its way, which will find its relays."""

    taken: list[str]  # the caller sends each of these one task
    gathering: dict[str, float]  # the last task began a moment ago: to be asked again in so many seconds


def take_tickets(store: Store, keys: OwnKeys, suppliers: Sequence[str]) -> Tickets:
    """Take the tickets of those of `suppliers` that have none, in one round trip.

    A task that could not be sent gives its ticket back (`clear_ticket`). Raises `StoreUnavailable`, `StoreFull`.
    """
    with store_errors():
        pipeline = store.client.pipeline(transaction=False)
        for supplier in suppliers:
            pipeline.set(keys.ticket(supplier), b"1", nx=True, px=TICKET_TTL_MS)
            pipeline.pttl(keys.ticket(supplier))
        replies = pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, RedisError | RedisClusterException):
            raise store_error(reply)
    tickets = Tickets([], {})
    for supplier, taken, left_ms in zip(suppliers, replies[::2], replies[1::2], strict=True):
        if taken:
            tickets.taken.append(supplier)
        elif left_ms <= LONGEST_GATHERING_MS:
            tickets.gathering[supplier] = max(0, left_ms) / 1000
    return tickets


def gathers(left_ms: int) -> bool:
    """Tell by what a ticket has left to live whether relays gather: a front end will send a task for them."""
    return 0 < left_ms <= LONGEST_GATHERING_MS


def gather(store: Store, keys: OwnKeys, supplier: str, seconds: float) -> None:
    """Have the relays of `supplier` gather so long before they are announced again. A task does this first of all."""
    with store_errors():
        store.client.pexpire(keys.ticket(supplier), min(int(seconds * 1000), LONGEST_GATHERING_MS))


def clear_ticket(store: Store, keys: OwnKeys, supplier: str) -> None:
    """Let the next relay of `supplier` send a task at once."""
    with store_errors():
        store.client.delete(keys.ticket(supplier))
