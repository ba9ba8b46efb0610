"""The services of the Cosmos SDK that relay miners use: auth, bank, tx (spec/chain.md §1, §7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from localnet import bank
from localnet.blocks import Block, rfc3339
from localnet.context import Context
from localnet.event_query import matches, parse_query
from localnet.events import by_composite_key
from localnet.execution import TxResult
from localnet.node_view import NodeView, Refusing
from localnet.registered_errors import StatusRefused, internal, invalid_argument, not_found
from localnet.state import ACCOUNT, Account
from pocket_protocol.address import parse_address
from pocket_protocol.coin import coin_of
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.auth import v1beta1_pb2 as auth_pb2
from pocket_protocol.pb.cosmos.bank import v1beta1_pb2 as bank_pb2
from pocket_protocol.pb.cosmos.base.abci import v1beta1_pb2 as abci_pb2
from pocket_protocol.pb.cosmos.base.v1beta1_pb2 import Coin
from pocket_protocol.pb.cosmos.crypto.secp256k1_pb2 import PubKey
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.tx import pack, tx_hash
from pocket_protocol.wire import decode, encode

SDK_PLACE = "cosmos/cosmos-sdk@v0.53.7"
_NO_GAS_LIMIT = 2**64 - 1


def account(context: Context, request: auth_pb2.QueryAccountRequest) -> auth_pb2.QueryAccountResponse:
    try:
        parse_address(request.address)
    except Malformed as error:
        raise StatusRefused(grpc.StatusCode.UNKNOWN, str(error)) from error
    found: Account | None = context.state.get(ACCOUNT, request.address)
    if found is None:
        raise not_found(f"account {request.address} not found")
    base = auth_pb2.BaseAccount(address=found.address, account_number=found.number, sequence=found.sequence)
    if found.public_key:
        base.pub_key.CopyFrom(pack(PubKey(key=found.public_key)))
    shown: AnyMessage = pack(base)
    if found.module:
        module = auth_pb2.ModuleAccount(base_account=base, name=found.module, permissions=found.permissions)
        shown = pack(module)
    return auth_pb2.QueryAccountResponse(account=shown)


def balance(context: Context, request: bank_pb2.QueryBalanceRequest) -> bank_pb2.QueryBalanceResponse:
    try:
        parse_address(request.address)
    except Malformed as error:
        raise invalid_argument(f"invalid address: {error}") from error
    if request.denom != bank.DENOM:
        return bank_pb2.QueryBalanceResponse(balance=Coin(denom=request.denom, amount="0"))
    return bank_pb2.QueryBalanceResponse(balance=coin_of(bank.balance(context.state, request.address)))


def simulate(view: NodeView, request: tx_pb2.SimulateRequest) -> tx_pb2.SimulateResponse:
    tx_bytes = request.tx_bytes
    if not tx_bytes:
        raise invalid_argument("empty txBytes is not allowed")
    result = view.chain.simulate(tx_bytes, view.height)
    if result.code:
        text = f"{result.log} [{SDK_PLACE}/{result.place}] with gas used: '{result.gas_used}'"
        raise StatusRefused(grpc.StatusCode.UNKNOWN, text)
    responses = decode(abci_pb2.TxMsgData, result.data).msg_responses
    return tx_pb2.SimulateResponse(
        gas_info=abci_pb2.GasInfo(gas_wanted=_NO_GAS_LIMIT, gas_used=result.gas_used),
        result=abci_pb2.Result(
            data=result.data,
            events=[event.to_proto(index=False) for event in result.events],
            msg_responses=responses,
        ),
    )


def broadcast_tx(view: NodeView, request: tx_pb2.BroadcastTxRequest) -> tx_pb2.BroadcastTxResponse:
    if not request.tx_bytes:
        raise invalid_argument("invalid empty tx")
    if request.mode not in (tx_pb2.BROADCAST_MODE_SYNC, tx_pb2.BROADCAST_MODE_ASYNC):
        text = f"unsupported return type {request.mode}; supported types: sync, async"
        raise invalid_argument(text)
    result = view.chain.broadcast(request.tx_bytes, view.height)
    if view.loses_answer():
        raise Refusing(method="the answer of a broadcast")
    response = abci_pb2.TxResponse(
        txhash=tx_hash(request.tx_bytes),
        code=result.code,
        codespace=result.codespace,
        raw_log=result.log,
    )
    return tx_pb2.BroadcastTxResponse(tx_response=response)


def _shown_tx(tx_bytes: bytes) -> tx_pb2.Tx:
    raw = decode(tx_pb2.TxRaw, tx_bytes)
    return tx_pb2.Tx(
        body=decode(tx_pb2.TxBody, raw.body_bytes),
        auth_info=decode(tx_pb2.AuthInfo, raw.auth_info_bytes),
        signatures=raw.signatures,
    )


def _second(block: Block) -> str:
    return rfc3339(block.time_ns // 10**9 * 10**9)


def _tx_response(block: Block, index: int, shown: tx_pb2.Tx) -> abci_pb2.TxResponse:
    result = block.results[index]
    return abci_pb2.TxResponse(
        height=block.height,
        txhash=tx_hash(block.txs[index]),
        code=result.code,
        codespace=result.codespace,
        data=result.data.hex().upper(),
        raw_log=result.log,
        gas_wanted=result.gas_wanted,
        gas_used=result.gas_used,
        tx=AnyMessage(type_url="/cosmos.tx.v1beta1.Tx", value=encode(shown)),
        timestamp=_second(block),
        events=[event.to_proto() for event in result.events],
    )


def get_tx(view: NodeView, request: tx_pb2.GetTxRequest) -> tx_pb2.GetTxResponse:
    if not request.hash:
        raise invalid_argument("tx hash cannot be empty")
    found = view.chain.find_transaction(request.hash.upper())
    if found is None or found[0].height > view.height:
        raise not_found(f"tx not found: {request.hash}")
    shown = _shown_tx(found[0].txs[found[1]])
    return tx_pb2.GetTxResponse(tx=shown, tx_response=_tx_response(*found, shown))


def get_txs_event(view: NodeView, request: tx_pb2.GetTxsEventRequest) -> tx_pb2.GetTxsEventResponse:
    if not request.query:
        raise internal("query cannot be empty")
    try:
        conditions = parse_query(request.query)
    except Malformed as error:
        raise internal(str(error)) from error

    def wanted(result: TxResult) -> bool:
        values: dict[str, list[str]] = {}
        for key, value in by_composite_key(list(result.events)):
            values.setdefault(key, []).append(value)
        return matches(conditions, values)

    found = [entry for entry in view.chain.find_transactions(wanted) if entry[0].height <= view.height]
    if request.order_by == tx_pb2.ORDER_BY_DESC:
        found.reverse()
    limit, first = request.limit or 100, max(request.page, 1) - 1
    response = tx_pb2.GetTxsEventResponse(total=len(found))
    for block, index in found[first * limit : (first + 1) * limit]:
        shown = _shown_tx(block.txs[index])
        response.txs.append(shown)
        response.tx_responses.append(_tx_response(block, index, shown))
    return response


QUERIES: dict[str, Callable[[Context, Any], Any]] = {
    "/cosmos.auth.v1beta1.Query/Account": account,
    "/cosmos.bank.v1beta1.Query/Balance": balance,
}
CALLS: dict[str, Callable[[NodeView, Any], Any]] = {
    "/cosmos.tx.v1beta1.Service/Simulate": simulate,
    "/cosmos.tx.v1beta1.Service/BroadcastTx": broadcast_tx,
    "/cosmos.tx.v1beta1.Service/GetTx": get_tx,
    "/cosmos.tx.v1beta1.Service/GetTxsEvent": get_txs_event,
}
