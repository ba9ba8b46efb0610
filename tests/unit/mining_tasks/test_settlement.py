"""Settlement events: those of a real node, and every kind there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mining_tasks.settlement import (
    DISCARDED,
    EXPIRED,
    SETTLED,
    SLASHED,
    Settlement,
    UnreadableEvent,
    find_settlement,
)
from pocket_chain.node import Event
from relay_store.session_state import SessionSnapshot, SessionState
from tests import recorded

SNAPSHOT = SessionSnapshot("id", "pokt1supplier", "pokt1application", "svc", 1, 10)


def event(kind: str, **changes: Any) -> Event:
    """An event about SNAPSHOT, with attributes as the chain prints them."""
    values: dict[str, Any] = {
        "supplier_operator_address": "pokt1supplier",
        "application_address": "pokt1application",
        "service_id": "svc",
        "session_end_block_height": "10",
        "claim_proof_status_int": 0,
        "claimed_upokt": "1000upokt",
        "num_relays": "4",
        "num_claimed_compute_units": "40",
        **changes,
    }
    return Event(kind, tuple((name, json.dumps(value)) for name, value in sorted(values.items())))


def settled(**changes: Any) -> Event:
    reason = "TLM_RELAY_BURN_EQUALS_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION"
    rewards = [
        {"recipient_address": "pokt1supplier", "op_reason": reason, "amount": "500upokt"},
        {"recipient_address": "pokt1partner", "op_reason": reason, "amount": "60upokt"},
        {"recipient_address": "pokt1dao", "op_reason": "TLM_…_DAO_REWARD_DISTRIBUTION", "amount": "240upokt"},
    ]
    return event(SETTLED, settled_upokt="800upokt", reward_distribution_detailed=rewards, **changes)


def test_a_settled_claim_with_what_was_cut_off() -> None:
    found = find_settlement(SNAPSHOT, 29, [settled(claim_proof_status_int=1)])
    assert found == Settlement(
        "settled_proven", 29, 1000, 800, 200, 560, relays=4, compute_units=40, proved=True
    )
    assert found.state is SessionState.PROVED


def test_a_claim_settled_without_a_proof() -> None:
    found = find_settlement(SNAPSHOT, 29, [settled()])
    assert found is not None and found.outcome == "settled"
    assert found.state is SessionState.PROBABILISTIC_PROVED


def test_an_expired_claim_and_its_penalty_wherever_it_stands() -> None:
    events = [
        event(SLASHED, proof_missing_penalty="250000upokt"),
        event(EXPIRED, expiration_reason="PROOF_INVALID", claim_proof_status_int=2),
    ]
    for order in (events, events[::-1]):
        found = find_settlement(SNAPSHOT, 29, order)
        assert found is not None
        assert (found.outcome, found.reason) == ("expired", "proof_invalid")
        assert (found.claimed_upokt, found.slashed_upokt) == (1000, 250_000)
        assert found.state is SessionState.PROOF_WINDOW_CLOSED


def test_a_discarded_claim() -> None:
    found = find_settlement(SNAPSHOT, 29, [event(DISCARDED, error="service not found")])
    assert found is not None and (found.outcome, found.reason) == ("discarded", "service not found")


@pytest.mark.parametrize(
    "other",
    [
        {"supplier_operator_address": "pokt1other"},
        {"application_address": "pokt1other"},
        {"service_id": "other"},
        {"session_end_block_height": "20"},
    ],
)
def test_another_sessions_events_are_not_ours(other: dict[str, str]) -> None:
    assert find_settlement(SNAPSHOT, 29, [settled(**other), event(SLASHED, **other)]) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"settled_upokt": "-1upokt"},
        {"claimed_upokt": "many"},
        {"num_relays": "x"},
        {"num_relays": float("inf")},
        {"num_relays": "9" * 5_000},
        {"claimed_upokt": "9" * 5_000 + "upokt"},
        {"reward_distribution_detailed": 1},
        {
            "reward_distribution_detailed": [
                {"op_reason": "SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION", "amount": 5}
            ]
        },
        {"reward_distribution_detailed": [{}]},
    ],
)
def test_an_event_that_is_not_the_networks_is_refused(broken: dict[str, Any]) -> None:
    values = {"settled_upokt": "800upokt", **broken}
    with pytest.raises(UnreadableEvent):
        find_settlement(SNAPSHOT, 29, [event(SETTLED, **values)])
    garbled = Event(SETTLED, tuple((name, value + "{") for name, value in event(SETTLED).attributes))
    with pytest.raises(UnreadableEvent):
        find_settlement(SNAPSHOT, 29, [garbled])
    deep = Event(SETTLED, (*event(SETTLED, **values).attributes, ("num_relays", "[" * 100_000)))
    with pytest.raises(UnreadableEvent):
        find_settlement(SNAPSHOT, 29, [deep])


@recorded.needs_recordings
def test_a_block_of_a_real_node() -> None:
    block = recorded.load("localnet/cometbft/block_results_settlement.json")["response"]["result"]
    events = [
        Event(item["type"], tuple((one["key"], one["value"]) for one in item["attributes"]))
        for item in block["finalize_block_events"]
    ]
    claims = [dict(one.attributes) for one in events if one.type == SETTLED]
    assert len(claims) == 7
    for claim in claims:
        text = {name: json.loads(value) for name, value in claim.items() if name != "mode"}
        snapshot = SessionSnapshot(
            text["session_id"],
            text["supplier_operator_address"],
            text["application_address"],
            text["service_id"],
            691,
            int(text["session_end_block_height"]),
        )
        found = find_settlement(snapshot, 710, events)
        assert found is not None and found.outcome == "settled_proven"
        assert found.settled_upokt == found.claimed_upokt == int(text["claimed_upokt"][:-5])
        assert found.supplier_upokt == found.settled_upokt * 7 // 10
