"""The one name front ends and workers must agree on beside the keys: the accumulation task and its queues."""

from __future__ import annotations

from typing import Final

ACCUMULATE_TASK: Final = "mining_tasks.accumulate"  # one argument: the supplier's operator address


def accumulation_queue(supplier: str) -> str:
    """The Celery queue of a supplier; the node that holds the supplier's lease consumes it."""
    return f"supplier.{supplier}"
