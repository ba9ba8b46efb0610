"""Whether a simulated relay may be served (spec/relayer.md §2.10, spec/signatures.md §7; decisions D4).

Operators probe a relayer with relays signed by keys that its configuration pins. They are served like real ones, and
never metered, mined or counted with them. One gate for all transports:

    key_id = gate.key_id(headers)              "" for a real relay
    with gate.admitted(relay, key_id): ...     serve it; raises a leaf of this module
    gate.count("http", relay, result)          the only metric a simulated relay moves

    SimulationRefused (Refused)     403, the reason in its text
    +-- UnknownKey, IdentityDisabled, IdentityExpired, SupplierNotLoaded, IdentityMismatch, ServiceNotAllowed,
    |   NotValid, OutsideWindow, SignatureInvalid
    +-- SupplierMissing, BadSimulatedSession        400
    +-- ServiceNotConfigured                        404
    SimulationBusy, SimulationTooFast               429 (Refused)
    SimulationReplayed                              409 (relay_store.simulation_replay)
    ReplaysUnknown                                  503 (Unavailable): without the store no replay could be told

A replay is refused twice over: by the reference's key, the hash of the signature's bytes, before anything is verified;
and by what was signed, after it, since one signature has many spellings. Only who holds a pinned key can use the latter
up. Limits are those of one process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from pocket_protocol import relay as relay_protocol
from pocket_protocol.address import address_of
from pocket_protocol.curve import Curve
from pocket_protocol.errors import PocketError, Refused, Unavailable
from pocket_protocol.ring import verify_ring
from pocket_protocol.types import PublicKey
from relay_store.simulation_replay import SimulationReplays
from relayer_web.admission import Relay
from relayer_web.config_simulation import SimulationIdentity, SimulationSection

KEY_ID_HEADER: Final = "pocket-simulation-key-id"
SESSION_WORD: Final = "simv1"
MAX_SECONDS_DIGITS: Final = 12
Count = Callable[[str, str, str, str], None]  # transport, service, supplier, result


class SimulationRefused(Refused):
    """A simulated relay that is not served. `reason` is its result in the metric."""

    reason = "verify_failed"
    summary = "simulation: refused"


class UnknownKey(SimulationRefused):
    """No identity has this key id."""

    summary = "simulation: unknown key_id"


class IdentityDisabled(SimulationRefused):
    """The identity is not switched on."""

    summary = "simulation: identity disabled"


class IdentityExpired(SimulationRefused):
    """The identity is past its end."""

    summary = "simulation: identity expired (not_after)"


class SupplierMissing(SimulationRefused):
    """No supplier is addressed."""

    reason = "supplier_not_loaded"
    summary = "simulation: supplier operator address required"


class SupplierNotLoaded(SimulationRefused):
    """This relayer does not sign for the supplier."""

    reason = "supplier_not_loaded"
    summary = "simulation: supplier signing key not loaded on this relayer"


class NotValid(SimulationRefused):
    """The request lacks what every relay has."""

    summary = "simulation: basic validation failed"


class IdentityMismatch(SimulationRefused):
    """Another application than the pinned one."""

    reason = "identity_mismatch"
    summary = "simulation: request application address does not match pinned identity"


class ServiceNotConfigured(SimulationRefused):
    """A service this relayer does not have."""

    reason = "service_unknown"
    summary = "simulation: service not configured on this relayer"


class ServiceNotAllowed(SimulationRefused):
    """A service this identity may not probe."""

    reason = "service_not_allowed"
    summary = "simulation: service not allowed for this identity"


class BadSimulatedSession(SimulationRefused):
    """Not `simv1:<unix seconds>:<nonce>`."""

    summary = "simulation: malformed synthetic session id"


class OutsideWindow(SimulationRefused):
    """Too old, or from the future."""

    summary = "simulation: request timestamp outside freshness window"


class SignatureInvalid(SimulationRefused):
    """Not signed by the pinned keys, or in an unusual spelling."""

    summary = "simulation: ring signature verification failed"


class SimulationBusy(Refused):
    """As many simulated relays as allowed are being served."""

    reason = "rate_limited"
    summary = "simulation concurrency limit reached"


class SimulationTooFast(Refused):
    """The identity's relays come faster than it may send them."""

    reason = "rate_limited"
    summary = "simulation rate limit reached"


class ReplaysUnknown(Unavailable):
    """Whether the relay came before cannot be told."""

    reason = "dedup_unavailable"
    summary = "simulation: replay dedup store unavailable"


class _Bucket:
    """`per_s` tokens a second, as many at once."""

    def __init__(self, per_s: int, monotonic: Callable[[], float]) -> None:
        self._per_s, self._monotonic = per_s, monotonic
        self._lock = threading.Lock()
        self._tokens, self._as_of = float(per_s), monotonic()

    def take(self) -> bool:
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._per_s, self._tokens + (now - self._as_of) * self._per_s)
            self._as_of = now
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


@dataclass(frozen=True, slots=True)
class _Pinned:
    """An identity ready to be compared with."""

    identity: SimulationIdentity
    application: str
    keys: frozenset[bytes]
    bucket: _Bucket


class SimulationGate:
    """Decides about simulated relays by one configuration; a changed configuration gets a new gate."""

    def __init__(
        self,
        section: SimulationSection,
        services: Collection[str],
        holds_key: Callable[[str], bool],
        replays: SimulationReplays,
        curve: Curve,
        *,
        on_result: Count = lambda transport, service, supplier, result: None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enabled = section.enabled
        self._window_s = section.freshness_window_seconds
        self._places = threading.BoundedSemaphore(section.max_concurrent)
        self._services = frozenset(services)
        self._holds_key = holds_key
        self._replays = replays
        self._curve = curve
        self._on_result = on_result
        self._wall_clock = wall_clock
        identities = section.identities if section.enabled else ()
        self._pinned = {one.key_id: _pinned(one, monotonic) for one in identities}

    def key_id(self, headers: Mapping[str, str]) -> str:
        """Return the identity that headers or metadata (names in lower case) name; "" makes it a real relay."""
        return headers.get(KEY_ID_HEADER, "") if self._enabled else ""

    @contextmanager
    def admitted(self, relay: Relay, key_id: str) -> Iterator[None]:
        """Hold one of the places while a relay that passed every check is served. Raises a leaf of this module."""
        if not self._places.acquire(blocking=False):
            raise SimulationBusy
        try:
            self._check(relay, key_id)
            yield
        finally:
            self._places.release()

    def count(self, transport: str, relay: Relay, result: str) -> None:
        """Count a simulated relay under labels that senders cannot make up."""
        service = relay.service_id if relay.service_id in self._services else "unknown"
        supplier = relay.supplier if self._holds_key(relay.supplier) else "unknown"
        self._on_result(transport, service, supplier, result)

    def _check(self, relay: Relay, key_id: str) -> None:
        pinned = self._pinned.get(key_id)
        if pinned is None:
            raise UnknownKey
        self._check_identity(pinned.identity)
        if not relay.supplier:
            raise SupplierMissing
        if not self._holds_key(relay.supplier):
            raise SupplierNotLoaded
        try:
            relay_protocol.validate_request(relay.request)
        except PocketError as error:
            raise NotValid from error
        if relay.header.application_address != pinned.application:
            raise IdentityMismatch
        if relay.service_id not in self._services:
            raise ServiceNotConfigured
        if pinned.identity.allowed_services and relay.service_id not in pinned.identity.allowed_services:
            raise ServiceNotAllowed
        if abs(self._wall_clock() - _said_at(relay.header.session_id)) >= self._window_s:
            raise OutsideWindow
        self._claim(sha256(relay.request.meta.signature).digest())
        signable = relay_protocol.signable_request(relay.request)
        self._verify(signable, relay.request.meta.signature, pinned.keys)
        self._claim(signable)
        if not pinned.bucket.take():
            raise SimulationTooFast

    def _check_identity(self, identity: SimulationIdentity) -> None:
        if not identity.enabled:
            raise IdentityDisabled
        if identity.is_expired(datetime.fromtimestamp(self._wall_clock(), UTC)):
            raise IdentityExpired

    def _claim(self, fingerprint: bytes) -> None:
        """Raises `SimulationReplayed` or `ReplaysUnknown`."""
        try:
            self._replays.claim(fingerprint)
        except Unavailable as error:
            raise ReplaysUnknown from error

    def _verify(self, signable: bytes, signature: bytes, keys: frozenset[bytes]) -> None:
        try:
            verify_ring(self._curve, signable, signature, keys, strict=True)
        except PocketError as error:
            raise SignatureInvalid from error


def _pinned(identity: SimulationIdentity, monotonic: Callable[[], float]) -> _Pinned:
    ring = identity.ring
    application = str(address_of(PublicKey(ring[0])))
    return _Pinned(identity, application, frozenset(ring), _Bucket(identity.max_rps, monotonic))


def _said_at(session_id: str) -> int:
    """The time a synthetic session id gives, unix seconds. Raises `BadSimulatedSession`."""
    word, _, rest = session_id.partition(":")
    seconds, colon, nonce = rest.partition(":")
    is_number = seconds.isascii() and seconds.isdigit() and len(seconds) <= MAX_SECONDS_DIGITS
    if word != SESSION_WORD or not is_number or not colon or not nonce:
        raise BadSimulatedSession
    return int(seconds)
