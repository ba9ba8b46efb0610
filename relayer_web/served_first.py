"""Optimistic mode: the answer first, then verification, charge and mining (decisions D3; spec/relayer.md §2.1).

Only where it can do little harm: the request is well-formed and for a supplier of ours, a place in the queue is free,
and neither its application nor its peer had a relay dropped lately. Everything else is served as in eager mode, so the
refusals are the same. What the queue finds wrong is neither charged nor mined, and its sender is verified first for a
while. A stream is verified before its first byte.

`kill -9` loses what is in the queue: answered relays that no count shows. SIGTERM works it off.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog

from pocket_protocol import relay as relay_protocol
from pocket_protocol.errors import Malformed, PocketError
from relay_store.meter import StakeExhausted
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendResponse
from relayer_web.inbound import Answer, Inbound
from relayer_web.pipeline import ask_backend, count_served, reserved, settle, streamed_answer, verify
from relayer_web.position import ChainPosition
from relayer_web.refusals import row_of
from relayer_web.relay_log import log_refused
from relayer_web.responses import SignedResponse, http_payload, relay_answer
from relayer_web.settlement_queue import SettlementQueue
from relayer_web.throttle import TooManyFailures
from relayer_web.verification import ValidationFailed

if TYPE_CHECKING:
    from relayer_web.runtime import Runtime

OPTIMISTIC: Final = "optimistic"
DISTRUSTED_LIMIT: Final = 10_000

log = structlog.get_logger("relayer")


@dataclass(slots=True)
class Owed:
    """A relay that was answered. Payload and answer are let go: mining needs their hash alone."""

    relay: Relay
    response: SignedResponse
    position: ChainPosition
    runtime: Runtime
    verified: bool = False


class Distrust:
    """Who is verified first for now: applications and peers, each for `for_s` after a relay of theirs was dropped."""

    def __init__(self, for_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def covers(self, relay: Relay) -> bool:
        if not self._until:
            return False
        now = self._monotonic()
        return any(self._until.get(name, 0.0) > now for name in _names(relay))

    def note(self, relay: Relay) -> None:
        with self._lock:
            for name in _names(relay):
                self._until[name] = self._monotonic() + self._for_s
                self._until.move_to_end(name)
            while len(self._until) > DISTRUSTED_LIMIT:
                self._until.popitem(last=False)


def _names(relay: Relay) -> tuple[tuple[str, str], ...]:
    application = ("application", relay.header.application_address)
    return (application, ("peer", relay.peer)) if relay.peer else (application,)


class ServedFirst:
    """Serves relays of the services for which `is_optimistic(service_id)`."""

    def __init__(
        self,
        is_optimistic: Callable[[str], bool],
        holds_key: Callable[[str], bool],
        queue: SettlementQueue[Owed],
        distrust: Distrust,
    ) -> None:
        self._is_optimistic = is_optimistic
        self._holds_key = holds_key
        self._queue = queue
        self._distrust = distrust

    def serve(
        self, relay: Relay, inbound: Inbound, position: ChainPosition, runtime: Runtime
    ) -> Answer | None:
        """Answer an admitted relay; None when it has to be verified first. Raises what the eager path raises."""
        if not self._is_optimistic(relay.service_id):
            return None
        hindrance = self._hindrance(relay)
        if hindrance:
            runtime.metrics.count("optimistic_fallbacks", relay.service_id, hindrance)
            return None
        try:
            asked = perf_counter()
            backend = ask_backend(relay, inbound, runtime, may_stream=True)
            answered = perf_counter()
            if backend.stream is not None:
                answer = _verified_stream(relay, backend, position, runtime)
                self._queue.give_back(relay.size)  # nothing is owed
                return answer
            response = runtime.signer.sign(relay, http_payload(backend, runtime.max_response_bytes))
            answer = relay_answer(response, inbound, backend.retries, runtime.compression)
        except BaseException:
            self._queue.give_back(relay.size)
            raise
        count_served(relay, (backend.status, len(answer.body)), (asked, asked, answered), runtime)
        response.message.ClearField("payload")
        relay.inner = None
        self._queue.put(Owed(relay, SignedResponse(response.message, b""), position, runtime), relay.size)
        return answer

    def _hindrance(self, relay: Relay) -> str:
        """Why this relay is verified first; "" takes a place in the queue."""
        try:
            relay_protocol.validate_request(relay.request)
        except Malformed:
            return "not_valid"
        if not self._holds_key(relay.supplier):
            return "supplier_not_ours"
        if self._distrust.covers(relay):
            return "distrusted"
        return "" if self._queue.take_place(relay.size) else "queue_full"


def _verified_stream(
    relay: Relay, backend: BackendResponse, position: ChainPosition, runtime: Runtime
) -> Answer:
    """Verify and charge a relay whose backend has begun to stream, before anything of it is sent."""
    assert backend.stream is not None
    try:
        with ExitStack() as held:
            verify(relay, position, runtime)
            charge = held.enter_context(reserved(relay, position, runtime))
            return streamed_answer(relay, backend, (position, charge, held.pop_all()), runtime)
    except BaseException:
        backend.stream.close()
        raise


def settle_owed(owed: Owed) -> None:
    """Verify, charge and mine one relay, by the height it came in at. Raises what the eager path raises."""
    relay, runtime, height = owed.relay, owed.runtime, owed.position.height
    metrics, started = runtime.metrics, perf_counter()
    if not owed.verified:
        runtime.verifier.verify(relay, height)
        owed.verified = True
        took_s = perf_counter() - started
        metrics.observe("validation_latency_seconds", took_s, relay.service_id, OPTIMISTIC)
    started = perf_counter()
    with runtime.metering.charged(relay, height) as charge:
        took_s = perf_counter() - started
        metrics.observe("relay_meter_latency_seconds", took_s, relay.service_id, OPTIMISTIC)
        settle(relay, owed.response, owed.position, charge, runtime)
    metrics.count("relay_meter_consumptions", relay.service_id, "within_limit")


def drop_owed(owed: Owed, error: Exception | None, distrust: Distrust) -> None:
    """Count a relay that was answered in vain, and verify its sender first for a while if it was to blame."""
    relay, runtime = owed.relay, owed.runtime
    metrics = runtime.metrics
    reason = "shutdown"
    if isinstance(error, PocketError):
        reason = row_of(type(error)).reason
    elif error is not None:
        runtime.on_defect(error)
        reason = "internal_error"
    if isinstance(error, PocketError):
        log_refused(error, relay, reason)
    application = relay.header.application_address if owed.verified else "unknown"
    metrics.count("relays_dropped", relay.service_id, application, reason)
    if isinstance(error, ValidationFailed):
        metrics.count("validation_failures", relay.service_id, error.cause_reason)
    if isinstance(error, StakeExhausted):
        metrics.count("relay_meter_consumptions", relay.service_id, "over_limit")
    if isinstance(error, ValidationFailed | TooManyFailures | StakeExhausted):
        distrust.note(relay)
    else:
        log.error("an answered relay is lost", reason=reason, service_id=relay.service_id)
