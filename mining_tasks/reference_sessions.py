"""Sessions and trees as a reference miner left them in the store (spec/miner.md §3.1, §6.1; spec/smst.md §9)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pocket_protocol.errors import Malformed
from pocket_protocol.stored_tree import StoredLeaf, leaf_of, leaves_below
from relay_store.connection import Store
from relay_store.key_scan import scan_stars
from relay_store.keys import Keys
from relay_store.session_state import SessionState
from relay_store.store_errors import store_errors

SCAN_COUNT: Final = 500
ROOT_BYTES: Final = 48


class UnreadableReferenceSession(Malformed):
    """A session record of the reference without the fields each of them has."""

    reason = "unreadable_reference_session"
    summary = "the reference's session record cannot be read"


@dataclass(frozen=True, slots=True)
class ReferenceSession:
    """A session as the reference's record and tree keys have it. `root` is the claimed root, b"" before the flush."""

    supplier: str
    session_id: str
    application: str
    service_id: str
    start_height: int
    end_height: int
    state: SessionState
    root: bytes
    claim_tx_hash: str

    @property
    def is_claimed(self) -> bool:
        """Whether its tree is closed: a claim with that root is on the chain or on its way there."""
        return bool(self.root) and self.state is not SessionState.ACTIVE


class ReferenceSessions:
    """What the reference stored. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def suppliers(self) -> list[str]:
        """Return the suppliers it has sessions of, sorted."""
        return scan_stars(self._store, self._keys.reference_session_index("*"))

    def listed(self, supplier: str) -> list[str]:
        """Return the ids of a supplier's sessions, sorted."""
        with store_errors():
            raw = self._store.client.smembers(self._keys.reference_session_index(supplier))
        return sorted(session.decode() for session in raw)

    def read(self, supplier: str, session: str) -> ReferenceSession | None:
        """Return a session, None when its record has run out. Raises `UnreadableReferenceSession`."""
        key = self._keys.reference_session(supplier, session)
        with store_errors():
            kind = self._store.client.type(key)
            if kind == b"none":
                return None
            hashed = kind == b"hash"
            raw = self._store.client.hgetall(key) if hashed else self._store.client.get(key)
            flushed = self._store.client.get(self._keys.smst(supplier, session, "root")) or b""
        fields = _named(raw) if hashed else _legacy(session, raw)
        recorded = fields.get("claimed_root_hash", b"")
        root = flushed if len(flushed) == ROOT_BYTES else recorded if len(recorded) == ROOT_BYTES else b""
        try:
            found = ReferenceSession(
                supplier=fields["supplier_operator_address"].decode(),
                session_id=fields["session_id"].decode(),
                application=fields["application_address"].decode(),
                service_id=fields["service_id"].decode(),
                start_height=int(fields["session_start_height"]),
                end_height=int(fields["session_end_height"]),
                state=SessionState(fields["state"].decode()),
                root=root,
                claim_tx_hash=fields.get("claim_tx_hash", b"").decode(),
            )
        except (KeyError, ValueError) as error:
            raise UnreadableReferenceSession(session=session, error=str(error)) from error
        if (found.supplier, found.session_id) != (supplier, session):
            raise UnreadableReferenceSession(session=session, error="names another session")
        return found

    def stored_leaves(self, session: ReferenceSession) -> Iterator[StoredLeaf]:
        """Yield every leaf that is stored, whether a root still reaches it or not. Raises `BadNode`."""
        key = self._keys.smst(session.supplier, session.session_id, "nodes")
        cursor: Any = 0
        while True:
            with store_errors():
                cursor, page = self._store.client.hscan(key, cursor, count=SCAN_COUNT)
            for name, encoding in page.items():
                leaf = leaf_of(_digest(name), encoding)
                if leaf is not None:
                    yield leaf
            if not cursor:
                return

    def claimed_leaves(self, session: ReferenceSession) -> list[StoredLeaf]:
        """Return the leaves under the claimed root. Raises `BadNode`, `NodeMissing`."""
        key = self._keys.smst(session.supplier, session.session_id, "nodes")

        def fetch(digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
            with store_errors():
                encodings = self._store.client.hmget(key, [digest.hex() for digest in digests])
            return {digest: raw for digest, raw in zip(digests, encodings, strict=True) if raw is not None}

        return leaves_below(session.root, fetch)


def _named(raw: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """The fields of a record by their names; one that is no text is none of the reference's."""
    return {name.decode(errors="replace"): value for name, value in raw.items()}


def _legacy(session: str, raw: Any) -> dict[str, bytes]:
    """Read the older form of a record: a JSON document with the same names, the root in base64."""
    try:
        document = json.loads(raw)
        fields = {name: str(value).encode() for name, value in document.items() if value is not None}
        if "claimed_root_hash" in fields:
            fields["claimed_root_hash"] = base64.b64decode(fields["claimed_root_hash"], validate=True)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableReferenceSession(session=session, error=type(error).__name__) from error
    return fields


def _digest(name: bytes) -> bytes:
    try:
        return bytes.fromhex(name.decode())
    except ValueError:
        return b""
