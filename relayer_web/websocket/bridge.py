"""Two connections and the relays between them (spec/relayer.md §1.7.2-1.7.6).

    client ─ message ▸ parse ▸ service ▸ check ▸ reserve ─▸ backend        (the connection's own thread)
    client ◂─ append, acknowledged ◂ sign ◂ message ─ backend              (one more)

Each direction reads its side only when what it read before is written, so a slow peer fills no memory here. Every
message of the backend is a signed answer and a mined relay; without an open request it is a push and pays for
itself. What a backend says before the first relay waits for that relay: without one nothing can be signed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from websockets.frames import Opcode

from pocket_protocol.envelope import HttpResponse, encode_http_response
from pocket_protocol.errors import PocketError
from relayer_web.admission import OtherService, Relay
from relayer_web.inbound import Inbound
from relayer_web.pipeline import check, conclude, refuse, reserved
from relayer_web.simulated_http import simulation_result
from relayer_web.sweeper import NEVER
from relayer_web.websocket import closing
from relayer_web.websocket.closing import Ending
from relayer_web.websocket.peer import SMALL_BYTES, Message, Peer
from relayer_web.websocket.turns import Turn, Turns

if TYPE_CHECKING:
    from relayer_web.runtime import Runtime

TRANSPORT: Final = "websocket"
PING_EVERY_S: Final = 27.0
LINGER_S: Final = 1.0  # for both sides to answer a close frame
LAST_ANSWERS_S: Final = 2.0  # a bridge that has to end waits so long for answers on their way
EXPIRED_CODE: Final = 410
EXPIRED_TEXT: Final = "session expired"
EXPIRED_PAYLOAD: Final = encode_http_response(
    HttpResponse(
        EXPIRED_CODE, (("Content-Type", ("application/json",)),), b'{"error":"%b"}' % EXPIRED_TEXT.encode()
    )
)


class Bridge:
    """Serves one client for `service_id` until either side or `look` ends it. `handshake` has no body."""

    def __init__(
        self, service_id: str, handshake: Inbound, client: Peer, backend: Peer, runtime: Runtime
    ) -> None:
        self._service_id = service_id
        self._handshake = handshake
        self._client = client
        self._backend = backend
        self._runtime = runtime
        self._simulation_key = runtime.simulation.key_id(handshake.headers)
        self._unfinished = client.unfinished
        self._turns = Turns()
        self._latest: Relay | None = None
        self._latest_bytes = 0  # of it, as far as they count among the unfinished
        self._session_end = 0
        self._first_relay = threading.Event()
        self._serving: set[Peer] = set()  # sides with a message in the works
        self._lock = threading.Lock()
        self._ended_at = NEVER
        self._leaving: tuple[Ending, float] | None = None
        self._is_going = False
        self._next_ping = time.monotonic() + PING_EVERY_S

    @property
    def _has_ended(self) -> bool:
        return self._ended_at != NEVER

    def run(self) -> None:
        """Serve; returns when both connections are done. Frees the backend's, the client's is the caller's."""
        forward = self._runtime.begins("websocket_request", self._forward)
        answer = self._runtime.begins("websocket_answer", self._answer)
        answers = threading.Thread(target=self._serve_side, args=(self._backend, answer), daemon=True)
        answers.start()
        try:
            self._serve_side(self._client, forward)
            answers.join()
        finally:
            self.end(closing.DEFECT)
            self._backend.shut()
            self._turns.give_up()
            self._hold_latest(0)
            self._client.release()
            self._backend.release()

    def leave(self, ending: Ending) -> None:
        """End when the answers on their way have come, or after a moment."""
        if self._leaving is None:
            self._leaving = ending, time.monotonic() + LAST_ANSWERS_S

    def look(self, now: float, height: int) -> None:
        """Called several times a second: pings, time-outs, the session's end. Does not wait."""
        if self._has_ended:
            if now > self._ended_at + LINGER_S:
                self._client.shut()
                self._backend.shut()
            return
        if self._session_end and height > self._session_end:
            self.leave(closing.SESSION_OVER)
        for peer, silent, stuck in (
            (self._client, closing.CLIENT_SILENT, closing.CLIENT_STUCK),
            (self._backend, closing.BACKEND_SILENT, closing.BACKEND_STUCK),
        ):
            if peer.is_stuck(now):
                self._apart(partial(self._cut, peer, stuck))
                return
            if peer.is_silent(now):
                self._apart(partial(self.end, silent))
                return
        if self._leaving is not None and not self._is_going:
            if now > self._leaving[1] or not (self._turns or self._serving):
                self._is_going = True
                self._apart(self._go)
        elif now > self._next_ping:
            self._next_ping = now + PING_EVERY_S
            self._apart(self._ping)

    def end(self, ending: Ending) -> None:
        """Say goodbye to both sides and take no more messages. The first ending is the one that is said."""
        with self._lock:
            if self._has_ended:
                return
            self._ended_at = time.monotonic()
        self._first_relay.set()
        self._turns.give_up()
        self._client.close(*ending.client)
        self._backend.close(*ending.backend)

    def _serve_side(self, side: Peer, serve: Callable[[Message], None]) -> None:
        """Serve a side's messages to its end; after the bridge's end they are passed over."""
        try:
            for message in side.messages():
                if self._has_ended:
                    break
                self._serving.add(side)
                serve(message)
                self._serving.discard(side)
                del message  # a large one is not kept while we wait for the next
            self.end(self._after(side))
            side.drain()
        except PocketError as error:
            self.end(closing.ending_of(error))
            side.shut()
        except Exception as error:
            self._runtime.on_defect(error)
            self.end(closing.DEFECT)
            side.shut()

    def _after(self, side: Peer) -> Ending:
        """How the bridge ends when this side is done."""
        return closing.after_client(side) if side is self._client else closing.after_backend(side)

    def _send(self, side: Peer, opcode: Opcode, data: bytes) -> bool:
        """Send a message; False, and the end, when it cannot be sent."""
        try:
            side.send(opcode, data)
        except OSError:
            stuck = closing.CLIENT_STUCK if side is self._client else closing.BACKEND_STUCK
            self.end(self._after(side) if side.has_closed else stuck)
            return False
        return True

    def _forward(self, message: Message) -> None:
        """Take one relay of the client and send its payload on."""
        opcode, body = message
        runtime = self._runtime
        relay: Relay | None = None
        held = ExitStack()
        try:
            inbound = Inbound(body, self._handshake.headers, self._handshake.peer, TRANSPORT)
            relay = runtime.admission.identify(inbound)
            if relay.service_id != self._service_id:
                raise OtherService(service_id=relay.service_id)
            held.enter_context(self._unfinished.holding(len(body)))
            self._hold_latest(len(body))
            turn = (self._simulated_turn if self._simulation_key else self._turn)(relay, held)
        except Exception as error:
            held.close()
            if not isinstance(error, PocketError):
                raise
            self._refuse(error, relay)
            return
        self._latest = relay
        self._turns.add(turn)
        self._first_relay.set()
        if not self._simulation_key and not self._session_end:
            self._session_end = relay.header.session_end_block_height
        if self._send(self._backend, opcode, relay.request.payload):
            self._count_forwarded("gateway_to_backend")

    def _hold_latest(self, size: int) -> None:
        """Count the latest relay, which stays for later pushes, in place of the one before. Raises `TooMuchUnfinished`."""
        size = size if size > SMALL_BYTES else 0
        self._unfinished.change(size - self._latest_bytes)
        self._latest_bytes = size

    def _turn(self, relay: Relay, held: ExitStack) -> Turn:
        """Check a relay and reserve its cost."""
        runtime = self._runtime
        position = check(relay, runtime)
        charge = held.enter_context(reserved(relay, position, runtime))
        runtime.metrics.count("relays_received", relay.service_id, TRANSPORT)
        return Turn(relay, position, charge, held)

    def _simulated_turn(self, relay: Relay, held: ExitStack) -> Turn:
        held.enter_context(self._runtime.simulation.admitted(relay, self._simulation_key))
        return Turn(relay, None, None, held)

    def _pushed_turn(self, relay: Relay) -> Turn:
        """What a message costs that no open request asked for."""
        runtime = self._runtime
        if self._simulation_key:
            return Turn(relay, None, None, ExitStack())
        runtime.store_gate.check()
        position = runtime.position.current()
        held = ExitStack()
        charge = held.enter_context(reserved(relay, position, runtime))
        return Turn(relay, position, charge, held)

    def _answer(self, message: Message) -> None:
        """Sign one message of the backend, see its relay mined, and send it to the client."""
        opcode, payload = message
        self._first_relay.wait()
        if self._has_ended or not payload:  # nothing in it that could be signed
            return
        relay = self._latest
        assert relay is not None
        try:
            with self._unfinished.holding(len(payload)):
                turn = self._turns.take() or self._pushed_turn(relay)
                relay = turn.relay
                with turn.held:
                    encoded = self._concluded(turn, payload)
                self._hand_over(relay, opcode, encoded)
        except PocketError as error:
            self._refuse(error, relay)

    def _hand_over(self, relay: Relay, opcode: Opcode, encoded: bytes) -> None:
        """Send an answer to the client."""
        if self._send(self._client, opcode, encoded):
            self._count_forwarded("backend_to_gateway")
        elif not self._simulation_key:
            self._runtime.metrics.count("relays_unanswered", relay.service_id)

    def _concluded(self, turn: Turn, payload: bytes) -> bytes:
        runtime, relay = self._runtime, turn.relay
        if turn.position is None or turn.charge is None:
            encoded = runtime.signer.sign(relay, payload).encoded
            runtime.simulation.count(TRANSPORT, relay, "success")
            return encoded
        response = conclude(relay, payload, turn.position, turn.charge, runtime)
        runtime.metrics.count("websocket_relays_emitted", relay.service_id)
        return response.encoded

    def _refuse(self, error: PocketError, relay: Relay | None) -> None:
        """Count what cannot be served, and end: a gateway has to see which of its relays that was."""
        if self._simulation_key and relay is not None:
            self._runtime.simulation.count(TRANSPORT, relay, simulation_result(error))
        else:
            refuse(error, relay, self._runtime)
        self.end(closing.ending_of(error, simulated=bool(self._simulation_key)))

    def _go(self) -> None:
        """The time to leave has come."""
        assert self._leaving is not None
        ending, _ = self._leaving
        try:
            if ending is closing.SESSION_OVER and self._latest is not None:
                advisory = self._runtime.signer.sign_error(
                    self._latest, EXPIRED_PAYLOAD, EXPIRED_CODE, EXPIRED_TEXT
                )
                self._send(self._client, Opcode.BINARY, advisory.encoded)
        except PocketError as error:
            refuse(error, self._latest, self._runtime)
        self.end(ending)

    def _cut(self, peer: Peer, ending: Ending) -> None:
        """End, and do not wait for a side that will not read it."""
        self.end(ending)
        peer.shut()

    def _ping(self) -> None:
        for peer, ending in ((self._client, closing.CLIENT_SILENT), (self._backend, closing.BACKEND_SILENT)):
            try:
                peer.ping()
            except OSError:
                self.end(ending)

    def _count_forwarded(self, direction: str) -> None:
        self._runtime.metrics.count("websocket_messages_forwarded", self._service_id, direction)

    def _apart(self, work: Callable[[], None]) -> None:
        """Do what may have to wait for a peer in a thread of its own."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self._runtime.on_defect(error)
                self.end(closing.DEFECT)

        threading.Thread(target=guarded, name="websocket-bridge", daemon=True).start()
