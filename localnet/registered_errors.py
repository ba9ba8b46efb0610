"""Errors the network has a code for, and the ways the local chain refuses (spec/chain.md Appendix B, §7).

A registered error is `detail: registered text` with a codespace and a code. Where a transaction is refused
decides what of it can be seen: before delivery the code itself, inside a block only the text (code 1 of
codespace `undefined`), in a query a gRPC status.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from pocket_protocol.errors import Refused
from pocket_protocol.session_header import RegisteredError


@dataclass(frozen=True, slots=True)
class Registered:
    """One line of the registry."""

    codespace: str
    code: int
    text: str

    def wrap(self, detail: str) -> str:
        return f"{detail}: {self.text}" if detail else self.text


class TransactionRefused(Refused):
    """A transaction refused before its messages run: the answer carries the registered code."""

    reason = "transaction_refused"
    summary = "transaction refused"

    def __init__(self, error: Registered, detail: str = "", *, gas_used: int = 0, place: str = "") -> None:
        super().__init__(error.wrap(detail))
        self.error, self.gas_used, self.place = error, gas_used, place

    @classmethod
    def because(cls, error: RegisteredError) -> TransactionRefused:
        """Return the refusal that a rule of the protocol core stands for, with its code and text."""
        refusal = cls(Registered(error.codespace, error.code, error.summary))
        refusal.detail = str(error)
        return refusal


class StatusRefused(Refused):
    """A query or a message refused with a gRPC status and a text."""

    reason = "status_refused"
    summary = "refused"

    def __init__(self, status: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def invalid_argument(text: str) -> StatusRefused:
    return StatusRefused(grpc.StatusCode.INVALID_ARGUMENT, text)


def failed_precondition(text: str) -> StatusRefused:
    return StatusRefused(grpc.StatusCode.FAILED_PRECONDITION, text)


def not_found(text: str) -> StatusRefused:
    return StatusRefused(grpc.StatusCode.NOT_FOUND, text)


def internal(text: str) -> StatusRefused:
    return StatusRefused(grpc.StatusCode.INTERNAL, text)


# codespace session
SESSION_HYDRATION = Registered("session", 1101, "error during session hydration")
SESSION_APP_NOT_FOUND = Registered("session", 1102, "application for session not found not found ")
SESSION_APP_NOT_STAKED = Registered(
    "session", 1103, "application in session not staked for requested service"
)
SESSION_SUPPLIERS_NOT_FOUND = Registered("session", 1104, "no suppliers not found for session")
SESSION_INVALID_APP_ADDRESS = Registered("session", 1105, "invalid application address for session")
SESSION_INVALID_BLOCK_HEIGHT = Registered("session", 1107, "invalid block height for session")
SESSION_APP_NOT_ACTIVE = Registered("session", 1109, "application is not active")

# codespace proof
PROOF_INVALID_ADDRESS = Registered("proof", 1101, "invalid address")
PROOF_SUPPLIER_NOT_FOUND = Registered("proof", 1102, "supplier not found")
PROOF_CLAIM_NOT_FOUND = Registered("proof", 1106, "claim not found")
PROOF_PROOF_NOT_FOUND = Registered("proof", 1107, "proof not found")
PROOF_INVALID_PROOF = Registered("proof", 1108, "invalid proof")
PROOF_INVALID_RELAY = Registered("proof", 1109, "invalid relay")
PROOF_INVALID_RELAY_REQUEST = Registered("proof", 1110, "invalid relay request")
PROOF_INVALID_RELAY_RESPONSE = Registered("proof", 1111, "invalid relay response")
PROOF_PUBLIC_KEY_NOT_FOUND = Registered("proof", 1114, "public key not found")
PROOF_INVALID_SESSION_ID = Registered("proof", 1116, "invalid session ID")
PROOF_INVALID_SESSION_END = Registered("proof", 1117, "invalid session end height")
PROOF_INVALID_SESSION_START = Registered("proof", 1118, "invalid session start height")
PROOF_CLAIM_OUTSIDE_WINDOW = Registered(
    "proof", 1121, "claim attempted outside of the session's claim window"
)
PROOF_PROOF_OUTSIDE_WINDOW = Registered(
    "proof", 1122, "proof attempted outside of the session's proof window"
)
PROOF_SUPPLIER_MISMATCH = Registered(
    "proof", 1123, "supplier operator address does not match the claim or proof"
)
PROOF_SERVICE_NOT_FOUND = Registered("proof", 1125, "service not found")
PROOF_COMPUTE_UNITS_MISMATCH = Registered(
    "proof", 1126, "mismatch: claim compute units != number of relays * service compute units per relay"
)
PROOF_NOT_ENOUGH_FUNDS = Registered("proof", 1127, "not enough funds to submit proof")
PROOF_NOT_REQUIRED = Registered("proof", 1129, "proof not required")
PROOF_INVALID_DIFFICULTY = Registered("proof", 1130, "invalid relay difficulty")

# other modules
SERVICE_NOT_FOUND = Registered("service", 1117, "service not found")
SUPPLIER_NOT_FOUND = Registered("supplier", 1103, "supplier not found")
APPLICATION_NOT_FOUND = Registered("application", 1104, "application not found")

# codespace sdk
UNAUTHORIZED = Registered("sdk", 4, "unauthorized")
INSUFFICIENT_FUNDS = Registered("sdk", 5, "insufficient funds")
UNKNOWN_REQUEST = Registered("sdk", 6, "unknown request")
INVALID_ADDRESS = Registered("sdk", 7, "invalid address")
INVALID_PUBKEY = Registered("sdk", 8, "invalid pubkey")
UNKNOWN_ADDRESS = Registered("sdk", 9, "unknown address")
INVALID_COINS = Registered("sdk", 10, "invalid coins")
OUT_OF_GAS = Registered("sdk", 11, "out of gas")
MEMO_TOO_LARGE = Registered("sdk", 12, "memo too large")
INSUFFICIENT_FEE = Registered("sdk", 13, "insufficient fee")
NO_SIGNATURES = Registered("sdk", 15, "no signatures supplied")
INVALID_REQUEST = Registered("sdk", 18, "invalid request")
TX_IN_MEMPOOL_CACHE = Registered("sdk", 19, "tx already in mempool")
MEMPOOL_IS_FULL = Registered("sdk", 20, "mempool is full")
TX_TIMEOUT_HEIGHT = Registered("sdk", 30, "tx timeout height")
WRONG_SEQUENCE = Registered("sdk", 32, "incorrect account sequence")
TX_TIMEOUT = Registered("sdk", 42, "tx timeout")
