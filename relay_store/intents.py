"""Intents: the signed transaction of a claim or proof, stored before it is first sent (decisions.md C3).

A transaction has one or more member sessions. Its intent is a hash under the key of its first member (in
sorted order); the other members' keys point there. Whoever finds an intent sends *its* bytes again, so two
workers never pay twice. A new attempt replaces an intent only as the one after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pocket_protocol.errors import Malformed, Refused
from relay_store.connection import Store
from relay_store.fence import Command, Fence, NotOwner
from relay_store.keys import OwnKeys
from relay_store.scripts import run_script
from relay_store.store_errors import store_errors

_LEADER: Final = b"leader"


class UnreadableIntent(Malformed):
    """An intent hash without the fields every intent has."""

    reason = "unreadable_intent"
    summary = "intent cannot be read"


class AttemptNotNext(Refused):
    """A new attempt that does not follow the one stored: somebody else was faster."""

    reason = "attempt_not_next"
    summary = "attempt does not follow the stored one"


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt at one transaction of a supplier. `members` are session ids in the order of its messages."""

    phase: str  # keys.CLAIM_PHASE or keys.PROOF_PHASE
    members: tuple[str, ...]
    attempt: int  # 1, 2, …: part of what the timeout is derived from
    tx: bytes = field(repr=False)  # the signed bytes to broadcast
    tx_hash: str  # upper-case hex
    timeout_ns: int  # timeout timestamp of the unordered transaction, nanoseconds since the epoch
    height: int  # chain height when it was made
    outcome: Mapping[str, str] = field(default_factory=dict)  # what was seen of it; empty when nothing yet
    # The node that knows it stored, and since when by its monotonic clock; see `Intents.note_stored`.
    stored_by: str = ""
    stored_at_s: float = 0.0

    def to_fields(self) -> list[Any]:
        """Return the hash fields, flat; without the outcome."""
        return [
            *("phase", self.phase, "members", json.dumps(self.members), "attempt", self.attempt),
            *("tx", self.tx, "tx_hash", self.tx_hash, "timeout_ns", self.timeout_ns, "height", self.height),
        ]


def _read(raw: Mapping[bytes, bytes]) -> Intent:
    try:
        return Intent(
            phase=raw[b"phase"].decode(),
            members=tuple(json.loads(raw[b"members"])),
            attempt=int(raw[b"attempt"]),
            tx=raw[b"tx"],
            tx_hash=raw[b"tx_hash"].decode(),
            timeout_ns=int(raw[b"timeout_ns"]),
            height=int(raw[b"height"]),
            outcome={
                name.decode().removeprefix("outcome:"): value.decode(errors="replace")
                for name, value in raw.items()
                if name.startswith(b"outcome:")
            },
            stored_by=raw.get(b"stored_by", b"").decode(),
            stored_at_s=float(raw.get(b"stored_at_s", b"0")),
        )
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableIntent(fields=b", ".join(sorted(raw)).decode(errors="replace")) from error


class Intents:
    """The intents of one supplier. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, keys: OwnKeys, supplier: str) -> None:
        self._store = store
        self._keys = keys
        self._supplier = supplier

    def find(self, session: str, phase: str) -> Intent | None:
        """Return the intent a session is a member of. Raises `UnreadableIntent`."""
        raw = self._raw(session, phase)
        if _LEADER in raw:
            raw = self._raw(raw[_LEADER].decode(errors="replace"), phase)
        return _read(raw) if raw else None

    def _raw(self, session: str, phase: str) -> dict[bytes, bytes]:
        with store_errors():
            raw: dict[bytes, bytes] = self._store.client.hgetall(
                self._keys.intent(self._supplier, session, phase)
            )
        return raw

    def create(self, fence: Fence, intent: Intent, *, ttl_s: int) -> list[Intent]:
        """Store a first attempt, or adopt what is there: returns [intent], or the members' existing ones.

        When existing intents come back, each of them is driven on as it is, and members that none of them
        covers go into another transaction. Raises `NotOwner`, `StoreUnavailable`.
        """
        while True:
            fence.watch()
            keys = [self._keys.intent(self._supplier, member, intent.phase) for member in intent.members]
            fence.watch_more(*keys)
            if any(fence.ask(*(("EXISTS", key) for key in keys))):
                found = [self.find(member, intent.phase) for member in intent.members]
                existing = {one.tx_hash: one for one in found if one is not None}
                if existing:
                    fence.forget()
                    return list(existing.values())
            if fence.execute(("UNLINK", *keys), *self._write(intent, ttl_s)) is not None:
                return [intent]

    def replace(self, fence: Fence, stored: Intent, following: Intent, *, ttl_s: int) -> None:
        """Put the next attempt in the place of `stored`; its members are `stored`'s, or some of them.

        Members left out lose their intent. Raises `AttemptNotNext` when another one is stored by now or
        `following` is not the next attempt, `NotOwner`, `StoreUnavailable`.
        """
        if following.attempt != stored.attempt + 1 or not set(following.members) <= set(stored.members):
            raise AttemptNotNext(stored=stored.attempt, following=following.attempt)
        while True:
            fence.watch()
            keys = [self._keys.intent(self._supplier, member, stored.phase) for member in stored.members]
            fence.watch_more(*keys)
            (tx_hash,) = fence.ask(("HGET", self._leader_key(stored), "tx_hash"))
            if tx_hash != stored.tx_hash.encode():
                fence.forget()
                raise AttemptNotNext(stored=stored.attempt, following=following.attempt)
            if fence.execute(("UNLINK", *keys), *self._write(following, ttl_s)) is not None:
                return

    def record_outcome(self, intent: Intent, outcome: Mapping[str, str], *, token: str) -> bool:
        """Note what was seen of a transaction; False when its intent was replaced or ran out meanwhile.

        Raises `NotOwner`.
        """
        return self._note(intent, {f"outcome:{name}": value for name, value in outcome.items()}, token)

    def note_stored(self, intent: Intent, at_s: float, *, token: str) -> bool:
        """Note that the store has acknowledged an intent by `at_s`, a moment of the node's monotonic clock.

        Never written with the intent itself: a store that stands still executes a transaction seconds after it
        was sent. Without this note, the bytes count as stored when they are read. Raises `NotOwner`.
        """
        return self._note(intent, {"stored_by": token, "stored_at_s": repr(at_s)}, token)

    def _note(self, intent: Intent, fields: Mapping[str, str], token: str) -> bool:
        flat = [part for item in fields.items() for part in item]
        keys = (
            self._leader_key(intent),
            self._keys.owner(self._supplier),
            self._keys.commit(self._supplier),
        )
        done = run_script(self._store, "intent_outcome", keys, token, intent.tx_hash, *flat)
        if done < 0:
            raise NotOwner(key=keys[1])
        return bool(done)

    def _leader_key(self, intent: Intent) -> str:
        return self._keys.intent(self._supplier, min(intent.members), intent.phase)

    def _write(self, intent: Intent, ttl_s: int) -> Sequence[Command]:
        leader = min(intent.members)
        key = self._leader_key(intent)
        commands: list[Command] = [("HSET", key, *intent.to_fields()), ("EXPIRE", key, ttl_s)]
        for member in intent.members:
            if member != leader:
                pointer = self._keys.intent(self._supplier, member, intent.phase)
                commands += [("HSET", pointer, _LEADER, leader), ("EXPIRE", pointer, ttl_s)]
        return commands
