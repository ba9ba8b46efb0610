"""The checks before a transaction's messages run, in the network's order (spec/chain.md §7).

tx basics, timeouts, memo, gas for the size, fee, public key, signatures' number and gas, unordered nonce or
sequence, signature, sequence increment.
"""

from __future__ import annotations

import base64
import enum
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from localnet import bank, gas
from localnet import registered_errors as errors
from localnet.context import Context
from localnet.events import plain
from localnet.registered_errors import TransactionRefused
from localnet.state import ACCOUNT, NONCE, Account
from localnet.tx_decoding import Transaction, validate_basic
from pocket_protocol.address import address_of, module_address
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.crypto import secp256k1_pb2
from pocket_protocol.signer import verify
from pocket_protocol.tx import sign_doc_bytes
from pocket_protocol.wire import decode

MAX_MEMO_CHARACTERS = 256
MAX_UNORDERED_TTL_NS = 10 * 60 * 10**9
PUBLIC_KEY_TYPE = "/cosmos.crypto.secp256k1.PubKey"
FEE_COLLECTOR = "fee_collector"

_BASIC_PLACE = "x/auth/ante/basic.go:221"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Mode(enum.Enum):
    """Why a transaction runs."""

    CHECK = "check"
    DELIVER = "deliver"
    SIMULATE = "simulate"


def go_time(time_ns: int) -> str:
    """Return a UTC time as Go prints it: no trailing zeros in the fraction."""
    seconds, nanos = divmod(time_ns, 10**9)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{whole}{fraction} +0000 UTC"


def check_basics(tx: Transaction) -> None:
    """Check what needs no state, messages included. Raises `TransactionRefused`."""
    if not tx.messages:
        raise TransactionRefused(errors.INVALID_REQUEST, "must contain at least one message")
    for message in tx.messages:
        validate_basic(message)
    if not tx.content.signatures:
        raise TransactionRefused(errors.NO_SIGNATURES)
    if len(tx.content.signatures) != len(tx.signers):
        detail = f"wrong number of signers; expected {len(tx.signers)}, got {len(tx.content.signatures)}"
        raise TransactionRefused(errors.UNAUTHORIZED, detail)


def _check_timeouts(context: Context, tx: Transaction) -> None:
    limit = tx.content.body.timeout_height
    if limit and context.height > limit:
        detail = f"block height: {context.height}, timeout height: {limit}"
        raise TransactionRefused(errors.TX_TIMEOUT_HEIGHT, detail, place=_BASIC_PLACE)
    if tx.timeout_ns and tx.timeout_ns < context.time_ns:
        detail = f"block time: {go_time(context.time_ns)}, timeout timestamp: {go_time(tx.timeout_ns)}"
        raise TransactionRefused(errors.TX_TIMEOUT, detail, place=_BASIC_PLACE)


def _check_memo(tx: Transaction) -> None:
    length = len(tx.content.body.memo.encode())
    if length > MAX_MEMO_CHARACTERS:
        detail = f"maximum number of characters is {MAX_MEMO_CHARACTERS} but received {length} characters"
        raise TransactionRefused(errors.MEMO_TOO_LARGE, detail)


def _deduct_fee(context: Context, tx: Transaction, mode: Mode, minimum_gas_price: float) -> None:
    fee = tx.fee_upokt
    if mode is Mode.CHECK and minimum_gas_price:
        required = -(-int(tx.gas_limit * minimum_gas_price * 10**6) // 10**6)
        if fee < required:
            detail = f"insufficient fees; got: {bank.coin_or_nothing(fee)} required: {bank.coin(required)}"
            raise TransactionRefused(errors.INSUFFICIENT_FEE, detail)
    if context.state.get(ACCOUNT, tx.payer) is None:
        raise TransactionRefused(errors.UNKNOWN_ADDRESS, f"fee payer address: {tx.payer} does not exist")
    if fee:
        try:
            bank.send(context.state, context.emit, tx.payer, module_address(FEE_COLLECTOR), fee)
        except bank.InsufficientFunds as error:
            raise TransactionRefused(errors.INSUFFICIENT_FUNDS, str(error)) from error
    context.emit(plain("tx", fee=bank.coin_or_nothing(fee), fee_payer=tx.payer))


def _account_of(context: Context, address: str) -> Account:
    account: Account | None = context.state.get(ACCOUNT, address)
    if account is None:
        raise TransactionRefused(errors.UNKNOWN_ADDRESS, f"account {address} does not exist")
    return account


def _set_public_keys(context: Context, tx: Transaction, mode: Mode) -> None:
    for index, (address, info) in enumerate(zip(tx.signers, tx.content.auth_info.signer_infos, strict=False)):
        if not info.HasField("public_key"):
            continue
        try:
            key = decode(secp256k1_pb2.PubKey, info.public_key.value).key
        except Malformed as error:
            raise TransactionRefused(errors.INVALID_PUBKEY, str(error)) from error
        foreign = info.public_key.type_url != PUBLIC_KEY_TYPE or address_of(key) != address
        if foreign and mode is not Mode.SIMULATE:
            detail = f"pubKey does not match signer address {address} with signer index: {index}"
            raise TransactionRefused(errors.INVALID_PUBKEY, detail)
        account = _account_of(context, address)
        if not account.public_key and not foreign:
            context.state.put(ACCOUNT, address, replace(account, public_key=key))
    for address, info, signature in zip(
        tx.signers, tx.content.auth_info.signer_infos, tx.content.signatures, strict=False
    ):
        if not tx.unordered:
            context.emit(plain("tx", acc_seq=f"{address}/{info.sequence}"))
        context.emit(plain("tx", signature=base64.b64encode(signature).decode()))


def _use_nonce(context: Context, tx: Transaction, mode: Mode) -> None:
    if not tx.timeout_ns:
        detail = "unordered transaction must have timeout_timestamp set"
        raise TransactionRefused(errors.INVALID_REQUEST, detail)
    if tx.timeout_ns > context.time_ns + MAX_UNORDERED_TTL_NS:
        raise TransactionRefused(errors.INVALID_REQUEST, "unordered tx ttl exceeds 10m0s")
    if mode is Mode.SIMULATE:
        return
    for address in tx.signers:
        if context.state.get(NONCE, (tx.timeout_ns, address)):
            detail = (
                f"failed to add unordered nonce: sender {address} has already used timeout {tx.timeout_ns}"
            )
            raise TransactionRefused(errors.INVALID_REQUEST, detail)
        context.state.put(NONCE, (tx.timeout_ns, address), True)


def _check_signatures(context: Context, tx: Transaction, mode: Mode) -> None:
    if len(tx.content.auth_info.signer_infos) != len(tx.signers):
        detail = f"invalid number of signer;  expected: {len(tx.signers)}, got {len(tx.content.auth_info.signer_infos)}"
        raise TransactionRefused(errors.UNAUTHORIZED, detail)
    if tx.unordered:
        _use_nonce(context, tx, mode)
    for address, info, signature in zip(
        tx.signers, tx.content.auth_info.signer_infos, tx.content.signatures, strict=True
    ):
        account = _account_of(context, address)
        if mode is not Mode.SIMULATE and not account.public_key:
            raise TransactionRefused(errors.INVALID_PUBKEY, "pubkey on account is not set")
        if not tx.unordered and info.sequence != account.sequence:
            detail = f"account sequence mismatch, expected {account.sequence}, got {info.sequence}"
            raise TransactionRefused(errors.WRONG_SEQUENCE, detail)
        if mode is Mode.SIMULATE:
            continue
        document = sign_doc_bytes(
            tx.content.body_bytes,
            tx.content.auth_info_bytes,
            context.chain.chain_id,
            account.number,
        )
        if not verify(context.chain.curve, account.public_key, document, signature):
            detail = (
                f"signature verification failed; please verify account number ({account.number}) and "
                f"chain-id ({context.chain.chain_id}): (unable to verify single signer signature)"
            )
            raise TransactionRefused(errors.UNAUTHORIZED, detail)


def _increment_sequences(context: Context, tx: Transaction) -> None:
    if tx.unordered:
        return
    for address in tx.signers:
        account = _account_of(context, address)
        context.state.put(ACCOUNT, address, replace(account, sequence=account.sequence + 1))


def run_ante(context: Context, tx: Transaction, mode: Mode, minimum_gas_price: float = 0.0) -> int:
    """Run all checks on `context`, which they change; return the gas used. Raises `TransactionRefused`."""
    check_basics(tx)
    _check_timeouts(context, tx)
    _check_memo(tx)
    used = gas.before_messages(tx.messages, with_fee=bool(tx.fee_upokt))
    _deduct_and_verify(context, tx, mode, minimum_gas_price, used)
    return used


def _deduct_and_verify(
    context: Context, tx: Transaction, mode: Mode, minimum_gas_price: float, used: int
) -> None:
    if mode is not Mode.SIMULATE:
        gas.check_limit(tx.gas_limit, gas.steps_before_messages(len(tx.tx_bytes), used))
    _deduct_fee(context, tx, mode, minimum_gas_price)
    _set_public_keys(context, tx, mode)
    _check_signatures(context, tx, mode)
    _increment_sequences(context, tx)
