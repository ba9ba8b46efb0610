"""A line for each relay that ended badly, at debug level: which one it was, and why (spec/relayer.md §7.3).

Who sent it wrote most of what stands in it, so every value is short. Neither payloads nor signatures are in it.
"""

from __future__ import annotations

from typing import Final

import structlog

from pocket_protocol.errors import PocketError
from relayer_web.admission import Relay
from relayer_web.refusals import text_of

MAX_VALUE: Final = 128

log = structlog.get_logger("relayer")


def log_refused(error: PocketError, relay: Relay | None, reason: str) -> None:
    """Say that a relay was refused for `reason`, a label of the error tree."""
    if relay is None:
        log.debug("relay refused", reason=reason, text=text_of(error)[:MAX_VALUE])
        return
    header = relay.header
    log.debug(
        "relay refused",
        reason=reason,
        text=text_of(error)[: 2 * MAX_VALUE],
        service_id=relay.service_id,
        rpc_type=relay.transport[:MAX_VALUE],
        supplier=relay.supplier[:MAX_VALUE],
        application=header.application_address[:MAX_VALUE],
        session_id=header.session_id[:MAX_VALUE],
        session_end_height=header.session_end_block_height,
    )
