"""What the signature of a handshake is worth, where it has one (spec/relayer.md §1.7.1, spec/gateway.md §2.4).

Gateways of today ("v2") sign a RelayRequest without payload and send its fields as headers. Every message on the
connection is a signed relay of its own, so nothing need depend on this signature: it is verified, counted, and a bad
one is said once a minute. Older gateways ("v1") send none. Only where `extensions.require_signed_handshakes` is set is
a connection without a valid one refused, before a backend is dialled for it.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from pocket_protocol.errors import Malformed, PocketError, Refused
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.session import check_heights_plausible
from relayer_web.admission import Relay
from relayer_web.throttle import TooManyFailures
from relayer_web.websocket.handshake import Upgrade

if TYPE_CHECKING:
    from relayer_web.runtime import Runtime

V2_HEADERS: Final = ("pocket-session-id", "pocket-supplier-address", "pocket-signature")
V1, V2 = "v1", "v2"
UNSIGNED, VALID, INVALID, UNDECIDED = "unsigned", "valid", "invalid", "undecided"
MAX_HEIGHT_DIGITS: Final = 18
LOG_EVERY_S: Final = 60.0

log = structlog.get_logger("relayer")


class MalformedHandshake(Malformed):
    """The headers of a signed handshake are not what they should be."""

    reason = "malformed_handshake"
    summary = "malformed handshake"


class UnsignedHandshake(Refused):
    """A handshake without signature where one is asked for."""

    reason = "unsigned_handshake"
    summary = "the handshake is not signed"


def signed_relay(service_id: str, upgrade: Upgrade) -> Relay | None:
    """The relay without payload that a handshake for `service_id` is; None when it is not signed.

    Raises `MalformedHandshake`.
    """
    headers = upgrade.headers
    if not all(headers.get(name) for name in V2_HEADERS):
        return None
    request = RelayRequest()
    meta = request.meta
    header = meta.session_header
    header.application_address = headers.get("app-address", "")
    header.service_id = service_id
    header.session_id = headers["pocket-session-id"]
    header.session_start_block_height = _height(headers, "pocket-session-start-height")
    header.session_end_block_height = _height(headers, "pocket-session-end-height")
    meta.supplier_operator_address = headers["pocket-supplier-address"]
    try:
        meta.signature = base64.b64decode(headers["pocket-signature"], validate=True)
    except (binascii.Error, ValueError):
        raise MalformedHandshake("pocket-signature") from None
    return Relay(
        request=request,
        header=header,
        service_id=service_id,
        transport="websocket",
        supplier=meta.supplier_operator_address,
        inner=None,
        size=0,
        peer=upgrade.peer,
    )


def _height(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_HEIGHT_DIGITS):
        raise MalformedHandshake(name)
    return int(text)


class HandshakeCheck:
    """Judges the handshakes of one worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._logged: dict[str, float] = {}  # by configured service

    def check(self, service_id: str, upgrade: Upgrade) -> None:
        """Verify a handshake and count what it is worth. Raises why it is refused, where a valid one is required."""
        version, worth, error = V2, VALID, None
        try:
            if not self._verified(service_id, upgrade):
                version, worth, error = V1, UNSIGNED, UnsignedHandshake()
        except PocketError as failure:
            error = failure
            decided = isinstance(failure, Malformed | Refused) and not isinstance(failure, TooManyFailures)
            worth = INVALID if decided else UNDECIDED
        self._runtime.metrics.count("websocket_handshakes", service_id, version, worth)
        if worth == INVALID:
            self._say(service_id, error)
        if error is not None and self._runtime.requires_signed_handshakes:
            raise error

    def _verified(self, service_id: str, upgrade: Upgrade) -> bool:
        """Whether there is a signature; raises when it is not a good one, or when that cannot be told."""
        relay = signed_relay(service_id, upgrade)
        if relay is None:
            return False
        height = self._runtime.position.current().height
        header = relay.header
        check_heights_plausible(header.session_start_block_height, header.session_end_block_height, height)
        self._runtime.verifier.verify(relay, height)
        return True

    def _say(self, service_id: str, error: PocketError | None) -> None:
        now = time.monotonic()
        if error is not None and now - self._logged.get(service_id, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged[service_id] = now
            reason = getattr(error, "cause_reason", error.reason)
            log.warning("a WebSocket's handshake does not verify", service_id=service_id, reason=reason)
