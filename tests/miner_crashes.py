"""A miner that dies at a chosen call to the store or the chain.

The end is a BaseException: nothing of ours catches it, and what the dead process had in memory is thrown away with
its miner. What it had sent stays sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from redis.connection import AbstractConnection

from pocket_chain.grpc_channel import NodeChannels
from pocket_chain.json_rpc import JsonRpc
from tests.miners import Mine

Moment = Literal["before", "after"]


class Dead(BaseException):
    """The process has ended."""


class Calls:
    """Counts calls to the outside; at each number in `dies_at` the process ends, before the call or after it."""

    def __init__(self, *dies_at: int, moment: Moment = "before") -> None:
        self.count = 0
        self.deaths = 0
        self.names: list[str] = []
        self._dies_at = frozenset(dies_at)
        self._moment = moment
        self._dead = False

    def revive(self) -> None:
        """Another process goes on."""
        self._dead = False

    def made(self, name: str, call: Any) -> Any:
        if self._dead:
            raise Dead  # a dead process makes no further calls, not even to clean up
        self.count += 1
        self.names.append(name)
        if self.count not in self._dies_at:
            return call()
        self._dead = True
        self.deaths += 1
        if self._moment == "after":
            call()
        raise Dead


@contextmanager
def watching(calls: Calls) -> Iterator[None]:
    """Let `calls` see every call of this process to the store, to gRPC and to the node's RPC."""
    send, ask, rpc = AbstractConnection.send_packed_command, NodeChannels.call, JsonRpc.call

    def watched_send(self: Any, *args: Any, **kwargs: Any) -> Any:
        return calls.made("store", lambda: send(self, *args, **kwargs))

    def watched_ask(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        return calls.made(method.path.rpartition("/")[2], lambda: ask(self, method, *args, **kwargs))

    def watched_rpc(self: Any, method: str, **kwargs: Any) -> Any:
        return calls.made(method, lambda: rpc(self, method, **kwargs))

    AbstractConnection.send_packed_command = watched_send  # type: ignore[method-assign]
    NodeChannels.call = watched_ask  # type: ignore[method-assign]
    JsonRpc.call = watched_rpc  # type: ignore[method-assign]
    try:
        yield
    finally:
        AbstractConnection.send_packed_command = send  # type: ignore[method-assign]
        NodeChannels.call = ask  # type: ignore[method-assign]
        JsonRpc.call = rpc  # type: ignore[method-assign]


def successor(mine: Mine) -> Mine:
    """Another node takes the supplier over."""
    mine.miner.store.client.delete(mine.miner.keys.lease(mine.supplier))
    return Mine(mine.world, mine.node, mine.config, token=mine.miner.token + "+")


def step_until_it_lives(mine: Mine, calls: Calls) -> Mine:
    """Advance at the present block; whenever the miner dies, another one begins where it stood. Return the last."""
    while True:
        try:
            with watching(calls):
                mine.step()
            return mine
        except Dead:
            calls.revive()
            mine = successor(mine)
