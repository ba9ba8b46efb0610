"""Each refusal before delivery, in the block, and at its end: codes and texts (spec/chain.md §5-§7)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from localnet import governance
from localnet.bank import add, balance
from localnet.execution import TxResult
from localnet.grpc_cosmos import SDK_PLACE
from localnet.state import CLAIM
from pocket_protocol import proof_messages
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.smst import Root
from tests.unit.localnet.chains import Tree, World, grown_tree
from tests.unit.localnet.recordings import without_gas
from tests.vectors import load

LIVE_TEXTS = {
    step["what"]: step["grpc_message"] for step in load("chain_live")["steps"] if "grpc_message" in step
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def tree(world: World) -> Tree:
    return grown_tree(world)


def claimed(tree: Tree, root: bytes | None = None) -> None:
    """Bring the chain past the claim, to the last block before the proof window."""
    world = tree.world
    world.to(world.windows().claim_open - 1)
    assert world.deliver(tree.supplier, tree.claim(root)).code == 0
    world.to(world.windows().proof_open - 1)


def judged(tree: Tree, proof: proof_pb2.MsgSubmitProof) -> tuple[int, str]:
    """Deliver a proof that is accepted; return the verdict of its block."""
    world = tree.world
    result = world.deliver(tree.supplier, proof)
    assert result.code == 0, result.log
    events = [e for e in world.chain.block(world.chain.height).events if e.type.endswith("ValidityChecked")]
    assert len(events) == 1
    return int(events[0].value("claim_proof_status_int")), events[0].value("failure_reason")


# --- before delivery ----------------------------------------------------------------------------


def flipped(tx_bytes: bytes) -> bytes:
    return tx_bytes[:-1] + bytes([tx_bytes[-1] ^ 1])


@pytest.mark.parametrize(
    ("terms", "code", "text"),
    [
        ({"chain_id": "other"}, 4, "signature verification failed"),
        ({"account_number": 999}, 4, "chain-id (pocket)"),
        ({"gas_limit": 0}, 11, "out of gas in location: ReadFlat; gasWanted: 0, gasUsed: 1000: out of gas"),
        ({"gas_limit": 1000}, 11, "ReadPerByte; gasWanted: 1000, gasUsed: 1003: out of gas"),
        ({"fee_upokt": 10**18}, 5, "is smaller than 1000000000000000000upokt: insufficient funds"),
        ({"memo": "m" * 257}, 12, "maximum number of characters is 256 but received 257 characters"),
        ({"timeout_timestamp_ns": None}, 18, "unordered transaction must have timeout_timestamp set"),
        ({"timeout_timestamp_ns": 1}, 42, "timeout timestamp: 1970-01-01 00:00:00.000000001 +0000 UTC"),
        ({"timeout_timestamp_ns": 2 * 10**18}, 18, "unordered tx ttl exceeds 10m0s: invalid request"),
        ({"timeout_height": 1}, 30, "timeout height: 1: tx timeout height"),
        ({"unordered": False, "sequence": 7}, 32, "account sequence mismatch, expected 0, got 7: incorrect"),
    ],
)
def test_check_tx(tree: Tree, terms: dict[str, object], code: int, text: str) -> None:
    tree.world.to(5)
    result = tree.world.chain.broadcast(tree.world.transaction("supplier1", tree.claim(), **terms))
    assert (result.code, result.codespace) == (code, "sdk")
    assert text in result.log


@pytest.mark.parametrize(
    ("change", "codespace", "code", "text"),
    [
        (
            lambda m: m.ClearField("session_header"),
            "proof",
            1115,
            "session header is nil: invalid session header",
        ),
        (lambda m: setattr(m, "root_hash", b"x" * 40), "proof", 1104, "got 40 bytes: invalid root hash"),
        (lambda m: setattr(m, "root_hash", b"x" * 40 + b"\0" * 8), "proof", 1104, "has zero count in"),
        (lambda m: setattr(m.session_header, "service_id", "a b"), "proof", 1115, "invalid characters"),
    ],
)
def test_basic_checks_come_with_their_codes(
    tree: Tree, change: Callable[[object], None], codespace: str, code: int, text: str
) -> None:
    message = tree.claim()
    change(message)
    result = tree.world.chain.broadcast(tree.world.transaction("supplier1", message))
    assert (result.codespace, result.code) == (codespace, code)
    assert text in result.log


def test_a_foreign_key_and_an_unknown_account(tree: Tree) -> None:
    world = tree.world
    other = world.plan.keys["supplier2"]
    key = other.public_key(world.chain.curve)
    result = world.chain.broadcast(world.transaction("supplier1", tree.claim(), public_key=key))
    assert (result.code, result.codespace) == (8, "sdk")
    broken = world.chain.broadcast(flipped(world.transaction("supplier1", tree.claim())))
    assert broken.code == 4


def test_nonces_and_known_bytes(tree: Tree) -> None:
    world = tree.world
    world.to(world.windows().claim_open - 1)
    at = world.now_ns + 60 * 10**9
    first = world.transaction("supplier1", tree.claim(), timeout_timestamp_ns=at)
    second = world.transaction("supplier1", tree.claim(), timeout_timestamp_ns=at, memo="other")
    assert world.chain.broadcast(first).code == 0
    assert world.chain.broadcast(first).code == 19
    refused = world.chain.broadcast(second)
    assert refused.code == 18
    supplier = world.address("supplier1")
    assert refused.log == (
        f"failed to add unordered nonce: sender {supplier} has already used timeout {at}: invalid request"
    )
    world.chain.step()
    assert world.chain.broadcast(first).code == 19  # still known after its block
    assert world.chain.broadcast(second).code == 18  # and so is the nonce
    world.now_ns += 100 * 10**9
    world.chain.step()
    assert world.chain.broadcast(second).code == 42


def test_a_transaction_that_failed_in_its_block_is_forgotten_but_its_nonce_is_not(tree: Tree) -> None:
    world = tree.world
    world.to(3)
    tx_bytes = world.transaction("supplier1", tree.claim())
    assert world.chain.broadcast(tx_bytes).code == 0
    before = balance(world.chain.at().state, world.address("supplier1"))
    block = world.chain.step()
    assert (block.results[0].code, block.results[0].codespace) == (1, "undefined")
    assert balance(world.chain.at().state, world.address("supplier1")) == before - 2  # the fee is gone
    assert world.chain.broadcast(tx_bytes).code == 18


def test_ordered_transactions_count_up(tree: Tree) -> None:
    world = tree.world
    world.to(world.windows().claim_open - 1)
    for sequence in (0, 1):
        terms = {"unordered": False, "sequence": sequence, "timeout_timestamp_ns": None}
        assert world.deliver("supplier1", tree.claim(), **terms).code == 0


def test_minimum_gas_price(tree: Tree) -> None:
    tree.world.chain.minimum_gas_price_upokt = 0.00001
    result = tree.world.chain.broadcast(tree.world.transaction("supplier1", tree.claim()))
    assert (result.code, result.log) == (
        13,
        "insufficient fees; got: 2upokt required: 20upokt: insufficient fee",
    )


# --- in the block: claims -----------------------------------------------------------------------


def simulated(world: World, role: str, message: object) -> TxResult:
    """Simulate without a fee, as a miner does."""
    tx_bytes = world.transaction(role, message, gas_limit=0, fee_upokt=0)  # type: ignore[arg-type]
    return world.chain.simulate(tx_bytes)


def shape(text: str, world: World) -> str:
    """Return a text with what differs between two chains made equal."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "SESSION", text)
    text = re.sub(r"pokt1[a-z0-9]{38}", "ADDRESS", text)
    return re.sub(r"\((\d+)\)|height \d+|: \d+ is|relays \d+|relay \d+", "N", without_gas(text))


@pytest.mark.parametrize(
    ("what", "role", "height", "change"),
    [
        ("claim before the claim window", "supplier1", 5, lambda m, w: None),
        ("claim after the claim window", "supplier1", 22, lambda m, w: None),
        (
            "claim with wrong session id",
            "supplier1",
            13,
            lambda m, w: setattr(m.session_header, "session_id", "a" * 64),
        ),
        (
            "claim by an account that is not a session supplier",
            "app1",
            13,
            lambda m, w: setattr(m, "supplier_operator_address", w.address("app1")),
        ),
        (
            "claim whose sum is not count * compute units",
            "supplier1",
            13,
            lambda m, w: setattr(m, "root_hash", Root(b"x" * 32, 1998, 2).to_bytes()),
        ),
        (
            "claim for an address that is not an application",
            "supplier1",
            13,
            lambda m, w: setattr(m.session_header, "application_address", w.address("faucet")),
        ),
        (
            "claim for a service the application is not staked for",
            "supplier1",
            13,
            lambda m, w: setattr(m.session_header, "service_id", "develop-rest"),
        ),
        (
            "claim for a future session",
            "supplier1",
            13,
            lambda m, w: (
                setattr(m.session_header, "session_start_block_height", 2151),
                setattr(m.session_header, "session_end_block_height", 2160),
            ),
        ),
    ],
)
def test_claims_are_refused_with_the_recorded_texts(
    tree: Tree, what: str, role: str, height: int, change: Callable[[object, World], None]
) -> None:
    """The simulation's whole text, and the same reason in a block with code 1 of codespace undefined."""
    world, message = tree.world, tree.claim()
    change(message, world)
    world.to(height)
    simulation = simulated(world, role, message)
    text = f"{simulation.log} [{SDK_PLACE}/{simulation.place}] with gas used: '{simulation.gas_used}'"
    recorded = LIVE_TEXTS[f"simulate: {what}"].replace("develop-websocket", "develop-rest")
    assert shape(text, world) == shape(recorded, world)
    delivered = world.deliver(role, message)
    assert (delivered.code, delivered.codespace) == (1, "undefined")
    assert delivered.log.startswith("failed to execute message; message index: 0: rpc error: code = ")


def test_only_the_session_id_of_a_header_is_compared(tree: Tree) -> None:
    """A start inside the session passes and is stored as sent (spec/chain.md §5.1)."""
    world, message = tree.world, tree.claim()
    message.session_header.session_start_block_height = 4  # type: ignore[attr-defined]
    world.to(world.windows().claim_open - 1)
    assert world.deliver("supplier1", message).code == 0
    ((_, stored),) = world.chain.at().state.items(CLAIM)
    assert stored.session_header.session_start_block_height == 4


@pytest.mark.parametrize(("height", "code"), [(11, 1), (12, 0), (20, 0), (21, 1)])
def test_the_borders_of_the_claim_window_are_inside(tree: Tree, height: int, code: int) -> None:
    tree.world.to(height - 1)
    assert tree.world.deliver("supplier1", tree.claim()).code == code


def test_a_second_claim_overwrites_the_first(tree: Tree) -> None:
    world = tree.world
    world.to(world.windows().claim_open - 1)
    world.deliver("supplier1", tree.claim())
    bigger = Tree(world, tree.header, "supplier1", [*tree.relays, world.relay(tree.header, "supplier1", 99)])
    result = world.deliver("supplier1", bigger.claim())
    assert [e.type for e in result.events][-1] == "pocket.proof.EventClaimUpdated"
    ((_, stored),) = world.chain.at().state.items(CLAIM)
    assert stored.root_hash == bigger.root


def test_one_failing_message_reverts_the_whole_transaction(tree: Tree) -> None:
    world, bad = tree.world, tree.claim()
    bad.session_header.session_id = "b" * 64  # type: ignore[attr-defined]
    world.to(world.windows().claim_open - 1)
    result = world.deliver("supplier1", tree.claim(), bad)
    assert (result.code, "message index: 1:" in result.log) == (1, True)
    assert list(world.chain.at().state.items(CLAIM)) == []


# --- in the block: proofs -----------------------------------------------------------------------


@pytest.mark.parametrize(("height", "code"), [(19, 1), (20, 0), (28, 0), (29, 1)])
def test_the_borders_of_the_proof_window_are_inside(tree: Tree, height: int, code: int) -> None:
    claimed(tree) if height > 19 else None
    if height <= 19:
        tree.world.to(11)
        tree.world.deliver("supplier1", tree.claim())
    tree.world.to(height - 1)
    proof = tree.proof(None if height > 19 else b"\1" * 32)
    result = tree.world.deliver("supplier1", proof)
    assert result.code == code
    if code:
        assert result.log.endswith("proof attempted outside of the session's proof window")


def test_proof_without_a_claim(tree: Tree) -> None:
    tree.world.to(tree.world.windows().proof_open)
    result = tree.world.deliver("supplier1", tree.proof())
    assert result.log.startswith(
        "failed to execute message; message index: 0: rpc error: code = FailedPrecondition"
    )
    assert result.log.endswith("claim not found")


def test_proof_of_another_suppliers_relay(tree: Tree) -> None:
    claimed(tree)
    proof = tree.proof()
    other = proof_messages.submit_proof(
        tree.world.address("supplier2"),
        tree.header,
        proof.proof,  # type: ignore[arg-type,attr-defined]
    )
    result = tree.world.deliver("supplier2", other)
    assert result.log == (
        "failed to execute message; message index: 0: rpc error: code = FailedPrecondition desc = supplier type "
        "mismatch: supplier operator address does not match the claim or proof"
    )


def test_proof_that_is_not_required(world: World) -> None:
    small = grown_tree(world, relays=1)
    claimed(small)
    before = balance(world.chain.at().state, world.address("supplier1"))
    result = world.deliver("supplier1", small.proof())
    assert (
        result.log
        == load("chain_live2")["tx_results_json"]["proof not required"]["result"]["tx_result"]["log"]
    )
    assert balance(world.chain.at().state, world.address("supplier1")) == before - 2  # no submission fee


def test_proof_fee_needs_more_than_the_fee(tree: Tree) -> None:
    claimed(tree)
    supplier = tree.world.address("supplier1")

    def leave_only_the_fee(context: object) -> None:
        state = context.state  # type: ignore[attr-defined]
        add(state, supplier, 1_000_002 - balance(state, supplier))

    tree.world.chain.change(leave_only_the_fee)
    result = tree.world.deliver("supplier1", tree.proof())
    assert result.log.endswith("not enough funds to submit proof")


@pytest.mark.parametrize(("data", "text"), [(b"\xff\x87junk", "invalid proof"), (b"\0", "invalid proof")])
def test_garbage_proof_bytes(tree: Tree, data: bytes, text: str) -> None:
    claimed(tree)
    proof = proof_messages.submit_proof(tree.address, tree.header, data)
    result = tree.world.deliver("supplier1", proof)
    assert (result.code, result.log.endswith(text)) == (1, True)


def test_relay_below_the_difficulty(tree: Tree) -> None:
    claimed(tree)
    wanted = {"service": "develop-http", "target": "00" * 31 + "01", "height": 1}
    tree.world.chain.change(lambda context: governance.change_difficulty(context, wanted))
    result = tree.world.deliver("supplier1", tree.proof())
    assert result.log.endswith("invalid relay difficulty")


# --- accepted, then judged invalid --------------------------------------------------------------


def test_a_good_proof_is_validated_and_resubmitting_updates(tree: Tree) -> None:
    claimed(tree)
    assert judged(tree, tree.proof()) == (1, '""')
    events = tree.world.deliver("supplier1", tree.proof(), tree.proof()).events
    assert [e.type for e in events if "Proof" in e.type] == [
        "pocket.proof.EventProofSubmitted",
        "pocket.proof.EventProofUpdated",
    ]


def test_a_wrong_root_is_judged_invalid_and_repaired_within_the_window(tree: Tree) -> None:
    claimed(tree, Root(b"\7" * 32, 3000, 3).to_bytes())
    status, reason = judged(tree, tree.proof())
    assert (status, reason.endswith('invalid proof"')) == (2, True)
    # the claim window is closed: the claim cannot be repaired, and the supplier is slashed
    tree.world.to(tree.world.windows().settlement)
    types = [e.type.rpartition(".")[2] for e in tree.world.chain.block(28).events]
    assert "EventClaimExpired" in types and "EventSupplierSlashed" in types


def test_a_wrong_path_is_judged_invalid_then_repaired(tree: Tree) -> None:
    claimed(tree)
    status, reason = judged(tree, tree.proof(b"\3" * 32))
    assert status == 2
    assert reason.startswith(f'"the path of the proof provided ({"03" * 32}) does not match one expected')
    assert judged(tree, tree.proof()) == (1, '""')
    tree.world.to(28)
    types = [e.type.rpartition(".")[2] for e in tree.world.chain.block(28).events]
    assert "EventClaimSettled" in types and "EventSupplierSlashed" not in types


def tampered(relay: bytes, part: bytes) -> bytes:
    """Return a relay with one bit flipped right after `part`."""
    position = relay.index(part) + len(part)
    return relay[:position] + bytes([relay[position] ^ 1]) + relay[position + 1 :]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (b"request ", "invalid relay request signature"),
        (b"\x12\x40", "invalid relay response"),
    ],
    ids=["payload of the request", "signature of the response"],
)
def test_a_tampered_relay_is_judged_invalid(world: World, part: bytes, text: str) -> None:
    header = world.session()
    tree = Tree(
        world, header, "supplier1", [tampered(world.relay(header, "supplier1", n), part) for n in range(3)]
    )
    claimed(tree)
    status, reason = judged(tree, tree.proof())
    assert status == 2
    assert text in reason


def test_a_missing_proof_costs_the_penalty_and_the_reward(tree: Tree) -> None:
    claimed(tree)
    tree.world.to(28)
    expired = [e for e in tree.world.chain.block(28).events if e.type.endswith("EventClaimExpired")]
    assert [e.value("expiration_reason") for e in expired] == ['"PROOF_MISSING"']
    slashed = [e for e in tree.world.chain.block(28).events if e.type.endswith("EventSupplierSlashed")]
    assert slashed[0].value("supplier_stake_after_slash") == '"99750000upokt"'
