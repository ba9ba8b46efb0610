"""Waiting until what was written survives the loss of the machine (decisions.md C1, C3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.probe import StoreReport

CONFIRM_MS: Final = 300
FSYNC_S: Final = 1.1  # with appendfsync everysec, longer ago than this is on disk


def takes_time(report: StoreReport) -> bool:
    """Whether `make_durable` waits for a disk: for a second, then, and not for a few milliseconds."""
    return report.aof and not report.replicas


def make_durable(
    store: Store,
    keys: OwnKeys,
    supplier: str,
    *,
    report: StoreReport,
    written_at_s: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until all writes of `supplier` are on a replica, or on disk; return whether that is so.

    One replica or the append-only file confirms within 300 ms where the server can be asked; otherwise,
    with an append-only file, until 1.1 s after `written_at_s` (monotonic) have passed. One call serves
    every session sealed before it, so a batch of claims waits once. Without replica and append-only file
    there is nothing to wait for: False at once. So is True when only the file matters and the 1.1 s are over.
    Raises `StoreUnavailable`.
    """
    if takes_time(report) and monotonic() - written_at_s >= FSYNC_S:
        return True
    commit = keys.commit(supplier)
    with store.fenced_connection(commit) as connection:

        def ask(*command: object) -> object:
            connection.send_command(*command)
            return connection.read_response()

        ask("INCR", commit)  # WAIT and WAITAOF look at this connection's own last write, and all before it
        if report.replicas and int(str(ask("WAIT", 1, CONFIRM_MS))) >= 1:
            return True
        if report.aof and "WAITAOF" in report.commands:
            reply = ask("WAITAOF", 1, 0, CONFIRM_MS)
            if isinstance(reply, list) and reply[0] >= 1:
                return True
    if not report.aof:
        return False
    sleep(max(0.0, written_at_s + FSYNC_S - monotonic()))
    return True
