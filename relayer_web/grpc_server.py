"""The process that serves relays over gRPC (design.md §3.7; spec/relayer.md §1.8).

    python -m relayer_web.grpc_server SOCKET        a child of gunicorn's master (grpc_processes)

Native threads and no gevent: gRPC's own loop does the network. Clients come in through the relay port, whose workers
splice HTTP/2 connections to SOCKET, or directly where `grpc_listen_addr` is set. `SendRelay` takes one request message
and gives one response message, as a unary or as a streaming call; every other method is unknown.

SIGTERM or the end of standard input: no new calls, those on their way are finished.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc
import structlog

from operations import logs
from operations.config_file import ConfigInvalid
from pocket_protocol.errors import PocketError
from relayer_web.admission import UnreadBody
from relayer_web.config import RelayerConfig
from relayer_web.current_config import current_config
from relayer_web.grpc_refusals import UNIMPLEMENTED, grpc_refusal
from relayer_web.grpc_relay import SEND_RELAY, GrpcAnswer, relay_metadata, serve_grpc_relay
from relayer_web.grpc_sockets import peer_address
from relayer_web.heap import keep_what_is_loaded
from relayer_web.inbound import Inbound
from relayer_web.refusals import INVALID_ARGUMENT
from relayer_web.runtime import Runtime
from relayer_web.unanswered import count_unanswered
from relayer_web.wired import wired

GRACEFUL_S: Final = 30.0
ORPHANED_S: Final = 1.0
IDLE_MS: Final = 120_000
STREAMS_PER_CONNECTION: Final = 250
CALLS_PER_THREAD: Final = 4
CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

log = structlog.get_logger("relayer")

Serve = Callable[[Inbound], GrpcAnswer]


class RequestClock:
    """Ends calls whose request message does not come: each holds a thread meanwhile."""

    def __init__(self, limit_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._monotonic = monotonic
        self._waiting: dict[grpc.ServicerContext, float] = {}

    @contextlib.contextmanager
    def waiting(self, context: grpc.ServicerContext) -> Iterator[None]:
        """The call has its time for what is read in this block."""
        self._waiting[context] = self._monotonic() + self._limit_s
        try:
            yield
        finally:
            del self._waiting[context]

    def sweep(self) -> None:
        """End the calls whose time is over."""
        now = self._monotonic()
        for context, deadline in list(self._waiting.items()):
            if deadline < now:
                context.cancel()


class RelayService(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every method there is; `on_unanswered` hears of relays served to clients that had left."""

    def __init__(
        self,
        serve: Serve,
        clock: RequestClock,
        on_unanswered: Callable[[Inbound], None] = lambda inbound: None,
    ) -> None:
        self._serve = serve
        self._clock = clock
        self._on_unanswered = on_unanswered
        self._relay = grpc.stream_stream_rpc_method_handler(self._send_relay)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method == SEND_RELAY:
            return self._relay
        text = f"unknown method: {details.method}"
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: context.abort(CODES[UNIMPLEMENTED], text)
        )

    def _send_relay(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            with self._clock.waiting(context):
                body = next(requests, None)
        except grpc.RpcError:  # the client left, or its time was over
            return
        if body is None:
            context.abort(CODES[INVALID_ARGUMENT], grpc_refusal(UnreadBody("EOF"), None, b"")[1])
        metadata = relay_metadata(context.invocation_metadata() or ())
        inbound = Inbound(body, metadata, peer_address(context.peer()), is_grpc=True)
        answer = self._serve(inbound)
        if answer.code:
            context.abort(CODES[answer.code], answer.text)
        if not context.is_active():
            self._on_unanswered(inbound)
        yield answer.message


class RelayServer:
    """The service on its addresses: `unix:PATH` or `host:port`."""

    def __init__(self, service: RelayService, addresses: Sequence[str], config: RelayerConfig) -> None:
        """Listen at once. Raises RuntimeError for an address that is taken."""
        extensions = config.extensions
        self._server = grpc.server(
            ThreadPoolExecutor(extensions.grpc_threads, thread_name_prefix="relay"),
            handlers=[service],
            maximum_concurrent_rpcs=CALLS_PER_THREAD * extensions.grpc_threads,
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", config.largest_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
                ("grpc.max_metadata_size", extensions.max_header_bytes),
                ("grpc.max_connection_idle_ms", IDLE_MS),
                ("grpc.server_handshake_timeout_ms", 1000 * extensions.client_timeout_seconds),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        for address in addresses:
            self._server.add_insecure_port(address)

    def start(self) -> None:
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Finish the calls on their way, for `grace_s` at most."""
        self._server.stop(grace_s).wait(grace_s + 1)


def main(arguments: Sequence[str]) -> None:
    """Serve until told to stop."""
    try:
        config = current_config()
        logs.configure(config.logging, "relayer")
        logging.getLogger("grpc._cython.cygrpc").disabled = True  # it quotes header fields that are no text
        relaying = wired(config)
    except (ConfigInvalid, PocketError) as error:
        sys.exit(f"gRPC process: {error}")
    stopping, grace_s = threading.Event(), [GRACEFUL_S]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    clock = RequestClock(config.extensions.client_timeout_seconds)
    runtime = relaying.runtime
    service = RelayService(
        runtime.begins("relay", lambda inbound: _counted(inbound, runtime)),
        clock,
        lambda inbound: count_unanswered(inbound, runtime),
    )
    addresses = [*(f"unix:{path}" for path in arguments), *filter(None, [config.extensions.grpc_listen_addr])]
    relaying.start()
    try:
        server = RelayServer(service, addresses, config)
    except RuntimeError as error:
        sys.exit(f"gRPC process: {error}")
    keep_what_is_loaded()
    server.start()
    threading.Thread(target=_watch_parent, args=(stopping, grace_s), daemon=True).start()
    while not stopping.wait(1.0):
        clock.sweep()
    runtime.drain()
    server.stop(grace_s[0])
    relaying.stop()
    for path in map(Path, arguments):
        _remove(path)


def _remove(socket_path: Path) -> None:
    """Leave nothing behind, also when the master could not clean up; the last one takes the directory along."""
    with contextlib.suppress(OSError):
        socket_path.unlink(missing_ok=True)
        socket_path.parent.rmdir()


def _counted(inbound: Inbound, runtime: Runtime) -> GrpcAnswer:
    metrics = runtime.metrics
    metrics.count("inbound_requests_by_proto", "h2c")
    metrics.count("active_connections", by=1)
    try:
        return serve_grpc_relay(inbound, runtime)
    finally:
        metrics.count("active_connections", by=-1)


def _watch_parent(stopping: threading.Event, grace_s: list[float]) -> None:
    """Standard input ends with the last of those who serve the port: then no client is left."""
    while os.read(0, 1024):
        pass
    grace_s[0] = ORPHANED_S
    stopping.set()


if __name__ == "__main__":
    main(sys.argv[1:])
