"""Service factors: own before default before none; bad ones count as none."""

from __future__ import annotations

import pytest

from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.service_factor import ServiceFactors, encode_factor
from relay_store.store_errors import StoreUnavailable

KEYS = Keys()


def factors(store: Store, clock=lambda: 0.0) -> ServiceFactors:
    return ServiceFactors(store.client, factor_key=KEYS.service_factor, monotonic=clock)


def test_document_bytes() -> None:
    assert encode_factor(0.5, 1795346661) == b'{"factor":0.5,"updated_at":1795346661}'
    assert encode_factor(2.0, 1) == b'{"factor":2,"updated_at":1}'


def test_own_before_default_before_none(store: Store) -> None:
    assert factors(store).factor("anvil") is None
    factors(store).write("", 0.25, 1)
    assert factors(store).factor("anvil") == 0.25
    factors(store).write("anvil", 0.5, 1)
    assert factors(store).factor("anvil") == 0.5
    assert store.client.get("ha:service_factor:service:anvil") is not None
    assert 7190 < store.client.ttl("ha:service_factor:default") <= 7200


@pytest.mark.parametrize(
    "document", [b"", b"{}", b'{"factor":"x"}', b'{"factor":NaN}', b'{"factor":0}', b"[1]"]
)
def test_unusable_documents_count_as_none(store: Store, document: bytes) -> None:
    store.client.set(KEYS.service_factor("anvil"), document)
    assert factors(store).factor("anvil") is None


@pytest.mark.parametrize(
    ("payload", "seen"),
    [(b'{"service_id":"anvil"}', 0.9), (b'{"service_id":"other"}', 0.5), (b"{}", 0.9), (b"rubbish", 0.9)],
)
def test_invalidation(store: Store, payload: bytes, seen: float) -> None:
    known = factors(store)
    known.write("anvil", 0.5, 1)
    assert known.factor("anvil") == 0.5
    known.write("anvil", 0.9, 2)
    assert known.factor("anvil") == 0.5
    known.hear(payload)
    assert known.factor("anvil") == seen


def test_a_store_that_is_away_is_said_so() -> None:
    away = connect("redis://127.0.0.1:1", timeout_s=0.2, connect_timeout_s=0.2)
    with pytest.raises(StoreUnavailable):
        factors(away).factor("anvil")
