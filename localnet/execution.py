"""Running a transaction: checks, then messages all or nothing (spec/chain.md §7)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from localnet import bank, gas
from localnet.ante import Mode, run_ante
from localnet.claims import create_claim
from localnet.context import Context
from localnet.events import Event, plain
from localnet.proofs import submit_proof
from localnet.registered_errors import INSUFFICIENT_FUNDS, OUT_OF_GAS, StatusRefused, TransactionRefused
from localnet.tx_decoding import Transaction, decode_transaction, signer_of
from pocket_protocol.pb.cosmos.bank import v1beta1_pb2 as bank_pb2
from pocket_protocol.pb.cosmos.base.abci import v1beta1_pb2 as abci_pb2
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.tx import pack, type_url
from pocket_protocol.wire import encode

UNDEFINED_CODE, UNDEFINED_CODESPACE = 1, "undefined"

_STATUS_NAMES = {
    grpc.StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    grpc.StatusCode.FAILED_PRECONDITION: "FailedPrecondition",
    grpc.StatusCode.NOT_FOUND: "NotFound",
    grpc.StatusCode.INTERNAL: "Internal",
}


@dataclass(frozen=True, slots=True)
class TxResult:
    """What became of a transaction; `data` is the encoded TxMsgData."""

    code: int = 0
    codespace: str = ""
    log: str = ""
    data: bytes = b""
    gas_wanted: int = 0
    gas_used: int = 0
    events: tuple[Event, ...] = ()
    place: str = ""  # where in the node's code a simulation says it failed

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "data": base64.b64encode(self.data).decode() or None,
            "log": self.log,
            "info": "",
            "gas_wanted": str(self.gas_wanted),
            "gas_used": str(self.gas_used),
            "events": [event.to_json() for event in self.events],
            "codespace": self.codespace,
        }


def _send(context: Context, message: bank_pb2.MsgSend) -> bank_pb2.MsgSendResponse:
    try:
        bank.send(
            context.state,
            context.emit,
            message.from_address,
            message.to_address,
            int(message.amount[0].amount),
        )
    except bank.InsufficientFunds as error:
        raise TransactionRefused(INSUFFICIENT_FUNDS, str(error)) from error
    return bank_pb2.MsgSendResponse()


_HANDLERS: dict[type[Message], tuple[str, Callable[[Context, Any], Message]]] = {
    proof_pb2.MsgCreateClaim: ("proof", create_claim),
    proof_pb2.MsgSubmitProof: ("proof", submit_proof),
    bank_pb2.MsgSend: ("bank", _send),
}


@dataclass(slots=True)
class _Progress:
    """How far the messages of a transaction have come."""

    used: int
    limit: int | None  # None: no limit, in a simulation

    def use(self, amount: int) -> None:
        self.used += amount
        if self.limit is not None and self.used > self.limit:
            detail = f"out of gas in location: WritePerByte; gasWanted: {self.limit}, gasUsed: {self.used}"
            raise TransactionRefused(OUT_OF_GAS, detail)


def _run_messages(context: Context, tx: Transaction, progress: _Progress) -> bytes:
    """Run all messages on `context`; return the encoded TxMsgData. Raises `_Failed`, `TransactionRefused`."""
    responses = abci_pb2.TxMsgData()
    for index, message in enumerate(tx.messages):
        module, handle = _HANDLERS[type(message)]
        first = len(context.events)
        context.emit(plain("message", action=type_url(message), sender=signer_of(message), module=module))
        progress.use(gas.of_message(message) // 2)
        try:
            response = handle(context, message)
        except StatusRefused as error:
            name = _STATUS_NAMES.get(error.status, "Unknown")
            text = f"message index: {index}: rpc error: code = {name} desc = {error.text}"
            raise _Failed(f"failed to execute message; {text}") from error
        progress.use(gas.of_message(message) - gas.of_message(message) // 2)
        context.events[first:] = [
            event.with_attribute("msg_index", str(index)) for event in context.events[first:]
        ]
        responses.msg_responses.append(pack(response))
    return encode(responses)


class _Failed(Exception):
    """A message failed; only its text is visible outside."""


def run_transaction(
    context: Context, tx_bytes: bytes, mode: Mode, minimum_gas_price: float = 0.0
) -> TxResult:
    """Run a transaction on `context`; what its checks changed stays when its messages fail.

    In mode CHECK the messages do not run.
    """
    try:
        tx = decode_transaction(tx_bytes)
    except TransactionRefused as error:
        return _refused(error, 0)
    limit = tx.gas_limit
    before = context.layer()
    try:
        used = run_ante(before, tx, mode, minimum_gas_price)
    except TransactionRefused as error:
        return _refused(error, limit)
    before.state.merge_down()
    if mode is Mode.CHECK:
        return TxResult(gas_wanted=limit, gas_used=used)
    return _deliver(context, tx, mode, tuple(before.events), used)


def _deliver(context: Context, tx: Transaction, mode: Mode, events: tuple[Event, ...], used: int) -> TxResult:
    limit = tx.gas_limit
    progress = _Progress(used, None if mode is Mode.SIMULATE else limit)
    running = context.layer()
    try:
        data = _run_messages(running, tx, progress)
    except _Failed as error:
        return TxResult(
            UNDEFINED_CODE,
            UNDEFINED_CODESPACE,
            str(error),
            gas_wanted=limit,
            gas_used=progress.used,
            events=events,
            place="baseapp/baseapp.go:1052",
        )
    except TransactionRefused as error:
        return TxResult(
            error.error.code,
            error.error.codespace,
            str(error),
            gas_wanted=limit,
            gas_used=progress.used,
            events=events,
            place="baseapp/baseapp.go:1052",
        )
    running.state.merge_down()
    return TxResult(data=data, gas_wanted=limit, gas_used=progress.used, events=(*events, *running.events))


def _refused(error: TransactionRefused, gas_wanted: int) -> TxResult:
    return TxResult(
        error.error.code,
        error.error.codespace,
        str(error),
        gas_wanted=gas_wanted,
        gas_used=error.gas_used,
        place=error.place or "x/auth/ante/ante.go",
    )
