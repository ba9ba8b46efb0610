"""Each answer seen from a real node is told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_protocol.tx_answer import ASK_CHAIN, DROP_ACCOUNT, Outcome, TxAnswer, classify, classify_text

SENDER = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
FAILED = "failed to execute message; message index: {}: rpc error: code = {} desc = "
TAIL = " [cosmos/cosmos-sdk@v0.53.7/baseapp/baseapp.go:1052] with gas used: '98899'"
CLAIM_WINDOW = (
    "current block height (1172) is greater than session claim window close height (1170): "
    "claim attempted outside of the session's claim window"
)
PROOF_WINDOW = (
    "current block height (1166) is less than session's earliest proof commit height (1170): "
    "proof attempted outside of the session's proof window"
)
MISMATCH = (
    "claim compute units: 1998 is not equal to number of relays 2 * compute units per relay 1000 for service "
    "develop-http: mismatch: claim compute units != number of relays * service compute units per relay"
)

BEFORE_INCLUSION = [
    (0, "", "", Outcome.ACCEPTED),
    (
        32,
        "sdk",
        "account sequence mismatch, expected 1, got 77: incorrect account sequence",
        Outcome.WRONG_SEQUENCE,
    ),
    (
        4,
        "sdk",
        "signature verification failed; please verify account number (3) and chain-id (pocket): "
        "(unable to verify single signer signature): unauthorized",
        Outcome.WRONG_SIGNATURE,
    ),
    (
        11,
        "sdk",
        "out of gas in location: ReadPerByte; gasWanted: 1000, gasUsed: 1003: out of gas",
        Outcome.OUT_OF_GAS,
    ),
    (
        5,
        "sdk",
        "spendable balance 999999999799upokt is smaller than 9000000000000000upokt: insufficient funds: insufficient funds",
        Outcome.INSUFFICIENT_FUNDS,
    ),
    (18, "sdk", "unordered tx ttl exceeds 10m0s: invalid request", Outcome.TIMEOUT_TOO_FAR),
    (
        42,
        "sdk",
        "block time: 2026-11-22 11:22:01.796461945 +0000 UTC, "
        "timeout timestamp: 2026-11-22 11:21:01.796461945 +0000 UTC: tx timeout",
        Outcome.TIMED_OUT,
    ),
    (
        18,
        "sdk",
        "unordered transaction must have timeout_timestamp set: invalid request",
        Outcome.TIMEOUT_MISSING,
    ),
    (19, "sdk", "", Outcome.ALREADY_KNOWN),
    (
        18,
        "sdk",
        f"failed to add unordered nonce: sender {SENDER} has already used timeout 1795346653012803921: invalid request",
        Outcome.TIMEOUT_USED,
    ),
    (2, "sdk", "expected 2 wire type, got 6: tx parse error: tx parse error", Outcome.UNDECODABLE),
    (
        13,
        "sdk",
        "insufficient fees; got: 1upokt required: 2upokt: insufficient fee",
        Outcome.INSUFFICIENT_FEE,
    ),
    (20, "sdk", "mempool is full", Outcome.MEMPOOL_FULL),
    (21, "sdk", "tx too large", Outcome.TOO_LARGE),
    (18, "sdk", "something else: invalid request", Outcome.UNKNOWN),
    (77, "elsewhere", "?", Outcome.UNKNOWN),
]
MESSAGES = [
    (0, "FailedPrecondition", CLAIM_WINDOW, Outcome.OUTSIDE_CLAIM_WINDOW),
    (3, "FailedPrecondition", PROOF_WINDOW, Outcome.OUTSIDE_PROOF_WINDOW),
    (12, "FailedPrecondition", "proof not required", Outcome.PROOF_NOT_REQUIRED),
    (0, "FailedPrecondition", 'session ID "aa" and supplier "x": claim not found', Outcome.CLAIM_NOT_FOUND),
    (
        0,
        "FailedPrecondition",
        "supplier x has 1: not enough funds to submit proof",
        Outcome.INSUFFICIENT_FUNDS,
    ),
    (1, "InvalidArgument", MISMATCH, Outcome.MESSAGE_FAILED),
    (
        0,
        "FailedPrecondition",
        "supplier type mismatch: supplier operator address does not match the claim or proof",
        Outcome.MESSAGE_FAILED,
    ),
]


@pytest.mark.parametrize(("code", "codespace", "text", "outcome"), BEFORE_INCLUSION)
def test_answers_before_inclusion(code: int, codespace: str, text: str, outcome: Outcome) -> None:
    assert classify(code, codespace, text) == TxAnswer(outcome, text)
    if text and code:
        assert classify_text(text + TAIL) == TxAnswer(outcome, text)


@pytest.mark.parametrize(("index", "status", "text", "outcome"), MESSAGES)
def test_failed_messages_in_a_block_and_in_a_simulation(
    index: int, status: str, text: str, outcome: Outcome
) -> None:
    log = FAILED.format(index, status) + text
    assert classify(1, "undefined", log) == TxAnswer(outcome, text, index)
    assert classify_text(log + TAIL) == TxAnswer(outcome, text, index)


def test_out_of_gas_within_a_message_names_it() -> None:
    answer = classify(11, "sdk", FAILED.format(2, "Internal") + "out of gas in location: x: out of gas")
    assert (answer.outcome, answer.message_index) == (Outcome.OUT_OF_GAS, 2)


def test_what_is_asked_and_what_is_dropped() -> None:
    assert classify(19, "sdk", "").outcome in ASK_CHAIN
    assert classify(18, "sdk", "failed to add unordered nonce: x").outcome in ASK_CHAIN
    assert classify(32, "sdk", "x").outcome in DROP_ACCOUNT
    assert Outcome.UNKNOWN not in ASK_CHAIN | DROP_ACCOUNT


@given(st.integers(0, 99), st.sampled_from(["", "sdk", "undefined", "proof"]), st.text(max_size=80))
def test_any_answer_is_classified(code: int, codespace: str, text: str) -> None:
    assert (classify(code, codespace, text).outcome is Outcome.ACCEPTED) == (code == 0)
