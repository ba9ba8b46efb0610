"""Records of a reference miner that are none."""

from __future__ import annotations

from typing import Any

import pytest

from mining_tasks.reference_sessions import ReferenceSessions, UnreadableReferenceSession
from relay_store.connection import Store
from relay_store.keys import Keys

KEYS = Keys()


@pytest.mark.parametrize(
    "fields", [{b"\xff": b"x"}, {b"state": b"\xff"}, {b"session_start_height": b"9" * 5_000}, {b"x": b"y"}]
)
def test_a_record_that_is_none_is_refused(store: Store, fields: dict[Any, Any]) -> None:
    store.client.hset(KEYS.reference_session("pokt1x", "s1"), mapping=fields)
    with pytest.raises(UnreadableReferenceSession):
        ReferenceSessions(store, KEYS).read("pokt1x", "s1")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"state": 1}'])
def test_a_document_that_is_none_is_refused(store: Store, text: bytes) -> None:
    store.client.set(KEYS.reference_session("pokt1x", "s1"), text)
    with pytest.raises(UnreadableReferenceSession):
        ReferenceSessions(store, KEYS).read("pokt1x", "s1")
