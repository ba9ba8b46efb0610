"""Transactions that go through only while their writer still owns the supplier (decisions.md B0, B2).

    with open_fence(store, keys, supplier, token) as fence:
        fence.watch()                      # WATCH owner, commit; GET owner: mine?
        fence.ask(...)                     # read what the transaction depends on
        fence.watch_more(...)              # further keys, before reading them
        replies = fence.execute(...)       # MULTI … EXEC with INCR commit; None: somebody wrote in between

Each writer of a supplier increments its commit key in the transaction, so of two that overlap one gets
None, reads again and decides again. Commands go straight over one connection of the node itself, never
through a cluster pipeline, which would send them elsewhere or again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from redis.exceptions import ExecAbortError, ResponseError

from pocket_protocol.errors import PocketError, Refused
from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.store_errors import store_error, store_errors

Command: TypeAlias = Sequence[Any]


class NotOwner(Refused):
    """The supplier belongs to another worker node now: the writer stops before its next write."""

    reason = "not_owner"
    summary = "supplier is owned by another node"


class PartlyExecuted(PocketError):
    """A command failed inside a transaction; its others were carried out (Redis does not roll back)."""

    reason = "partly_executed"
    summary = "a command failed inside a transaction"


class Fence:
    """One connection for the transactions of one supplier under one owner token. Not for sharing."""

    def __init__(self, connection: Any, *, owner_key: str, commit_key: str, token: str) -> None:
        self._connection = connection
        self._owner_key = owner_key
        self._commit_key = commit_key
        self._token = token.encode()

    def watch(self) -> None:
        """Watch ownership and commits from here on. Raises `NotOwner`, `StoreUnavailable`."""
        self._connection.watching = True
        _, owner = self._exchange((("WATCH", self._owner_key, self._commit_key), ("GET", self._owner_key)))
        if owner != self._token:
            self.forget()
            raise NotOwner(key=self._owner_key)

    def watch_more(self, *keys: str) -> None:
        """Watch further keys; read them afterwards."""
        self._exchange((("WATCH", *keys),))

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands in one go and return their replies. Raises `StoreRefused`, `StoreUnavailable`."""
        return self._exchange(commands)

    def execute(self, *commands: Command) -> list[Any] | None:
        """Carry out `commands` and count the commit, all or nothing; None when a watched key was changed.

        Ends the watch either way. Raises `StoreUnavailable` when the outcome is not known (forget what was
        read and read again), `StoreFull` and `StoreRefused` when nothing was done, `PartlyExecuted` when
        something was.
        """
        block = (("MULTI",), *commands, ("INCR", self._commit_key), ("EXEC",))
        self._send(block)
        replies = [self._receive() for _ in block]
        self._connection.watching = False
        outcome = replies[-1]
        if isinstance(outcome, ExecAbortError):
            refused = next((reply for reply in replies if isinstance(reply, ResponseError)), outcome)
            raise store_error(refused)
        if isinstance(outcome, Exception):
            raise store_error(outcome)
        if outcome is None:
            return None
        failures = {
            str(command[0]): str(reply)[:200]
            for command, reply in zip(commands, outcome, strict=False)
            if isinstance(reply, Exception)
        }
        if failures:
            raise PartlyExecuted(failures=failures, owner_key=self._owner_key)
        result: list[Any] = outcome[:-1]
        return result

    def forget(self) -> None:
        """End the watch without writing."""
        if self._connection.watching:
            self._exchange((("UNWATCH",),))
            self._connection.watching = False

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        self._send(commands)
        replies = [self._receive() for _ in commands]
        for reply in replies:
            if isinstance(reply, Exception):
                raise store_error(reply)
        return replies

    def _send(self, commands: Sequence[Command]) -> None:
        packed = self._connection.pack_commands(commands)
        with store_errors():
            self._connection.send_packed_command(packed, check_health=False)

    def _receive(self) -> Any:
        """Return the next reply; an error reply is returned, not raised, so that the others are read too."""
        with store_errors():
            try:
                return self._connection.read_response()
            except ResponseError as error:
                return error


@contextmanager
def open_fence(store: Store, keys: OwnKeys, supplier: str, token: str) -> Iterator[Fence]:
    """Lend a fence for `supplier` to the holder of the owner `token`. Raises `StoreUnavailable`."""
    owner_key, commit_key = keys.owner(supplier), keys.commit(supplier)
    with store.fenced_connection(owner_key) as connection:
        yield Fence(connection, owner_key=owner_key, commit_key=commit_key, token=token)


def is_owner(store: Store, keys: OwnKeys, supplier: str, token: str) -> bool:
    """Return whether the holder of `token` owns the supplier just now. Raises `StoreUnavailable`."""
    with store_errors():
        owner = store.client.get(keys.owner(supplier))
    return bool(owner == token.encode())
