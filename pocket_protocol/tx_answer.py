"""What a node's answer to a transaction means (spec/chain.md §7, decisions.md C6).

Handlers answer with gRPC statuses, so a message that fails in a block always carries code 1 of codespace
`undefined`: what happened is then only in the text. Whether a window is still closed or closed again is
not: both have the same text, and heights decide.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final


class Outcome(enum.Enum):
    """The kinds of answers a submitter must tell apart."""

    ACCEPTED = "accepted"  # passed the checks before inclusion, or ran in a block
    ALREADY_KNOWN = "already_known"  # these very bytes are in the mempool's cache
    TIMEOUT_USED = "timeout_used"  # another transaction of the signer has this timeout
    TIMED_OUT = "timed_out"  # the block time has passed the timeout
    TIMEOUT_TOO_FAR = "timeout_too_far"  # more than ten minutes ahead of the node's block time
    TIMEOUT_MISSING = "timeout_missing"
    WRONG_SEQUENCE = "wrong_sequence"
    WRONG_SIGNATURE = "wrong_signature"  # also: wrong chain id or account number
    OUT_OF_GAS = "out_of_gas"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INSUFFICIENT_FEE = "insufficient_fee"
    MEMPOOL_FULL = "mempool_full"
    TOO_LARGE = "too_large"
    UNDECODABLE = "undecodable"
    OUTSIDE_CLAIM_WINDOW = "outside_claim_window"
    OUTSIDE_PROOF_WINDOW = "outside_proof_window"
    PROOF_NOT_REQUIRED = "proof_not_required"
    CLAIM_NOT_FOUND = "claim_not_found"
    MESSAGE_FAILED = "message_failed"  # any other message failure
    UNKNOWN = "unknown"


# The transaction may be on the chain all the same: ask it.
ASK_CHAIN: Final = frozenset({Outcome.ALREADY_KNOWN, Outcome.TIMEOUT_USED})
# What is known of the account is wrong: read it again.
DROP_ACCOUNT: Final = frozenset({Outcome.WRONG_SEQUENCE, Outcome.WRONG_SIGNATURE})


@dataclass(frozen=True, slots=True)
class TxAnswer:
    """An answer, read. `message_index` says which message failed, when one did."""

    outcome: Outcome
    text: str  # the reason alone: no source locations, no gas figures
    message_index: int | None = None


_INVALID_REQUEST: Final = 18
_SDK_CODES: Final = {
    2: Outcome.UNDECODABLE,
    4: Outcome.WRONG_SIGNATURE,
    5: Outcome.INSUFFICIENT_FUNDS,
    11: Outcome.OUT_OF_GAS,
    13: Outcome.INSUFFICIENT_FEE,
    19: Outcome.ALREADY_KNOWN,
    20: Outcome.MEMPOOL_FULL,
    21: Outcome.TOO_LARGE,
    32: Outcome.WRONG_SEQUENCE,
    42: Outcome.TIMED_OUT,
}
_INVALID_REQUESTS: Final = (
    ("failed to add unordered nonce", Outcome.TIMEOUT_USED),
    ("unordered tx ttl exceeds", Outcome.TIMEOUT_TOO_FAR),
    ("unordered transaction must have timeout_timestamp set", Outcome.TIMEOUT_MISSING),
)
# Registered texts, in which the text of a failure ends
_ENDINGS: Final = (
    ("tx parse error", Outcome.UNDECODABLE),
    ("unauthorized", Outcome.WRONG_SIGNATURE),
    ("insufficient funds", Outcome.INSUFFICIENT_FUNDS),
    ("out of gas", Outcome.OUT_OF_GAS),
    ("insufficient fee", Outcome.INSUFFICIENT_FEE),
    ("tx already in mempool", Outcome.ALREADY_KNOWN),
    ("mempool is full", Outcome.MEMPOOL_FULL),
    ("tx too large", Outcome.TOO_LARGE),
    ("incorrect account sequence", Outcome.WRONG_SEQUENCE),
    ("tx timeout", Outcome.TIMED_OUT),
)
_MESSAGE_ENDINGS: Final = (
    ("claim attempted outside of the session's claim window", Outcome.OUTSIDE_CLAIM_WINDOW),
    ("proof attempted outside of the session's proof window", Outcome.OUTSIDE_PROOF_WINDOW),
    ("proof not required", Outcome.PROOF_NOT_REQUIRED),
    ("claim not found", Outcome.CLAIM_NOT_FOUND),
    ("not enough funds to submit proof", Outcome.INSUFFICIENT_FUNDS),
    ("failed to deduct proof submission fee", Outcome.INSUFFICIENT_FUNDS),
    ("insufficient funds", Outcome.INSUFFICIENT_FUNDS),
    ("out of gas", Outcome.OUT_OF_GAS),
)
_FAILED_MESSAGE = re.compile(
    r"failed to execute message; message index: (\d{1,9}): (?:rpc error: code = \w+ desc = )?(.*)", re.DOTALL
)
_SIMULATION_TAIL = re.compile(r" \[[^\[\]]*:\d+\] with gas used: '\d+'\s*$")


def classify(code: int, codespace: str, text: str) -> TxAnswer:
    """Read the answer of a broadcast or the result of a transaction in a block."""
    if code == 0:
        return TxAnswer(Outcome.ACCEPTED, text)
    if codespace == "sdk" and code in _SDK_CODES:
        return TxAnswer(_SDK_CODES[code], text, _message_index(text))
    if codespace == "sdk" and code == _INVALID_REQUEST:
        return TxAnswer(_beginning(text), text)
    return classify_text(text)


def classify_text(text: str) -> TxAnswer:
    """Read an answer of which there is only a text: a failed simulation, or a message failed in a block."""
    text = _SIMULATION_TAIL.sub("", text)
    failed = _FAILED_MESSAGE.search(text)
    if failed is not None:
        outcome = _ending(failed[2], _MESSAGE_ENDINGS, Outcome.MESSAGE_FAILED)
        return TxAnswer(outcome, failed[2], int(failed[1]))
    outcome = _beginning(text)
    if outcome is Outcome.UNKNOWN:
        outcome = _ending(text, (*_MESSAGE_ENDINGS, *_ENDINGS), Outcome.UNKNOWN)
    return TxAnswer(outcome, text)


def _message_index(text: str) -> int | None:
    failed = _FAILED_MESSAGE.search(text)
    return None if failed is None else int(failed[1])


def _beginning(text: str) -> Outcome:
    return next((outcome for part, outcome in _INVALID_REQUESTS if part in text), Outcome.UNKNOWN)


def _ending(text: str, endings: tuple[tuple[str, Outcome], ...], default: Outcome) -> Outcome:
    lowered = text.rstrip().lower()
    return next((outcome for ending, outcome in endings if lowered.endswith(ending)), default)
