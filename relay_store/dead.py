"""Dead letters: stream entries that did not become leaves, kept with the reason, and their way back (decisions.md A, B2)."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from relay_store.connection import Store
from relay_store.fence import Command
from relay_store.keys import OwnKeys
from relay_store.relay_stream import Entry
from relay_store.scripts import run_script
from relay_store.store_errors import store_errors

KILLS_WORKER: Final = "kills worker"
MAX_LETTERS: Final = 10_000
WHOLE_LETTERS: Final = 256  # while there are fewer, large bodies are kept as well
MAX_WHOLE_BYTES: Final = 1 << 20
MAX_BODY_BYTES: Final = 65_536  # longer bodies are cut: dead letters must not fill the store
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One kept entry: its id in the relay stream, the reason's label, its whole length and (the head of) its body."""

    letter_id: str  # its own id
    entry_id: str
    reason: str
    detail: str
    length: int
    body: bytes
    session: str = ""  # whose record counts it; "" when none does

    @property
    def is_whole(self) -> bool:
        """Whether it can go back."""
        return len(self.body) == self.length


class Requeued(enum.Enum):
    """What became of a letter that was to go back."""

    DONE = "requeued"
    GONE = "no such letter"
    CUT = "its body was too long to be kept"


def bury(
    keys: OwnKeys,
    supplier: str,
    entry: Entry,
    reason: str,
    detail: str = "",
    *,
    session: str = "",
    letters: int = WHOLE_LETTERS,
) -> Command:
    """Return the command that keeps `entry` as a dead letter, for the transaction that acknowledges it.

    `session` is the one whose record counts it, `letters` how many there are already.
    """
    body = entry.body or b""
    longest = MAX_WHOLE_BYTES if letters < WHOLE_LETTERS else MAX_BODY_BYTES
    kept = body if len(body) <= longest else body[:MAX_BODY_BYTES]
    return (
        *("XADD", keys.dead(supplier), "MAXLEN", "~", MAX_LETTERS, "*"),
        *("id", entry.id, "reason", reason, "detail", detail[:500]),
        *("length", len(body), "body", kept, "session", session),
    )


def dead_letters(store: Store, keys: OwnKeys, supplier: str, *, count: int = 100) -> list[DeadLetter]:
    """Return the newest dead letters, newest first. Raises `StoreUnavailable`."""
    with store_errors():
        rows = store.client.xrevrange(keys.dead(supplier), count=count)
    return [_read(*row) for row in rows]


def all_dead_letters(store: Store, keys: OwnKeys, supplier: str) -> Iterator[DeadLetter]:
    """Yield every dead letter, oldest first, some at a time: bodies may be long. Raises `StoreUnavailable`."""
    start = "-"
    while True:
        with store_errors():
            rows = store.client.xrange(keys.dead(supplier), min=start, count=_PAGE)
        if not rows:
            return
        yield from (_read(*row) for row in rows)
        start = f"({rows[-1][0].decode()}"


def _read(letter_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    return DeadLetter(
        letter_id=letter_id.decode(),
        entry_id=fields[b"id"].decode(),
        reason=fields[b"reason"].decode(),
        detail=fields[b"detail"].decode(),
        length=int(fields[b"length"]),
        body=fields[b"body"],
        session=fields.get(b"session", b"").decode(),
    )


def requeue(store: Store, keys: OwnKeys, supplier: str, letter: DeadLetter) -> Requeued:
    """Put a letter back into the supplier's stream, as a new entry whose deliveries are counted anew.

    Anybody may: the stream's owner judges it like any other. Raises `StoreUnavailable`, `StoreFull`.
    """
    names = [
        keys.dead(supplier),
        keys.relay_stream(supplier),
        keys.totals(supplier),
        keys.commit(supplier),
    ]
    if letter.session:
        names.append(keys.session(supplier, letter.session))
    reply = int(run_script(store, "dead_requeue", names, letter.letter_id))
    return {1: Requeued.DONE, 0: Requeued.GONE}.get(reply, Requeued.CUT)
