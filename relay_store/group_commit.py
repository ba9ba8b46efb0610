"""Many callers, one pipeline at a time: Redis on the relay path (decisions D6; design.md §3.6).

A caller hands over its commands and waits for their replies. Whoever finds no commit under way leads
one: it sends everything handed over so far in one write, reads the replies, wakes the owners and
passes the lead on to the first caller that arrived meanwhile. There is no thread of its own, so it
works the same under threads and under gevent, costs one round trip for a lone caller, and batches by
itself as load grows. Once two callers have met, a leader first gives way to those who are about to call:
a store next door answers faster than greenlets get their turn, and each would have a round trip of its own.

Nothing is ever sent twice from here. What went wrong says whether a command may have been executed:

    StoreUnavailable
    +-- NotSent           nothing of the call reached the store: it was not executed
    +-- OutcomeUnknown    sent, but the replies did not come: it may or may not have been executed

An answer that is an error (out of memory, moved, wrong type) is the leaf `store_errors` has for it: that
command was not executed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import MovedError, RedisError, ResponseError

from relay_store.connection import Store
from relay_store.store_errors import StoreUnavailable, store_error

Command = tuple[Any, ...]  # name, key, arguments…; or EVAL, script, number of keys, key, …

MAX_BATCH_COMMANDS = 512  # about 0.6 MB of small relays in one write
WAIT_S = 1.0  # a caller learns its outcome within this, whatever the store does (decisions D5)


class NotSent(StoreUnavailable):
    """The commands did not reach the store."""

    reason = "store_unreachable"
    summary = "the store cannot be reached"


class OutcomeUnknown(StoreUnavailable):
    """The commands were sent and the replies did not come back."""

    reason = "store_outcome_unknown"
    summary = "the store did not confirm"


class ConnectionSource(Protocol):
    """The part of redis-py's ConnectionPool used here; its connections must not retry by themselves."""

    def get_connection(self) -> Any: ...

    def release(self, connection: Any) -> None: ...


class _Call:
    __slots__ = ("commands", "error", "gate", "leads", "pool", "replies", "sent", "withdrawn")

    def __init__(self, pool: ConnectionSource, commands: Sequence[Command]) -> None:
        self.pool = pool
        self.commands = commands
        self.gate = threading.Lock()
        self.gate.acquire()
        self.replies: list[Any] | None = None
        self.error: StoreUnavailable | None = None
        self.leads = self.sent = self.withdrawn = False


class GroupCommit:
    """One per worker process, over a store whose own time-outs are not longer than `wait_s`."""

    def __init__(
        self,
        store: Store,
        *,
        wait_s: float = WAIT_S,
        max_batch_commands: int = MAX_BATCH_COMMANDS,
    ) -> None:
        self._store = store
        self._wait_s = wait_s
        self._max_batch_commands = max_batch_commands
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._committing = False
        self._crowded = False  # whether the last commit was for more than one caller

    def run(self, *commands: Command) -> list[Any]:
        """Execute `commands`, all on one node, in order, and return their replies.

        Raises `NotSent` or `OutcomeUnknown` within the bounded wait; for the first reply that is an error,
        `StoreFull`, `StoreUnavailable` or `StoreRefused`, and then the commands beside it were executed.
        """
        replies = self._replies(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                if isinstance(reply, MovedError):
                    self._store.refresh_topology()
                raise store_error(reply) from reply
        return replies

    def _replies(self, commands: Sequence[Command]) -> list[Any]:
        call = _Call(self._store.pool_of(_key_of(commands[0])), commands)
        with self._lock:
            if self._committing:
                self._waiting.append(call)
            else:
                self._committing = call.leads = True
        try:
            if not call.leads:
                call.gate.acquire(timeout=self._wait_s)
            if call.leads:
                self._lead(call)
        finally:
            self._leave(call)
        if call.replies is not None:
            return call.replies
        raise call.error or (OutcomeUnknown() if call.sent else NotSent("the store is not keeping up"))

    def _leave(self, call: _Call) -> None:
        """Take back a call that ended early (time-out, killed greenlet); a lead given to it goes on."""
        with self._lock:
            call.withdrawn = True
            lead_unused = call.leads and not call.sent and call.replies is None and call.error is None
        if lead_unused:
            self._hand_over()

    def _lead(self, first: _Call) -> None:
        if self._crowded:
            time.sleep(0)  # callers that are about to come come first
        with self._lock:
            batch = [first] if not first.withdrawn else []
            count = len(first.commands)
            while self._waiting and count < self._max_batch_commands:
                call = self._waiting.popleft()
                if not call.withdrawn:
                    batch.append(call)
                    count += len(call.commands)
            for call in batch:
                call.sent = True
            self._crowded = len(batch) > 1
        try:
            _commit(batch)
        finally:
            self._hand_over()
            for call in batch:
                if call is not first:
                    call.gate.release()

    def _hand_over(self) -> None:
        with self._lock:
            while self._waiting:
                successor = self._waiting.popleft()
                if not successor.withdrawn:
                    successor.leads = True
                    successor.gate.release()
                    return
            self._committing = False


def _key_of(command: Command) -> str:
    key: str = command[3] if command[0] == "EVAL" else command[1]
    return key


def _commit(batch: Sequence[_Call]) -> None:
    """Send each node's share in one write, then read all replies; every call ends with replies or an error."""
    shares: dict[int, list[_Call]] = {}
    for call in batch:
        shares.setdefault(id(call.pool), []).append(call)
    sent = [(calls, connection) for calls in shares.values() if (connection := _send(calls)) is not None]
    for calls, connection in sent:
        _receive(calls, connection)


def _send(calls: list[_Call]) -> Any:
    pool = calls[0].pool
    try:
        connection = pool.get_connection()
    except (RedisError, OSError) as error:
        _fail(calls, NotSent(cause=type(error).__name__))
        return None
    try:
        commands = [command for call in calls for command in call.commands]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    except BaseException as error:
        _drop(pool, connection)
        _fail(calls, OutcomeUnknown(cause=type(error).__name__))
        if not isinstance(error, (RedisError, OSError)):
            raise
        return None
    return connection


def _receive(calls: list[_Call], connection: Any) -> None:
    pool = calls[0].pool
    try:
        for call in calls:
            call.replies = [_reply(connection) for _ in call.commands]
    except BaseException as error:
        _drop(pool, connection)
        _fail([call for call in calls if call.replies is None], OutcomeUnknown(cause=type(error).__name__))
        if not isinstance(error, (RedisError, OSError)):
            raise
        return
    pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _drop(pool: ConnectionSource, connection: Any) -> None:
    connection.disconnect()
    pool.release(connection)


def _fail(calls: Sequence[_Call], error: StoreUnavailable) -> None:
    for call in calls:
        call.error = error
