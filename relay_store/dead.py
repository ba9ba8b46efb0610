"""Dead letters: stream entries that will never be leaves, kept with the reason (decisions.md A, B2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from relay_store.connection import Store
from relay_store.fence import Command
from relay_store.keys import OwnKeys
from relay_store.relay_stream import Entry
from relay_store.store_errors import store_errors

KILLS_WORKER: Final = "kills worker"
MAX_LETTERS: Final = 10_000
MAX_BODY_BYTES: Final = 65_536  # longer bodies are cut: dead letters must not fill the store


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One kept entry: its id in the relay stream, the reason's label, its whole length and (the head of) its body."""

    entry_id: str
    reason: str
    detail: str
    length: int
    body: bytes


def bury(keys: OwnKeys, supplier: str, entry: Entry, reason: str, detail: str = "") -> Command:
    """Return the command that keeps `entry` as a dead letter, for the transaction that acknowledges it."""
    body = entry.body or b""
    return (
        *("XADD", keys.dead(supplier), "MAXLEN", "~", MAX_LETTERS, "*"),
        *("id", entry.id, "reason", reason, "detail", detail[:500]),
        *("length", len(body), "body", body[:MAX_BODY_BYTES]),
    )


def dead_letters(store: Store, keys: OwnKeys, supplier: str, *, count: int = 100) -> list[DeadLetter]:
    """Return the newest dead letters, newest first. Raises `StoreUnavailable`."""
    with store_errors():
        rows = store.client.xrevrange(keys.dead(supplier), count=count)
    return [
        DeadLetter(
            entry_id=fields[b"id"].decode(),
            reason=fields[b"reason"].decode(),
            detail=fields[b"detail"].decode(),
            length=int(fields[b"length"]),
            body=fields[b"body"],
        )
        for _, fields in rows
    ]
