"""Books that close, and every way in which they do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mining_tasks.ledger import Row
from pocket_chain.node import CometNode, Event
from relay_cli.demo.books import Report, make_rows
from relay_cli.demo.chain_watch import ChainWatch, ClaimOnChain, upokt
from relay_store.session_state import SessionRecord, SessionSnapshot, SessionState

KEY = ("pokt1s", "svc", 20)


def record(settled: int = 500, **counters: int) -> Row:
    none = dict.fromkeys(("leaves", "duplicates", "late", "below", "dead", "weight_mismatch"), 0)
    snapshot = SessionSnapshot("a" * 64, KEY[0], "pokt1a", KEY[1], 11, KEY[2], cupr=1)
    more = {"settlement_outcome": b"settled_proven", "settled_upokt": b"%d" % settled}
    more |= {"claimed_upokt": more["settled_upokt"]}
    return Row.of(SessionRecord(snapshot, SessionState.PROVED, none | counters, more))


def event(kind: str, **values: Any) -> Event:
    where = {
        "supplier_operator_address": KEY[0],
        "service_id": KEY[1],
        "session_end_block_height": str(KEY[2]),
    }
    return Event(kind, tuple((name, json.dumps(value)) for name, value in {**where, **values}.items()))


CREATED = event("pocket.proof.EventClaimCreated", num_relays="5", claimed_upokt="500upokt")
VALID = event("pocket.proof.EventProofValidityChecked", claim_proof_status_int=1)
REWARD = {"recipient_address": KEY[0], "op_reason": "X_SUPPLIER_SHAREHOLDER_REWARD_Y", "amount": "350upokt"}
SETTLED = event(
    "pocket.tokenomics.EventClaimSettled",
    num_relays="5",
    settled_upokt="500upokt",
    proof_requirement_int=2,
    reward_distribution_detailed=[REWARD, {**REWARD, "op_reason": "DAO"}],
)


def watched(*events: Event) -> ClaimOnChain:
    watch = ChainWatch(CometNode("http://127.0.0.1:1"))
    watch.read(events, 30)
    return watch.claims([KEY[2]])[0]


def report(rows: Any, failed: Mapping[str, int] | None = None, gas: int = 2) -> Report:
    proved = sum(row.proved for row in rows)
    after = 1000 + sum(row.supplier_upokt for row in rows) - 100 * proved - gas
    return Report(rows, dict(failed or {}), {KEY[0]: 1000}, {KEY[0]: after}, 100, {}, 1.0)


def test_the_chain_is_read_from_its_events() -> None:
    claim = watched(CREATED, VALID, SETTLED)
    assert (claim.num_relays, claim.claimed_upokt, claim.settled_upokt) == (5, 500, 500)
    assert (claim.paid_to_supplier_upokt, claim.proof_required, claim.proof_valid) == (350, True, True)
    assert (claim.created_height, claim.settled_height, claim.failures) == (30, 30, [])
    assert upokt({"denom": "upokt", "amount": "7"}) == 7


def test_books_that_close_have_no_problem() -> None:
    rows = make_rows({KEY: 5}, [record(leaves=5)], [watched(CREATED, VALID, SETTLED)])
    assert [row.problems for row in rows] == [[]]
    other = make_rows({KEY: 5}, [record(leaves=5)], [watched(CREATED, SETTLED)])
    other[0].proof_required, other[0].problems = False, []
    assert report([*rows, *other]).problems == []
    assert report([*rows, *other]).to_json()["totals"]["leaves"] == 10


@pytest.mark.parametrize(
    ("answered", "counters", "events", "text"),
    [
        (6, {"leaves": 5}, (CREATED, VALID, SETTLED), "6 relays were answered, 5 are in the miner's books"),
        (5, {"leaves": 4, "late": 1}, (CREATED, VALID, SETTLED), "of 5 relays 1 did not become leaves"),
        (4, {"leaves": 4}, (CREATED, VALID, SETTLED), "4 leaves, but the claim counts 5"),
        (5, {"leaves": 5}, (CREATED, VALID), "claimed 500 uPOKT, settled 0"),
        (
            5,
            {"leaves": 5, "settled": 499},
            (CREATED, VALID, SETTLED),
            "settled 500 uPOKT, in the miner's books 499",
        ),
        (5, {"leaves": 5}, (CREATED, SETTLED), "a proof was required and none was valid"),
        (5, {"leaves": 5}, (CREATED, event("pocket.tokenomics.EventClaimExpired")), "expired"),
        (
            5,
            {"leaves": 5},
            (CREATED, VALID, SETTLED, event("pocket.tokenomics.EventSupplierSlashed")),
            "slashed",
        ),
        (
            5,
            {"leaves": 5},
            (
                CREATED,
                event(
                    "pocket.proof.EventProofValidityChecked",
                    claim_proof_status_int=2,
                    failure_reason="bad path",
                ),
            ),
            "proof invalid: bad path",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    answered: int, counters: dict[str, int], events: tuple[Event, ...], text: str
) -> None:
    row = make_rows({KEY: answered}, [record(**counters)], [watched(*events)])[0]
    assert text in row.problems


def test_a_session_only_one_side_knows_is_a_problem() -> None:
    assert make_rows({KEY: 5}, [], [])[0].problems
    assert make_rows({}, [record(leaves=1)], [])[0].problems
    assert make_rows({}, [], [watched(CREATED)])[0].problems


def test_failed_relays_one_sided_proofs_and_balances_are_problems() -> None:
    rows = make_rows({KEY: 5}, [record(leaves=5)], [watched(CREATED, VALID, SETTLED)])
    problems = report(rows, {"HTTP 500: x": 2}, gas=-1).problems
    assert "2 relays failed: HTTP 500: x" in problems
    assert "every settled session needed a proof" in problems
    assert f"{KEY[0]}: -1 uPOKT between the balance and what was settled" in problems
    assert f"{KEY[0]}: 1001 uPOKT between the balance and what was settled" in report(rows, gas=1001).problems
    assert "no settled session needed a proof" in report([]).problems
