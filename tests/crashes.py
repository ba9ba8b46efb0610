"""Ending a process at a chosen store call, and at a random moment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, Literal

from redis.connection import AbstractConnection

Moment = Literal["before", "after"]
FINISHED, CRASHED, FAILED = 0, 71, 72


def _run_child(work: Callable[[], Any]) -> None:
    """Run `work` in a forked child and end it without any clean-up, as a kill would."""
    try:
        work()
    except BaseException:
        os._exit(FAILED)
    os._exit(FINISHED)


def crash_at_store_call(number: int, moment: Moment, work: Callable[[], Any]) -> int:
    """Run `work` in a child that dies at its `number`-th store call; return CRASHED, FINISHED or FAILED.

    `before`: nothing of the call was sent. `after`: it was carried out; the child dies before its next call.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls = 0
    send = AbstractConnection.send_packed_command

    def counted_send(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if calls == number and moment == "after":
            os._exit(CRASHED)
        calls += 1
        if calls == number and moment == "before":
            os._exit(CRASHED)
        return send(self, *args, **kwargs)

    AbstractConnection.send_packed_command = counted_send  # type: ignore[method-assign]
    _run_child(work)
    return FAILED


def kill_after(delay_s: float, work: Callable[[], Any]) -> bool:
    """Run `work` in a child and SIGKILL it `delay_s` later; return whether it was still at work."""
    child = os.fork()
    if not child:
        _run_child(work)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
