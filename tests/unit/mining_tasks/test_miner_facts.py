"""What a miner may conclude from a node's answers: a relay is thrown away only when the chain has decided."""

from __future__ import annotations

import pytest

from mining_tasks.miner_facts import MinerFacts, SupplierNotInSession, process_caches
from pocket_chain.facts import NoSession
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol import session
from pocket_protocol.coin import coin_of
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.pb.pocket.session_pb2 import Session, SessionHeader
from pocket_protocol.types import Height
from relay_store.block_feed import BlockFeed
from relay_store.connection import Store
from relay_store.keys import Keys
from tests.unit.relayer_web.relay_world import PARAMS, SERVICE, MemoryChain, address

SUPPLIER = address("supplier")


class Chain(MemoryChain):
    """Refuses sessions with `refusal` when there is one."""

    refusal: NodeUnavailable | None = None

    def session(self, application: str, service_id: str, height: int) -> Session:
        if self.refusal is not None:
            raise self.refusal
        return super().session(application, service_id, height)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def facts(chain: Chain, store: Store) -> MinerFacts:
    return MinerFacts(chain, BlockFeed(store.client, height_key=Keys().height()))  # type: ignore[arg-type]


def header() -> SessionHeader:
    return session.session_header(PARAMS, address("app"), SERVICE, 101, bytes(32))


def refusal(text: str, code: str = "INTERNAL", height: int = 200) -> NodeUnavailable:
    error = NodeUnavailable(code=code, text=text)
    error.height = Height(height)
    return error


def test_a_session_with_all_that_is_known_of_it(chain: Chain, facts: MinerFacts) -> None:
    found = facts.facts(SUPPLIER, header())
    assert found is not None
    assert (found.header, found.cupr, found.target) == (header(), chain.units, BASE_TARGET)
    assert found.windows is not None and found.windows.session_end == 110


def test_a_supplier_of_another_session(facts: MinerFacts) -> None:
    with pytest.raises(SupplierNotInSession):
        facts.facts("pokt1stranger", header())


def test_as_many_of_a_kind_are_remembered_as_the_configuration_says() -> None:
    asked: list[int] = []
    prices = process_caches(limit=64)("compute_units", lambda key: asked.append(key) or key, pinned=True)
    for height in (*range(65), 64, 1, 0):
        prices.get(height)
    assert asked == [*range(65), 0]


@pytest.mark.parametrize(
    "text",
    [
        "application for session not found app with address: x",
        "application in session not staked for requested service",
        "could not find suppliers for service x",
    ],
)
def test_no_session_when_the_chain_has_decided(chain: Chain, facts: MinerFacts, text: str) -> None:
    chain.refusal = refusal(text)
    with pytest.raises(NoSession):
        facts.facts(SUPPLIER, header())


@pytest.mark.parametrize(
    "error",
    [
        refusal("application for session not found", height=100),  # a state before the session
        refusal("application for session not found", height=0),  # of no known state
        refusal("out of memory"),
        refusal("deadline exceeded", code="DEADLINE_EXCEEDED"),
    ],
    ids=["behind", "height unknown", "about the node", "no answer"],
)
def test_anything_else_decides_nothing(chain: Chain, facts: MinerFacts, error: NodeUnavailable) -> None:
    chain.refusal = error
    assert facts.facts(SUPPLIER, header()) is None


def test_compute_units_that_cannot_be_asked_are_unknown_not_those_of_now(
    chain: Chain, facts: MinerFacts
) -> None:
    def unknown(service_id: str, height: int) -> int:
        raise NodeUnavailable(code="UNIMPLEMENTED", text="no history")

    chain.compute_units_per_relay_at = unknown  # type: ignore[method-assign]
    found = facts.facts(SUPPLIER, header())
    assert found is not None and found.cupr is None and found.weight == 0


def test_the_claim_ceiling_is_the_stake_s_share(chain: Chain, facts: MinerFacts) -> None:
    chain.apps[address("app")].stake.CopyFrom(coin_of(1_000_003))
    chain.num_suppliers = 7
    expected = 1_000_003 // PARAMS.num_pending_sessions // 7
    assert facts.claim_ceiling_upokt(address("app"), 110) == expected
