"""What the store's own set-up puts at risk, said once when a relayer starts (decisions D5, E)."""

from __future__ import annotations

from typing import Final

import structlog

from pocket_protocol.errors import PocketError
from relay_store.connection import connect
from relay_store.probe import probe

TIMEOUT_S: Final = 1.0

log = structlog.get_logger("relayer")


def log_store_warnings(url: str) -> None:
    """Log every warning about the store at `url`; a store that is away delays a start by seconds at most."""
    try:
        store = connect(url, pool_size=2, timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S)
        try:
            warnings = probe(store).warnings
        finally:
            store.close()
    except PocketError as error:
        log.warning("the store's settings cannot be looked at", error=str(error)[:300])
        return
    for warning in warnings:
        log.warning("store", warning=warning)
