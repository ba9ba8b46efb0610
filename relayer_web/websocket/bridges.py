"""All WebSocket connections of one worker: their opening, and the thread that looks after them (spec/relayer.md §1.7)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pocket_protocol.errors import PocketError
from relayer_web.admission import UnknownService
from relayer_web.backends.contract import NoBackend
from relayer_web.http_answer import error_answer
from relayer_web.inbound import Answer, Inbound
from relayer_web.refusals import InternalError, refusal_answer, row_of
from relayer_web.store_gate import StoreAway
from relayer_web.websocket import closing
from relayer_web.websocket.bridge import TRANSPORT, Bridge
from relayer_web.websocket.dialling import dial
from relayer_web.websocket.handshake import BAD_REQUEST, TooManyConnections, Upgrade, accept, asked_service
from relayer_web.websocket.peer import MAX_MESSAGE_BYTES, WRITE_S, Peer, Unfinished
from relayer_web.websocket.signed_handshake import HandshakeCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relayer_web.runtime import Runtime

LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one process."""

    connections: int = 10_000
    message_bytes: int = MAX_MESSAGE_BYTES


class Bridges:
    """Opens bridges and looks after them. `select(service)` gives the endpoint to dial, `dial_s(service)` its time."""

    def __init__(
        self,
        runtime: Runtime,
        select: Callable[[str], Any],
        dial_s: Callable[[str], float],
        limits: SocketLimits | None = None,
    ) -> None:
        self._runtime = runtime
        self._select = select
        self._dial_s = dial_s
        self._handshakes = HandshakeCheck(runtime)
        self._limits = limits or SocketLimits()
        self._unfinished = Unfinished(self._limits.message_bytes)
        self._connections = 0  # upgrade requests being served, refused ones for a moment
        self._open: set[Bridge] = set()
        self._stopping = threading.Event()
        self._is_draining = False

    def __len__(self) -> int:
        return len(self._open)

    def start(self) -> None:
        threading.Thread(target=self._run, name="websocket-bridges", daemon=True).start()

    def drain(self) -> None:
        """Open no more, and have those that are open end with 1001. May be called from a signal handler."""
        self._is_draining = True

    def stop(self) -> None:
        self._stopping.set()

    def serve(self, upgrade: Upgrade) -> Answer | None:
        """Serve an upgrade request to the end of its connection. Returns the answer to one that is refused."""
        self._connections += 1
        try:
            return self._serve(upgrade)
        finally:
            self._connections -= 1

    def _serve(self, upgrade: Upgrade) -> Answer | None:
        service_id = asked_service(upgrade)
        if not service_id:
            return self._refused("missing_service_id", "", error_answer(400, "missing service ID"))
        try:
            self._check(service_id)
            accepted = accept(upgrade, self._limits.message_bytes)
            if accepted is None:
                return self._refused("malformed_upgrade", service_id, BAD_REQUEST)
            self._handshakes.check(service_id, upgrade)
            backend = self._dial(service_id, upgrade.headers.get("pocket-supplier-address", ""))
        except UnknownService as error:
            return self._refused(error.reason, service_id, error_answer(404, "unknown service"))
        except PocketError as error:
            return self._refused(row_of(type(error)).reason, service_id, refusal_answer(error, service_id))
        except Exception as error:
            self._runtime.on_defect(error)
            return self._refused(
                InternalError.reason, service_id, refusal_answer(InternalError(), service_id)
            )
        self._bridge(service_id, upgrade, accepted, backend)
        return None

    def _refused(self, reason: str, service_id: str, answer: Answer) -> Answer:
        metrics = self._runtime.metrics
        metrics.count("websocket_refusals", metrics.service(service_id), reason)
        return answer

    def _check(self, service_id: str) -> None:
        """What can be told before any relay was seen."""
        runtime = self._runtime
        runtime.admission.check_service(service_id)
        if self._is_draining:
            raise StoreAway
        if self._connections > self._limits.connections:
            raise TooManyConnections
        runtime.store_gate.check()
        if not runtime.backends.is_ready(service_id, TRANSPORT):
            raise NoBackend(configured=runtime.backends.has_pool(service_id, TRANSPORT))

    def _dial(self, service_id: str, supplier: str) -> Peer:
        identity = {"Pocket-Supplier": supplier, "Pocket-Service": service_id}
        return dial(self._select(service_id), identity, self._dial_s(service_id), self._unfinished)

    def _bridge(self, service_id: str, upgrade: Upgrade, accepted: Any, backend: Peer) -> None:
        protocol, response = accepted
        try:
            protocol.send_response(response)
            upgrade.sock.settimeout(WRITE_S)
            upgrade.sock.sendall(b"".join(protocol.data_to_send()))
            upgrade.sock.settimeout(None)
            if upgrade.received:
                protocol.receive_data(upgrade.received)
            client = Peer(upgrade.sock, protocol, self._unfinished, protocol.events_received())
        except BaseException:
            backend.shut()
            backend.release()
            raise
        handshake = Inbound(b"", upgrade.headers, upgrade.peer, TRANSPORT)
        bridge = Bridge(service_id, handshake, client, backend, self._runtime)
        with self._counted(service_id, bridge):
            bridge.run()

    @contextmanager
    def _counted(self, service_id: str, bridge: Bridge) -> Iterator[None]:
        metrics = self._runtime.metrics
        metrics.count("websocket_connections", service_id)
        metrics.count("websocket_connections_active", service_id, by=1)
        self._open.add(bridge)
        try:
            yield
        finally:
            self._open.discard(bridge)
            metrics.count("websocket_connections_active", service_id, by=-1)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            seen = self._runtime.feed.last()
            height = seen.position.height if seen else 0
            now = time.monotonic()
            for bridge in list(self._open):
                try:
                    if self._is_draining:
                        bridge.leave(closing.STOPPING)
                    bridge.look(now, height)
                except Exception as error:
                    self._runtime.on_defect(error)
