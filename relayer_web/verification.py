"""Whether a relay may be served at all (decisions D1; spec/relayer.md §2.5, spec/signatures.md §6).

In this order, cheapest first: well-formed, ours, in time, ring members by their bytes, the session if it is
already known, the ring equation, the session. Every height is an argument: nothing here remembers one.
A failure of the chain's or the store's (`Unavailable`) decides nothing and passes through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pocket_chain.facts import ChainFacts, NoSession, SessionView
from pocket_chain.node_errors import EntityNotFound
from pocket_protocol import relay as relay_protocol
from pocket_protocol.curve import Curve
from pocket_protocol.errors import Malformed, PocketError, Refused
from pocket_protocol.ring import (
    NotExpectedRing,
    RingSignature,
    parse_ring,
    refusal_text,
    refuse_unusual,
    verify_parsed_ring,
)
from pocket_protocol.ring_members import refuse_placeholder
from pocket_protocol.session import check_header
from pocket_protocol.windows import lookup_height
from relayer_web.admission import Relay
from relayer_web.throttle import FailureThrottle

STRANGERS: Final = 200
STRANGERS_PER_S: Final = 20.0
ANY_APPLICATION: Final = ""


class ValidationFailed(Refused):
    """The relay may not be served. `cause_reason` is the label of what it broke."""

    reason = "validation_failed"
    summary = "relay validation failed"
    cause_reason: str


class Verifier:
    """Checks relays against the chain's facts. `holds_key(S)`: this relayer signs for supplier S.

    Each application nobody has heard of is a question to the node, and they can be made up: those of one peer are
    bounded. Applications that are known are not concerned.
    """

    def __init__(
        self,
        facts: ChainFacts,
        curve: Curve,
        holds_key: Callable[[str], bool],
        throttle: FailureThrottle,
        *,
        strict_signatures: bool = False,
        max_ring_size: int = 32,
        refuse_placeholder_rings: bool = False,
    ) -> None:
        self._facts = facts
        self._curve = curve
        self._holds_key = holds_key
        self._throttle = throttle
        self._strangers = FailureThrottle(burst=STRANGERS, per_s=STRANGERS_PER_S)
        self._strict = strict_signatures
        self._max_ring_size = max_ring_size
        self._refuse_placeholder = refuse_placeholder_rings

    def verify(self, relay: Relay, current_height: int) -> SessionView:
        """Return the relay's session as the chain gives it.

        Raises `ValidationFailed`, `TooManyFailures`, or an `Unavailable` when nothing could be decided.
        """
        application = relay.header.application_address
        self._throttle.check(relay.peer, application)
        if not self._facts.applications.has(application):
            self._strangers.check(relay.peer, ANY_APPLICATION)
        try:
            return self._verify(relay, current_height)
        except ValidationFailed as error:
            self._throttle.record(relay.peer, application)
            if error.cause_reason == EntityNotFound.reason:
                self._strangers.record(relay.peer, ANY_APPLICATION)
            raise

    def _verify(self, relay: Relay, current_height: int) -> SessionView:
        header = relay.header
        with _failing("basic validation failed: "):
            relay_protocol.validate_request(relay.request)
        if not self._holds_key(relay.supplier):
            raise ValidationFailed(
                f"supplier {relay.supplier} is not allowed by this relayer", cause_reason="supplier_not_ours"
            )
        with _failing(""):
            windows = self._facts.windows(header.session_end_block_height, current_height)
            height = lookup_height(windows, header.session_start_block_height, current_height)
        ring, expected = self._expected_ring(relay)
        session_key = (header.application_address, header.service_id, height)
        known = self._facts.sessions.peek(session_key)
        if known is not None:
            _check_session(relay, known)
        self._check_signature(relay, ring, expected)
        if known is not None:
            return known
        with _failing(""):
            session = self._facts.sessions.get(session_key)
        _check_session(relay, session)
        return session

    def _expected_ring(self, relay: Relay) -> tuple[RingSignature, frozenset[bytes]]:
        """The signature and the keys that may sign, once every member of it is among them."""
        header = relay.header
        application, end = header.application_address, header.session_end_block_height
        with _failing("ring signature verification failed: ", application):
            ring = parse_ring(relay.request.meta.signature, self._max_ring_size)
            if self._strict:
                refuse_unusual(ring)
            members = ring.public_keys
            if self._refuse_placeholder:
                refuse_placeholder(members)
            expected = self._facts.ring_keys(application, end)
            if not expected.issuperset(members) and self._facts.renew_application(application):
                expected = self._facts.ring_keys(application, end)
            if not expected.issuperset(members):
                raise NotExpectedRing
        return ring, expected

    def _check_signature(self, relay: Relay, ring: RingSignature, expected: frozenset[bytes]) -> None:
        with _failing("ring signature verification failed: ", relay.header.application_address):
            verify_parsed_ring(self._curve, relay_protocol.signable_request(relay.request), ring, expected)


def _check_session(relay: Relay, session: SessionView) -> None:
    with _failing(""):
        check_header(session.header, relay.header)
    if relay.supplier not in session.suppliers:
        raise ValidationFailed(
            f"supplier {relay.supplier} not found in session", cause_reason="supplier_not_in_session"
        )


class _failing:
    """Raise what the block refuses as `ValidationFailed`, with `prefix` before its text."""

    __slots__ = ("_application", "_prefix")

    def __init__(self, prefix: str, application: str = "") -> None:
        self._prefix = prefix
        self._application = application

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, (Malformed, Refused)):
            return
        raise ValidationFailed(self._prefix + self._text(error), cause_reason=error.reason) from error

    def _text(self, error: PocketError) -> str:
        if isinstance(error, EntityNotFound):
            return f"application {self._application} not found"
        if isinstance(error, NoSession):
            return str(error)
        return (
            refusal_text(error, self._application) if self._application else (error.detail or error.summary)
        )
