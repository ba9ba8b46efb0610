"""Which task goes to which queue: a supplier's tasks to its owner's queue, the rest to anybody."""

from __future__ import annotations

from typing import Any, Final

from relay_store.accumulation_task import ACCUMULATE_TASK, accumulation_queue

CONTROL_QUEUE: Final = "control"

ACCUMULATE: Final = ACCUMULATE_TASK
ADVANCE: Final = "mining_tasks.advance"
TAKE_OVER: Final = "mining_tasks.take_over"
REGISTER: Final = "mining_tasks.register"
TIDY: Final = "mining_tasks.tidy"
CHECK_BALANCE: Final = "mining_tasks.check_balance"
OF_SUPPLIER: Final = frozenset((ACCUMULATE, ADVANCE, TAKE_OVER, REGISTER, TIDY, CHECK_BALANCE))

SWEEP: Final = "mining_tasks.sweep"
RECONCILE: Final = "mining_tasks.reconcile"
CLEAN_UP: Final = "mining_tasks.clean_up"
CHECK_BALANCES: Final = "mining_tasks.check_balances"
REFRESH_CACHES: Final = "mining_tasks.refresh_caches"


def supplier_queue(supplier: str) -> str:
    """Return the queue the supplier's owner consumes."""
    return accumulation_queue(supplier)


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, str]:
    """Celery's router: the first argument of a supplier's task is its operator address."""
    if name in OF_SUPPLIER and args:
        return {"queue": supplier_queue(args[0])}
    return {"queue": CONTROL_QUEUE}
