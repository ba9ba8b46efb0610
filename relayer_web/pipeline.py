"""One relay, step by step (decisions D1).

    parse ▸ service ▸ store open? ▸ where is the chain? ▸ supplier, size, heights ▸ a healthy backend?
      ▸ verify (ring signature, session) ▸ reserve the stake ▸ ask the backend
      ▸ sign ▸ still before the claim window? ▸ append to the stream, acknowledged ▸ answer

A relay that leaves this path anywhere raises a leaf of the error tree. `refusals` has one row for each; the
reservation, if one was made, is given back on the way out. So nothing that is not answered is charged, and
nothing is answered that is not either in the stream, below the difficulty, or too late to be claimed.

`check`, `reserved` and `conclude` are the same three steps for every transport; `serve_relay` is plain HTTP, and
alone knows optimistic mode (`served_first`); `grpc_relay.serve_grpc_relay` is gRPC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from pocket_protocol.errors import PocketError
from relay_store.store_errors import StoreUnavailable
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendResponse, BackendTimeout, NoBackend
from relayer_web.inbound import Answer, Inbound
from relayer_web.inner_request import backend_request
from relayer_web.metering import Charge
from relayer_web.mining import Mining
from relayer_web.position import ChainPosition, HeightUnknown
from relayer_web.publisher import PublishFailed
from relayer_web.refusals import BackendStatus, InternalError, refusal_answer, row_of
from relayer_web.relay_log import log_refused
from relayer_web.responses import SignedResponse, http_payload, relay_answer
from relayer_web.simulated_http import serve_simulated
from relayer_web.streaming import RelayStream, passed_headers
from relayer_web.verification import ValidationFailed

if TYPE_CHECKING:
    from relayer_web.runtime import Runtime

EAGER = "eager"


def serve_relay(inbound: Inbound, runtime: Runtime) -> Answer:
    """Serve one unary HTTP relay. Always answers; never raises."""
    started = perf_counter()
    relay: Relay | None = None
    try:
        relay = runtime.admission.identify(inbound)
        simulated = serve_simulated(relay, inbound, runtime)
        if simulated is not None:
            return simulated
        position = admit(relay, runtime)
        served = runtime.served_first.serve(relay, inbound, position, runtime)
        if served is not None:
            return served
        verify(relay, position, runtime)
        with ExitStack() as held:
            charge = held.enter_context(reserved(relay, position, runtime))
            asked = perf_counter()
            backend = ask_backend(relay, inbound, runtime, may_stream=True)
            answered = perf_counter()
            if backend.stream is not None:
                return streamed_answer(relay, backend, (position, charge, held.pop_all()), runtime)
            response = conclude(
                relay, http_payload(backend, runtime.max_response_bytes), position, charge, runtime
            )
        answer = relay_answer(response, inbound, backend.retries, runtime.compression)
        count_served(relay, (backend.status, len(answer.body)), (started, asked, answered), runtime)
        return answer
    except PocketError as error:
        return refuse(error, relay, runtime)
    except Exception as error:
        runtime.on_defect(error)
        return refuse(InternalError(), relay, runtime)


def streamed_answer(
    relay: Relay,
    backend: BackendResponse,
    reservation: tuple[ChainPosition, Charge, ExitStack],
    runtime: Runtime,
) -> Answer:
    """The answer that is sent while the backend still speaks; it holds the reservation until its end."""
    assert backend.stream is not None
    position, charge, held = reservation
    started = perf_counter()

    def settle_stream(payload_hash: bytes) -> None:
        settle(relay, runtime.signer.sign_hashed(relay, payload_hash), position, charge, runtime)

    def ended(error: Exception | None, batches: int, size: int) -> None:
        metrics = runtime.metrics
        metrics.count("streaming_batches_signed", by=batches)
        metrics.count("streaming_bytes_forwarded", by=size)
        if error is None:
            transport = metrics.transport(relay.transport)
            metrics.count("relays_received", relay.service_id, transport)
            metrics.count("relays_served", relay.service_id, transport, str(backend.status))
            metrics.count("streaming_relays_served", relay.service_id)
            metrics.observe("relay_latency_seconds", perf_counter() - started, relay.service_id, transport)
        elif isinstance(error, PocketError):
            refuse(error, relay, runtime)
        else:
            runtime.on_defect(error)
            refuse(InternalError(), relay, runtime)

    chunks = RelayStream(
        backend.stream,
        backend.status,
        sign=lambda payload: runtime.signer.sign(relay, payload).encoded,
        settle=settle_stream,
        on_end=ended,
        on_left=lambda: runtime.metrics.count("relays_unanswered", relay.service_id),
        held=held,
    )
    return Answer(backend.status, passed_headers(backend.headers), b"", chunks)


def check(relay: Relay, runtime: Runtime) -> ChainPosition:
    """Everything that must hold before anything is charged or served; returns the position it was judged at."""
    position = admit(relay, runtime)
    verify(relay, position, runtime)
    return position


def admit(relay: Relay, runtime: Runtime) -> ChainPosition:
    """The part of `check` that costs nothing."""
    runtime.store_gate.check()
    position = runtime.position.current()
    runtime.admission.admit(relay, position.height)
    if not runtime.backends.is_ready(relay.service_id, relay.transport):
        has_pool = runtime.backends.has_pool(relay.service_id, relay.transport)
        raise NoBackend(configured=has_pool)
    return position


def verify(relay: Relay, position: ChainPosition, runtime: Runtime) -> None:
    """The part of `check` that needs the curve and the chain."""
    started = perf_counter()
    runtime.verifier.verify(relay, position.height)
    runtime.metrics.observe("validation_latency_seconds", perf_counter() - started, relay.service_id, EAGER)


@contextmanager
def reserved(relay: Relay, position: ChainPosition, runtime: Runtime) -> Iterator[Charge]:
    """Hold the relay's share of the session's budget; whatever does not end in `conclude` gives it back."""
    started = perf_counter()
    with runtime.metering.charged(relay, position.height) as charge:
        took_s = perf_counter() - started
        runtime.metrics.observe("relay_meter_latency_seconds", took_s, relay.service_id, EAGER)
        runtime.metrics.count("relay_meter_consumptions", relay.service_id, "within_limit")
        yield charge


def ask_backend(
    relay: Relay, inbound: Inbound, runtime: Runtime, *, may_stream: bool = False
) -> BackendResponse:
    """Send the inner request on. Raises the backend's errors, and `BackendStatus` for 500 and above."""
    started = perf_counter()
    outcome, status = "backend_network_error", "none"
    try:
        request = backend_request(relay, inbound, may_stream=may_stream)
        backend = runtime.backends.call(relay.service_id, relay.transport, request)
        outcome = "success" if backend.status < 500 else "backend_5xx"
        status = str(backend.status)
    except BackendTimeout:
        outcome = "backend_timeout"
        raise
    finally:
        took_s = perf_counter() - started
        runtime.metrics.observe("backend_latency_seconds", took_s, relay.service_id, outcome)
        runtime.metrics.count("backend_requests", relay.service_id, outcome, status)
    if backend.status >= 500:
        raise BackendStatus(status=backend.status)
    return backend


def conclude(
    relay: Relay, payload: bytes, checked_at: ChainPosition, charge: Charge, runtime: Runtime
) -> SignedResponse:
    """Sign the answer and, unless it comes too late or is below the difficulty, see it into the stream."""
    response = runtime.signer.sign(relay, payload)
    settle(relay, response, checked_at, charge, runtime)
    return response


def settle(
    relay: Relay, response: SignedResponse, checked_at: ChainPosition, charge: Charge, runtime: Runtime
) -> Mining:
    """The second half of `conclude`, for a response that is signed already."""
    mined = runtime.miner.mine(relay, response, checked_at.height, _position_now(checked_at, runtime))
    if mined.outcome is Mining.MINED:
        runtime.publisher.publish(relay.supplier, mined.entry)
    if mined.outcome.charged:
        charge.keep()
    _count_mined(relay, mined.outcome, runtime)
    return mined.outcome


def _position_now(checked_at: ChainPosition, runtime: Runtime) -> ChainPosition:
    """Where the chain stands now; should that just have been lost, where it stood when the relay came in."""
    try:
        return runtime.position.current()
    except HeightUnknown:
        return checked_at


def refuse(error: PocketError, relay: Relay | None, runtime: Runtime) -> Answer:
    """Count a relay that ended badly and say why."""
    count_refused(error, relay, runtime)
    return refusal_answer(error, relay.service_id if relay else "")


def count_refused(error: PocketError, relay: Relay | None, runtime: Runtime) -> None:
    """Count a relay that ended badly, over any transport; a store that failed closes admission."""
    metrics = runtime.metrics
    service = metrics.service(relay.service_id) if relay else metrics.service("")
    transport = metrics.transport(relay.transport if relay else "")
    row = row_of(type(error))
    log_refused(error, relay, row.reason)
    metrics.count("relays_received", service, transport)
    if isinstance(error, NoBackend):
        metrics.count("fast_fails", service)
        if not error.configured:
            metrics.count("backend_missing", service, transport)
    else:
        metrics.count("relays_rejected", service, transport, row.reason)
    if isinstance(error, ValidationFailed):
        metrics.count("validation_failures", service, error.cause_reason)
    if row.reason == "stake_exhausted":
        metrics.count("relay_meter_consumptions", service, "over_limit")
    if isinstance(error, PublishFailed) and relay is not None:
        metrics.count("relays_lost", service, "unknown" if error.may_exist else "not_sent")
        metrics.count("ha_transport_redis_publish_errors", relay.supplier, service)
    if isinstance(error, StoreUnavailable | PublishFailed):
        runtime.store_gate.close()


def _count_mined(relay: Relay, outcome: Mining, runtime: Runtime) -> None:
    metrics, service = runtime.metrics, relay.service_id
    if outcome is Mining.MINED:
        metrics.count("relays_mined", service)
        metrics.count("relays_published", service, relay.supplier)
        metrics.count("ha_transport_redis_published", relay.supplier, service)
    elif outcome is Mining.BELOW_DIFFICULTY:
        metrics.count("relays_skipped_difficulty", service)
    else:
        metrics.count("relays_after_window", service)


def count_served(
    relay: Relay, answer: tuple[int, int], moments: tuple[float, float, float], runtime: Runtime
) -> None:
    """Count an answered relay. `answer`: the backend's status, and bytes sent back; `moments`: begun, asked, answered."""
    status, size = answer
    metrics, service, transport = runtime.metrics, relay.service_id, relay.transport
    started, asked, answered = moments
    ended = perf_counter()
    metrics.count("relays_received", service, transport)
    metrics.count("relays_served", service, transport, str(status))
    metrics.observe("relay_latency_seconds", ended - started, service, transport)
    metrics.observe("relay_pre_backend_seconds", asked - started, service, transport)
    metrics.observe("relay_post_backend_seconds", ended - answered, service, transport)
    metrics.observe("request_body_size_bytes", relay.size, service, transport)
    metrics.observe("response_body_size_bytes", size, service, transport)
