from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from relay_store.connection import Store
from relay_store.fence import Fence, NotOwner, open_fence
from relay_store.intents import AttemptNotNext, Intent, Intents, UnreadableIntent
from relay_store.keys import CLAIM_PHASE, PROOF_PHASE, Keys
from relay_store.lease import StoreLease

KEYS, S = Keys(), "pokt1s"
FIRST = Intent(CLAIM_PHASE, ("s2", "s1", "s3"), 1, b"\x00signed", "AA", 123, 112)


@pytest.fixture
def fence(store: Store) -> Iterator[Fence]:
    StoreLease(store).acquire(KEYS.supplier_lease(S), "me")
    with open_fence(store, KEYS, S, "me") as opened:
        yield opened


def test_an_intent_is_found_from_each_member(store: Store, fence: Fence) -> None:
    intents = Intents(store, KEYS, S)
    assert intents.create(fence, FIRST, ttl_s=60) == [FIRST]
    for member in FIRST.members:
        assert intents.find(member, CLAIM_PHASE) == FIRST
        assert 0 < store.client.ttl(KEYS.intent(S, member, CLAIM_PHASE)) <= 60
    assert intents.find("s1", PROOF_PHASE) is None
    assert "signed" not in repr(FIRST)


def test_the_second_worker_adopts_what_the_first_stored(store: Store, fence: Fence) -> None:
    intents = Intents(store, KEYS, S)
    intents.create(fence, FIRST, ttl_s=60)
    other = replace(FIRST, members=("s3", "s9"), tx=b"other", tx_hash="BB")
    assert intents.create(fence, other, ttl_s=60) == [FIRST]
    assert intents.find("s9", CLAIM_PHASE) is None


def test_a_pointer_to_an_intent_that_ran_out_does_not_block(store: Store, fence: Fence) -> None:
    intents = Intents(store, KEYS, S)
    intents.create(fence, FIRST, ttl_s=60)
    store.client.delete(KEYS.intent(S, "s1", CLAIM_PHASE))
    assert intents.find("s2", CLAIM_PHASE) is None
    again = replace(FIRST, members=("s2", "s3"))
    assert intents.create(fence, again, ttl_s=60) == [again]


def test_outcomes_go_to_the_stored_intent_only(store: Store, fence: Fence) -> None:
    intents = Intents(store, KEYS, S)
    intents.create(fence, FIRST, ttl_s=60)
    assert intents.record_outcome(FIRST, {"code": "0", "height": "113"}, token="me")
    assert not intents.record_outcome(replace(FIRST, tx_hash="CC"), {"code": "5"}, token="me")
    with pytest.raises(NotOwner):
        intents.record_outcome(FIRST, {"code": "5"}, token="other")
    found = intents.find("s3", CLAIM_PHASE)
    assert found is not None and found.outcome == {"code": "0", "height": "113"}


def test_only_the_next_attempt_replaces_one(store: Store, fence: Fence) -> None:
    intents = Intents(store, KEYS, S)
    intents.create(fence, FIRST, ttl_s=60)
    second = replace(FIRST, members=("s2", "s3"), attempt=2, tx=b"two", tx_hash="BB")
    with pytest.raises(AttemptNotNext):
        intents.replace(fence, FIRST, replace(second, attempt=3), ttl_s=60)
    with pytest.raises(AttemptNotNext):
        intents.replace(fence, FIRST, replace(second, members=("s2", "s9")), ttl_s=60)
    intents.replace(fence, FIRST, second, ttl_s=60)
    assert intents.find("s1", CLAIM_PHASE) is None, "the member left out is free again"
    assert intents.find("s2", CLAIM_PHASE) == intents.find("s3", CLAIM_PHASE) == second
    with pytest.raises(AttemptNotNext):
        intents.replace(fence, FIRST, replace(second, tx_hash="DD"), ttl_s=60)


def test_a_stolen_supplier_stores_no_intent(store: Store, fence: Fence) -> None:
    store.client.set(KEYS.owner(S), "thief")
    with pytest.raises(NotOwner):
        Intents(store, KEYS, S).create(fence, FIRST, ttl_s=60)
    assert not store.client.exists(KEYS.intent(S, "s1", CLAIM_PHASE))


@pytest.mark.parametrize(
    "damaged",
    [
        {b"members": b"[", b"tx": b"x"},
        {b"\xff": b"x"},
        {**dict(zip(FIRST.to_fields()[::2], FIRST.to_fields()[1::2], strict=True)), "members": "[" * 100_000},
    ],
)
def test_a_damaged_intent_is_refused(store: Store, damaged: dict[Any, Any]) -> None:
    store.client.hset(KEYS.intent(S, "s1", CLAIM_PHASE), mapping=damaged)
    with pytest.raises(UnreadableIntent):
        Intents(store, KEYS, S).find("s1", CLAIM_PHASE)


@pytest.mark.parametrize("leader", ["gone", b"\xff"])
def test_a_pointer_that_leads_nowhere_is_no_intent(store: Store, leader: str | bytes) -> None:
    store.client.hset(KEYS.intent(S, "s1", CLAIM_PHASE), mapping={"leader": leader})
    assert Intents(store, KEYS, S).find("s1", CLAIM_PHASE) is None
