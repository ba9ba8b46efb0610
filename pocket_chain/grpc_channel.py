"""Unary gRPC calls to one or several nodes (spec/miner.md §5.6, spec/chain.md §1).

Calls are built from the message descriptors; there are no generated stubs. A channel is opened by the process
that uses it, at its first call: a channel does not survive a fork. In a process that patched its sockets with
gevent, `grpc.experimental.gevent.init_gevent()` must have been called before that.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from operations.sections import NodeAddresses
from pocket_chain.node_errors import (
    AheadOfNode,
    EntityNotFound,
    MethodUnimplemented,
    NodeAnswerUnreadable,
    NodeUnavailable,
)
from pocket_protocol.types import Height
from pocket_protocol.wire import Undecodable, decode

HEIGHT_HEADER = "x-cosmos-block-height"
MAX_ANSWER_BYTES = 10 << 20
AVOID_FAILED_NODE_S = 10.0
TOLERATED_LAG_BLOCKS = 1
_OPTIONS = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 30_000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", "pocket-relay-miner"),
)
# Statuses of a node that cannot be used now; any other one is the node's own answer.
_NODE_IS_DOWN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
_AHEAD = re.compile(r"is ahead of the last committed block height (\d{1,18})")

Value = TypeVar("Value")
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """Where a node's gRPC listens: `host:port`, and whether without TLS."""

    address: str
    insecure: bool = False

    @classmethod
    def of(cls, node: NodeAddresses) -> GrpcTarget:
        return cls(node.grpc_target, node.grpc_insecure)


@dataclass(frozen=True, slots=True)
class Observed(Generic[Value]):
    """An answer with the committed height of the node's state it was read from (0: the node did not say)."""

    value: Value
    height: Height
    node: str  # address of the node that answered


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Response]):
    """One unary method: its path and the type of its answer."""

    path: str
    response_type: type[Response]


def rpc(file: FileDescriptor, service: str, method: str) -> Rpc[Any]:
    """Return the method `service`.`method` declared in `file`, a generated module's DESCRIPTOR."""
    descriptor = file.services_by_name[service].methods_by_name[method]
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    return Rpc(path, GetMessageClass(descriptor.output_type))


class NodeChannels:
    """Calls to the first node that works. Safe to share between threads and greenlets, and across a fork.

    `targets` in order of preference. A node that cannot be reached, lets a deadline pass or answers from a state
    well behind the chain is avoided for ten seconds; one that has not committed the height asked for is passed
    over. Any other answer stands, and so does the newest when all nodes are behind.
    """

    def __init__(self, targets: Sequence[GrpcTarget], timeout_s: float = 5.0) -> None:
        if not targets:
            raise ValueError("at least one node is needed")
        self.targets = tuple(targets)
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._channels: dict[int, grpc.Channel] = {}
        self._process_id = 0
        self._avoided_until: dict[int, float] = {}
        self._chain_height = 0

    def expect(self, height: int) -> None:
        """Note that the chain has block `height`: what a node says that is well behind it is asked elsewhere."""
        self._chain_height = height

    def call(
        self, method: Rpc[Response], request: Message, timeout_s: float | None = None, *, passed_over: int = 0
    ) -> Observed[Response]:
        """Return the answer with the height it was read at.

        `timeout_s` bounds each node's attempt; the first `passed_over` nodes (round and round) are asked last.
        Raises EntityNotFound, NodeUnavailable.
        """
        failure: NodeUnavailable | None = None
        newest: Observed[Response] | EntityNotFound | NodeUnavailable | None = None
        for index in self._preference(passed_over):
            answer: Observed[Response] | EntityNotFound | NodeUnavailable
            try:
                answer = self._call_node(index, method, request, timeout_s or self.timeout_s)
            except AheadOfNode as error:
                failure = failure or error
                continue
            except (EntityNotFound, NodeUnavailable) as error:
                if isinstance(error, NodeUnavailable) and error.code in _NODE_IS_DOWN:
                    self._avoid(index)
                    failure = failure or error
                    continue
                answer = error
            if not self._is_behind(answer.height):
                return _given(answer)
            self._avoid(index)
            newest = answer if newest is None or answer.height > newest.height else newest
        if newest is not None:
            return _given(newest)
        assert failure is not None
        raise failure

    def _is_behind(self, height: int) -> bool:
        return bool(height) and height + TOLERATED_LAG_BLOCKS < self._chain_height

    def _avoid(self, index: int) -> None:
        self._avoided_until[index] = time.monotonic() + AVOID_FAILED_NODE_S

    def close(self) -> None:
        """Close this process's channels; the next call opens new ones."""
        with self._lock:
            channels, self._channels = self._channels, {}
            mine = self._process_id == os.getpid()
        if mine:
            for channel in channels.values():
                channel.close()

    def _preference(self, passed_over: int) -> list[int]:
        now, count = time.monotonic(), len(self.targets)
        return sorted(
            range(count),
            key=lambda index: (self._avoided_until.get(index, 0.0) > now, (index - passed_over) % count),
        )

    def _channel(self, index: int) -> grpc.Channel:
        with self._lock:
            if self._process_id != os.getpid():
                self._channels, self._process_id = {}, os.getpid()
            if index not in self._channels:
                target = self.targets[index]
                if target.insecure:
                    channel = grpc.insecure_channel(target.address, options=_OPTIONS)
                else:
                    channel = grpc.secure_channel(
                        target.address, grpc.ssl_channel_credentials(), options=_OPTIONS
                    )
                self._channels[index] = channel
            return self._channels[index]

    def _call_node(
        self, index: int, method: Rpc[Response], request: Message, timeout_s: float
    ) -> Observed[Response]:
        node = self.targets[index].address
        call = self._channel(index).unary_unary(method.path)
        try:
            data, answered = call.with_call(request.SerializeToString(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise _refusal(method, node, error) from None
        except ValueError:  # the channel was closed meanwhile
            raise NodeUnavailable(method=method.path, node=node, code="UNAVAILABLE", text="closed") from None
        height = _height(answered)
        try:
            return Observed(decode(method.response_type, data), height, node)
        except Undecodable as error:
            raise NodeAnswerUnreadable(
                method=method.path, node=node, code="UNREADABLE", text=str(error), height=height
            ) from None


def _given(answer: Observed[Response] | EntityNotFound | NodeUnavailable) -> Observed[Response]:
    if isinstance(answer, Observed):
        return answer
    raise answer


def _refusal(method: Rpc[Response], node: str, error: Any) -> EntityNotFound | NodeUnavailable:
    status: grpc.StatusCode = error.code()
    text = str(error.details() or "")[:2000]
    values: dict[str, Any] = {"method": method.path, "node": node, "text": text, "height": _height(error)}
    if status is grpc.StatusCode.NOT_FOUND:
        return EntityNotFound(**values)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return MethodUnimplemented(code=status.name, **values)
    if ahead := _AHEAD.search(text):
        return AheadOfNode(code=status.name, node_height=Height(int(ahead[1])), **values)
    return NodeUnavailable(code=status.name, **values)


def _height(call: Any) -> Height:
    for metadata in (call.initial_metadata(), call.trailing_metadata()):
        for key, value in metadata or ():
            if key == HEIGHT_HEADER and str(value).isdigit():
                return Height(int(value))
    return Height(0)
