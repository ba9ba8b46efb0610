"""The gRPC side of the test backend: `demo.DemoService` (spec/relayer.md §9), and methods that misbehave.

    GetBlockHeight(Empty) -> {uint64 height = 1}                     always 1
    GetBlock({uint64 number = 1}) -> {number, hash, timestamp, transactions}
    StreamBlocks({uint64 start_height = 1}) -> a block every 2 s; with `x-demo-blocks: n` n blocks at once
    HealthCheck(Empty) -> {bool healthy = 1, string status = 2}

    test.TestService/Echo     each message back, request metadata `x-*` back as initial and trailing metadata
    test.TestService/Status   ends with the status and text of metadata `x-status`, `x-text`, after echoing
    test.TestService/Slow     waits `x-delay-ms` first

The messages are few and flat, so they are written field by field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Final

import grpc

from localnet.backend.behaviour import Counters
from localnet.http_server import AddressTaken
from pocket_protocol.canonical import varint
from pocket_protocol.errors import Malformed

BLOCK_EVERY_S: Final = 2.0
MAX_MESSAGE_BYTES: Final = 100_000_000
_THREADS: Final = 32
_VARINT, _BYTES = 0, 2

Answer = Callable[[bytes, grpc.ServicerContext, dict[str, str]], Iterator[bytes]]


class BrokenMessage(Malformed):
    """A request that is not the method's message."""

    reason = "demo_message_broken"
    summary = "failed to unmarshal the received message"


def _number(field: int, value: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(value) if value else b""


def _text(field: int, value: str) -> bytes:
    encoded = value.encode()
    return varint(field << 3 | _BYTES) + varint(len(encoded)) + encoded


def first_number(message: bytes) -> int:
    """Return field 1 of a message that has only this one, a uint64; 0 when it is absent. Raises `BrokenMessage`."""
    if not message:
        return 0
    if message[0] != 1 << 3 | _VARINT or message[-1] & 0x80 or any(not byte & 0x80 for byte in message[1:-1]):
        raise BrokenMessage
    value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(message[1:]))
    if len(message) < 2 or value >= 1 << 64:
        raise BrokenMessage
    return value


def block(number: int, unix_s: int) -> bytes:
    """Return the message of one block."""
    fields = (_number(1, number), _text(2, f"hash-{number}"), _number(3, unix_s), _text(4, f"tx-{number}"))
    return b"".join(fields)


def _height(message: bytes, context: grpc.ServicerContext, metadata: dict[str, str]) -> Iterator[bytes]:
    yield _number(1, 1)


def _block(message: bytes, context: grpc.ServicerContext, metadata: dict[str, str]) -> Iterator[bytes]:
    yield block(first_number(message), int(time.time()))


def _blocks(message: bytes, context: grpc.ServicerContext, metadata: dict[str, str]) -> Iterator[bytes]:
    height = first_number(message)
    at_once = int(metadata.get("x-demo-blocks", 0))
    while context.is_active():
        yield block(height, int(time.time()))
        height += 1
        at_once -= 1
        if at_once == 0:
            return
        if at_once < 0:
            time.sleep(BLOCK_EVERY_S)


def _health(message: bytes, context: grpc.ServicerContext, metadata: dict[str, str]) -> Iterator[bytes]:
    yield _number(1, 1) + _text(2, "ok")


def _echo(message: bytes, context: grpc.ServicerContext, metadata: dict[str, str]) -> Iterator[bytes]:
    yield message


def _slow(message: bytes, context: grpc.ServicerContext, metadata: dict[str, str]) -> Iterator[bytes]:
    time.sleep(float(metadata.get("x-delay-ms", 0)) / 1000)
    yield message


_METHODS: Final[dict[str, Answer]] = {
    "/demo.DemoService/GetBlockHeight": _height,
    "/demo.DemoService/GetBlock": _block,
    "/demo.DemoService/StreamBlocks": _blocks,
    "/demo.DemoService/HealthCheck": _health,
    "/test.TestService/Echo": _echo,
    "/test.TestService/Status": _echo,
    "/test.TestService/Slow": _slow,
}
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        answer = _METHODS.get(details.method)
        if answer is None:
            return None  # UNIMPLEMENTED

        def respond(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from self._respond(details.method, answer, requests, context)

        return grpc.stream_stream_rpc_method_handler(respond)

    def _respond(
        self, method: str, answer: Answer, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        started = time.perf_counter()
        pairs: list[tuple[str, Any]] = list(context.invocation_metadata() or ())
        self._counters.remember_call(method, pairs)
        passed = [pair for pair in pairs if pair[0].startswith("x-")]
        if passed:
            context.send_initial_metadata(passed)
        metadata = {name: value for name, value in passed if isinstance(value, str)}
        try:
            for message in requests:
                yield from answer(message, context, metadata)
        except BrokenMessage as error:
            context.abort(grpc.StatusCode.INTERNAL, f"grpc: {error}")
        finally:
            self._counters.count("grpc", method, time.perf_counter() - started)
        context.set_trailing_metadata([(f"t-{name}", value) for name, value in passed])
        if "x-status" in metadata:
            context.abort(_BY_NUMBER[int(metadata["x-status"])], metadata.get("x-text", ""))


class DemoServer:
    """Serves the methods on `address`; `address` of the made server is where it really listens."""

    def __init__(
        self, address: str, counters: Counters, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        """Listen at once. Raises `AddressTaken`."""
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
        ]
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="demo"), options=options
        )
        self._server.add_generic_rpc_handlers((_Methods(counters),))
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise AddressTaken(f"cannot listen on {address}: address already in use") from error
        self.address = f"{address.rpartition(':')[0] or '127.0.0.1'}:{port}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=0.5).wait(2)
