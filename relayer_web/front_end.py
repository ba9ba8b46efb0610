"""What a worker process serves: the relay function, and the truth about whether it can be served.

Which front end a process has is named by `POCKET_RELAYER_FRONT_END` as `module:function`; the function takes the
loaded configuration and returns a `FrontEnd`. The default wires the relay pipeline. Tests name one of their own.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Protocol

from relayer_web.backends.contract import EndpointReport
from relayer_web.config import RelayerConfig
from relayer_web.current_config import current_config
from relayer_web.grpc_relay import serve_grpc_relay
from relayer_web.grpc_web import is_grpc_web, is_preflight, preflight_answer, serve_grpc_web
from relayer_web.inbound import Answer, Inbound
from relayer_web.open_files import connections_allowed
from relayer_web.pipeline import serve_relay
from relayer_web.position import HeightUnknown
from relayer_web.unanswered import count_unanswered
from relayer_web.websocket.bridge import TRANSPORT
from relayer_web.websocket.bridges import Bridges, SocketLimits
from relayer_web.websocket.handshake import Upgrade
from relayer_web.wired import Wired, wired

FRONT_END_VARIABLE = "POCKET_RELAYER_FRONT_END"
DEFAULT_FRONT_END = "relayer_web.front_end:relaying_front_end"


class FrontEnd(Protocol):
    """Everything the server shell needs from what it serves."""

    @property
    def config(self) -> RelayerConfig:
        """The configuration as it is now."""

    def start(self) -> None:
        """Begin; called in the worker process, once, before the first connection."""

    def drain(self) -> None:
        """The process will end: not ready from now on. Called from a signal handler."""

    def stop(self) -> None:
        """End; called when the last connection is done."""

    def serve(self, inbound: Inbound) -> Answer:
        """Serve one relay. Never raises."""

    def serve_websocket(self, upgrade: Upgrade) -> Answer | None:
        """Serve an upgrade request to the end of its connection; or return the answer that refuses it."""

    def unanswered(self, inbound: Inbound, answer: Answer) -> None:
        """The client was gone before it had the whole answer."""

    def block_height(self) -> int:
        """The last known height, 0 before the first. No I/O."""

    def why_not_ready(self) -> Sequence[str]:
        """Reasons why no relay would be served now; empty when ready. Cheap."""

    def endpoints(self, service_id: str) -> Sequence[EndpointReport]:
        """The endpoints of a service with their health. No I/O."""

    def in_flight(self, service_id: str) -> int:
        """Requests out at the service's backends, of this process."""


class RelayingFrontEnd:
    """The relay pipeline behind the server."""

    def __init__(self, relaying: Wired) -> None:
        self._relaying = relaying
        self._runtime = relaying.runtime
        extensions = relaying.config.extensions
        self._bridges = Bridges(
            relaying.runtime,
            lambda service_id: relaying.backends.select(service_id, TRANSPORT),
            lambda service_id: self.config.timeouts(service_id).dial_timeout_seconds,
            SocketLimits(
                extensions.websockets_of(connections_allowed(extensions.worker_connections)),
                extensions.max_websocket_frame_bytes,
            ),
        )
        self._relay = self._runtime.begins("relay", self._served)
        self._draining = False

    @property
    def config(self) -> RelayerConfig:
        return self._relaying.config

    def start(self) -> None:
        self._relaying.start()
        self._bridges.start()

    def drain(self) -> None:
        self._draining = True
        self._runtime.drain()
        self._bridges.drain()

    def stop(self) -> None:
        self._bridges.stop()
        self._relaying.stop()

    def serve(self, inbound: Inbound) -> Answer:
        with self._counted():
            answer: Answer = self._relay(inbound)
            return answer

    def _served(self, inbound: Inbound) -> Answer:
        if is_grpc_web(inbound):
            metrics = self._runtime.metrics
            metrics.count("grpc_web_requests", metrics.service(inbound.headers.get("pocket-service-id", "")))
            return serve_grpc_web(inbound, lambda call: serve_grpc_relay(call, self._runtime))
        if is_preflight(inbound):
            return preflight_answer(inbound)
        return serve_relay(inbound, self._runtime)

    def serve_websocket(self, upgrade: Upgrade) -> Answer | None:
        with self._counted():
            return self._bridges.serve(upgrade)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        metrics = self._runtime.metrics
        metrics.count("inbound_requests_by_proto", "http1")
        metrics.count("active_connections", by=1)
        try:
            yield
        finally:
            metrics.count("active_connections", by=-1)

    def unanswered(self, inbound: Inbound, answer: Answer) -> None:
        if answer.status == 200:
            count_unanswered(inbound, self._runtime)

    def block_height(self) -> int:
        seen = self._runtime.feed.last()
        return seen.position.height if seen else 0

    def why_not_ready(self) -> Sequence[str]:
        runtime = self._runtime
        reasons = ["shutting down"] if self._draining else []
        if not runtime.store_gate.is_open:
            reasons.append("store unavailable")
        try:
            runtime.position.current()
        except HeightUnknown:
            reasons.append("block height unknown")
        if not self._relaying.outside.signing_keys():
            reasons.append("no signing keys")
        return reasons

    def endpoints(self, service_id: str) -> Sequence[EndpointReport]:
        return self._relaying.backends.report(service_id)

    def in_flight(self, service_id: str) -> int:
        return self._relaying.backends.in_flight(service_id)


def relaying_front_end(config: RelayerConfig) -> FrontEnd:
    """Wire the relay pipeline of this process. Raises what `build_runtime` raises."""
    return RelayingFrontEnd(wired(config))


@cache
def current_front_end() -> FrontEnd:
    """Return this process's front end, built at the first call."""
    module_name, _, function_name = os.environ.get(FRONT_END_VARIABLE, DEFAULT_FRONT_END).partition(":")
    make: Callable[[RelayerConfig], FrontEnd] = getattr(importlib.import_module(module_name), function_name)
    return make(current_config())
