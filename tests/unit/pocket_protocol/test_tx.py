"""Transactions, fees, batches and timeouts; the recorded ones to the byte."""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import proof_messages, tx
from pocket_protocol.curve import load_curve
from pocket_protocol.errors import Malformed
from pocket_protocol.gas import (
    CLAIM_GAS,
    PROOF_GAS,
    BadGasPrice,
    GasCost,
    GasPrice,
    adjusted_gas,
    fee_upokt,
    parse_gas_price,
)
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import TxRaw
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim, MsgSubmitProof
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.signer import PrivateKey, sign, verify
from pocket_protocol.tx import Terms, UndecodableTransaction
from pocket_protocol.tx_batch import ENVELOPE_BYTES, message_bytes, split_batches
from pocket_protocol.tx_timeout import NANOS, timeout_timestamp_ns, ttl_s
from pocket_protocol.types import PublicKey, SupplierAddress, Upokt
from tests.vectors import load

RECORDED = load("chain_tx")
named = {"ids": lambda case: case.get("name") or case.get("case")}


def _terms(recorded: dict) -> Terms:
    timeout = recorded["timeout_timestamp_unix_nanos"]
    return Terms(
        chain_id=recorded["chain_id"],
        account_number=recorded["account_number"],
        public_key=PublicKey(bytes.fromhex(recorded["public_key_hex"])),
        gas_limit=recorded["gas_limit"],
        fee_upokt=Upokt(sum(int(coin["amount"]) for coin in recorded["fee"])),
        memo=recorded["memo"],
        timeout_timestamp_ns=int(timeout) if timeout else None,
        timeout_height=recorded["timeout_height"],
        unordered=recorded["unordered"],
        sequence=recorded["sequence_signed"],
    )


@pytest.mark.parametrize("recorded", RECORDED["transactions"], **named)
def test_transactions_equal_the_network(recorded: dict) -> None:
    terms = _terms(recorded)
    read = tx.decode_transaction(bytes.fromhex(recorded["tx_raw_hex"]))
    assert tx.body_bytes(read.messages, terms).hex() == recorded["body_bytes_hex"]
    assert tx.auth_info_bytes(terms).hex() == recorded["auth_info_bytes_hex"]
    document = tx.sign_doc_bytes(
        read.body_bytes, read.auth_info_bytes, recorded["chain_id"], recorded["account_number"]
    )
    assert document.hex() == recorded["sign_doc_bytes_hex"]
    curve = load_curve()
    key = PrivateKey.from_hex(recorded["private_key_hex"])
    signed = tx.signed_transaction(read.messages, terms, lambda message: sign(curve, key, message))
    assert signed.hex() == recorded["tx_raw_hex"]
    assert tx.tx_hash(signed) == recorded["tx_hash"]
    assert read.timeout_timestamp_ns == terms.timeout_timestamp_ns
    assert verify(curve, terms.public_key, document, read.signatures[0])


@pytest.mark.parametrize("recorded", RECORDED["transactions"][:3], **named)
def test_messages_are_built_from_their_values(recorded: dict) -> None:
    for message in recorded["messages"]:
        header = message["session_header"]
        built_header = SessionHeader(
            **{name: value for name, value in header.items() if name != "marshaled_hex"}
        )
        supplier = SupplierAddress(message["supplier_operator_address"])
        if "root_hash_hex" in message:
            built = proof_messages.create_claim(
                supplier, built_header, bytes.fromhex(message["root_hash_hex"])
            )
            proof_messages.validate_create_claim(built)
        else:
            built = proof_messages.submit_proof(supplier, built_header, bytes.fromhex(message["proof_hex"]))
            proof_messages.validate_submit_proof(built)
        packed = tx.pack(built)
        assert (packed.type_url, packed.value.hex()) == (message["type_url"], message["value_hex"])


TERMS = Terms("pocket", 1, PublicKey(bytes(33)), timeout_timestamp_ns=5)
SMALL = tx.signed_transaction(
    [MsgCreateClaim(supplier_operator_address="s")], TERMS, lambda message: bytes(64)
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0e", id="wire type"),
        pytest.param(SMALL[:-1], id="cut off"),
        pytest.param(SMALL + b"\x22\x01a", id="unknown field of the transaction"),
        pytest.param(SMALL + b"\x0a\x00", id="descending fields"),
        pytest.param(b"\x0a\x80\x00", id="length longer than need be"),
        pytest.param(TxRaw(body_bytes=b"\x0a\x09\x0a\x07/a.B.Cd").SerializeToString(), id="unknown message"),
        pytest.param(TxRaw(body_bytes=b"\x2a\x06\x10\xff\xff\xff\xff\x0f").SerializeToString(), id="nanos"),
        pytest.param(
            TxRaw(auth_info_bytes=b"\x7a\x00").SerializeToString(), id="unknown field of the signers"
        ),
    ],
)
def test_bytes_that_are_no_transaction_are_refused(data: bytes) -> None:
    with pytest.raises(UndecodableTransaction, match="tx parse error"):
        tx.decode_transaction(data)


def test_the_wire_type_text_is_the_network_s() -> None:
    with pytest.raises(UndecodableTransaction) as refused:
        tx.decode_transaction(b"\x0e\x01")
    assert str(refused.value) == "expected 2 wire type, got 6: tx parse error: tx parse error"
    assert (refused.value.codespace, refused.value.code) == ("sdk", 2)


@given(
    st.binary(max_size=80)
    | st.integers(0, len(SMALL) - 1).map(lambda cut: SMALL[:cut] + b"\xff" + SMALL[cut + 1 :])
)
def test_arbitrary_bytes_give_a_transaction_or_a_typed_refusal(data: bytes) -> None:
    try:
        tx.decode_transaction(data)
    except Malformed as error:
        assert isinstance(error, UndecodableTransaction)


messages = st.lists(
    st.builds(MsgCreateClaim, supplier_operator_address=st.text(max_size=5), root_hash=st.binary(max_size=50))
    | st.builds(MsgSubmitProof, proof=st.binary(max_size=300)),
    max_size=5,
)


@settings(max_examples=80)
@given(
    messages,
    st.builds(
        Terms,
        st.text(max_size=9),
        st.integers(0, 2**64 - 1),
        st.binary(min_size=33, max_size=33),
        st.integers(0, 2**63),
        st.integers(0, 10**12),
        st.text(max_size=9),
        st.none() | st.integers(0, 2**62),
        st.integers(0, 2**40),
        st.booleans(),
        st.integers(0, 2**40),
    ),
)
def test_transactions_return(sent: list, terms: Terms) -> None:
    signed = tx.signed_transaction(sent, terms, lambda message: b"s" * 64)
    read = tx.decode_transaction(signed)
    assert list(read.messages) == sent
    assert (read.body_bytes, read.auth_info_bytes) == (tx.body_bytes(sent, terms), tx.auth_info_bytes(terms))
    assert read.timeout_timestamp_ns == terms.timeout_timestamp_ns
    assert (read.body.unordered, read.body.memo, read.signatures) == (
        terms.unordered,
        terms.memo,
        (b"s" * 64,),
    )
    assert sum(map(message_bytes, sent)) <= len(signed) <= sum(map(message_bytes, sent)) + ENVELOPE_BYTES


# fees


@pytest.mark.parametrize(
    "case", RECORDED["fee_rounding"], ids=lambda case: f"{case['gas_limit']} {case['gas_price']}"
)
def test_fees_are_rounded_up(case: dict) -> None:
    fee = fee_upokt(case["gas_limit"], parse_gas_price(case["gas_price"]))
    assert (f"{fee}upokt" if fee else "") == case["fee"]


@pytest.mark.parametrize("case", RECORDED["gas_adjustment"], ids=lambda case: str(case["simulated_gas"]))
def test_simulated_gas_is_adjusted(case: dict) -> None:
    assert adjusted_gas(case["simulated_gas"], case["gas_adjustment"]) == case["gas_limit"]


@pytest.mark.parametrize("adjustment", [0.0, 0.99, -1.0, float("nan"), float("inf")])
def test_an_adjustment_that_cannot_be_meant_is_refused(adjustment: float) -> None:
    with pytest.raises(ValueError, match="gas adjustment"):
        adjusted_gas(1, adjustment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "upokt",
        "1pokt",
        "-1upokt",
        "1.upokt",
        ".1upokt",
        "1e3upokt",
        "0." + "0" * 18 + "1upokt",
        "١upokt",
    ],
)
def test_prices_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadGasPrice):
        parse_gas_price(text)


def test_prices_are_exact() -> None:
    assert parse_gas_price(" 0.00001upokt ") == GasPrice(10**13)
    assert parse_gas_price("12.000000000000000001upokt") == GasPrice(12 * 10**18 + 1)
    assert (CLAIM_GAS.of(2), PROOF_GAS.of(0)) == (149_000, 41_000)


# message checks


def test_message_checks_have_the_texts_of_the_network() -> None:
    recorded = {case["case"]: case["error"] for case in RECORDED["message_validate_basic"]}
    claim = tx.decode_transaction(bytes.fromhex(RECORDED["transactions"][0]["tx_raw_hex"])).messages[0]
    proof = tx.decode_transaction(bytes.fromhex(RECORDED["transactions"][2]["tx_raw_hex"])).messages[0]
    assert isinstance(claim, MsgCreateClaim)
    assert isinstance(proof, MsgSubmitProof)

    def claim_text(**changes: object) -> str:
        return _text(proof_messages.validate_create_claim, claim, changes)

    def proof_text(**changes: object) -> str:
        return _text(proof_messages.validate_submit_proof, proof, changes)

    digest = bytes.fromhex("73f45c0337ce06da02ebfa6bd1ecb19eb64ab02a0e31e67ada4615c3a697054d")
    checked = {
        "claim ok": claim_text(),
        "claim bad address": claim_text(supplier_operator_address="pokt1bad"),
        "claim nil header": claim_text(session_header=None),
        "claim header without session id": claim_text(session_id=""),
        "claim header start 0": claim_text(session_start_block_height=0),
        "claim header end<=start": claim_text(session_end_block_height=1),
        "claim header bad app": claim_text(application_address="x"),
        "claim header bad service": claim_text(service_id="a b"),
        "claim header empty service": claim_text(service_id=""),
        "claim header long service": claim_text(service_id="s" * 43),
        "claim root 40 bytes": claim_text(root_hash=bytes(40)),
        "claim root 49 bytes": claim_text(root_hash=bytes(49)),
        "claim root empty": claim_text(root_hash=b""),
        "claim count zero": claim_text(root_hash=digest + bytes(7) + b"\x0a" + bytes(8)),
        "claim sum zero": claim_text(root_hash=digest + bytes(15) + b"\x02"),
        "proof ok": proof_text(),
        "proof bad address": proof_text(supplier_operator_address="pokt1bad"),
        "proof nil header": proof_text(session_header=None),
        "proof bad header": proof_text(session_id=""),
        "proof empty": proof_text(proof=b""),
    }
    assert checked == recorded


def _text(check, message, changes: dict[str, object]) -> str:
    altered = type(message)()
    altered.CopyFrom(message)
    for name, value in changes.items():
        if value is None:
            altered.ClearField(name)
        else:
            setattr(
                altered if name in altered.DESCRIPTOR.fields_by_name else altered.session_header, name, value
            )
    try:
        check(altered)
    except Malformed as error:
        return str(error)
    return ""


# batches


@given(st.lists(st.integers(1, 400), max_size=40), st.integers(600, 2000), st.none() | st.integers(1, 100))
def test_batches_keep_order_and_bounds(sizes: list[int], max_bytes: int, max_gas: int | None) -> None:
    gas = GasCost(10, 7)
    batches = split_batches(sizes, gas=gas, max_bytes=max_bytes, max_gas=max_gas)
    assert [index for batch in batches for index in batch] == list(range(len(sizes)))
    for batch, following in itertools.zip_longest(batches, batches[1:]):
        used = ENVELOPE_BYTES + sum(sizes[index] for index in batch)
        if len(batch) > 1:
            assert used <= max_bytes
            assert max_gas is None or gas.of(len(batch)) <= max_gas
        if following is not None:
            one_more_gas = gas.of(len(batch) + 1)
            assert used + sizes[following[0]] > max_bytes or (max_gas is not None and one_more_gas > max_gas)


def test_a_message_over_the_bounds_stands_alone() -> None:
    assert split_batches([9, 10_000, 9], gas=CLAIM_GAS, max_bytes=1000) == [
        range(1),
        range(1, 2),
        range(2, 3),
    ]


# timeouts


@pytest.mark.parametrize(
    ("blocks", "block_time_s", "expected"),
    [
        (None, 60, 120),
        (0, 60, 120),
        (3, 60, 120),
        (4, 60, 180),
        (4, 30, 120),
        (10, 60, 540),
        (11, 60, 590),
        (10**6, 60, 590),
    ],
)
def test_time_to_live_is_clamped_after_the_skew(
    blocks: int | None, block_time_s: float, expected: float
) -> None:
    assert ttl_s(blocks, block_time_s) == expected


ATTEMPT = {
    "supplier": "pokt1s",
    "session_end_height": 60,
    "phase": "claim",
    "member_ids": ("a", "b"),
    "attempt": 1,
    "anchor_ns": 1_767_225_600_123_456_789,
    "ttl_s": 120.0,
}


def test_the_timeout_is_one_value_per_attempt() -> None:
    timeout = timeout_timestamp_ns(**ATTEMPT)
    parts = b"\0\0\0\x06pokt1s" b"\0\0\0\x0260" b"\0\0\0\x05claim" b"\0\0\0\x011" b"\0\0\0\x01a" b"\0\0\0\x01b"  # fmt: skip
    nanos = int.from_bytes(sha256(parts).digest()[:8], "big") % (NANOS - 1) + 1
    assert timeout == 1_767_225_719 * NANOS + nanos
    assert timeout == timeout_timestamp_ns(**ATTEMPT | {"member_ids": ["b", "a"]})
    others = [
        ATTEMPT | change
        for change in (
            {"supplier": "pokt1t"},
            {"session_end_height": 61},
            {"phase": "proof"},
            {"member_ids": ("a",)},
            {"member_ids": ("ab",)},
            {"member_ids": ("a", "c")},
            {"attempt": 2},
            {"anchor_ns": ATTEMPT["anchor_ns"] + NANOS},
        )
    ]
    assert len({timeout, *(timeout_timestamp_ns(**other) for other in others)}) == 1 + len(others)


@given(st.integers(NANOS, 2**61), st.floats(2, 600), st.integers(0, 99))
def test_the_timeout_never_exceeds_its_bound(anchor_ns: int, time_to_live_s: float, attempt: int) -> None:
    changes = {"anchor_ns": anchor_ns, "ttl_s": time_to_live_s, "attempt": attempt}
    timeout = timeout_timestamp_ns(**ATTEMPT | changes)
    assert 0 <= anchor_ns + int(time_to_live_s * NANOS) - timeout < 2 * NANOS
    assert timeout > anchor_ns
    assert timeout % NANOS


def test_a_time_to_live_the_chain_refuses_is_refused() -> None:
    for wrong in (601.0, 1.0, -5.0):
        with pytest.raises(ValueError, match="time to live"):
            timeout_timestamp_ns(**ATTEMPT | {"ttl_s": wrong})
