"""CometBFT's JSON-RPC methods (spec/chain.md §8): what relay miners ask, and a little more for people."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from localnet.blocks import Block, rfc3339
from localnet.chain import NoSuchHeight
from localnet.event_query import matches, parse_query
from localnet.events import by_composite_key
from localnet.execution import TxResult
from localnet.node_view import NodeView
from localnet.registered_errors import TX_IN_MEMPOOL_CACHE
from pocket_protocol.errors import PocketError
from pocket_protocol.tx import tx_hash

NODE_ID = "6c6f63616c6e6574" + "00" * 12
VERSION = "0.38.19"


class RpcFailed(Exception):
    """A method failed: CometBFT answers with an internal error whose data is this text."""


class BadParams(Exception):
    """Parameters that cannot be converted."""


def _integer(params: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = params.get(name)
    if value is None or value == "":
        return default
    try:
        return int(str(value).strip('"'))
    except ValueError as error:
        raise BadParams(f"error converting json params to arguments: {name} is no number") from error


def _bytes(params: Mapping[str, Any], name: str) -> bytes:
    """Return bytes given as base64 (POST) or as 0x… (GET)."""
    text = str(params.get(name) or "")
    try:
        if text.startswith(("0x", "0X")):
            return bytes.fromhex(text[2:])
        return base64.b64decode(text.strip('"'), validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadParams(f"error converting json params to arguments: {name}: {error}") from error


def _text(params: Mapping[str, Any], name: str) -> str:
    return str(params.get(name) or "").strip('"')


def _block(view: NodeView, params: Mapping[str, Any]) -> Block:
    height = _integer(params, "height", view.height)
    if height <= 0:
        raise RpcFailed(f"height must be greater than 0, but got {height}")
    if height > view.height:
        raise RpcFailed(
            f"height {height} must be less than or equal to the current blockchain height {view.height}"
        )
    try:
        return view.block(height)
    except NoSuchHeight as error:
        raise RpcFailed(
            f"height {height} is not available, lowest height is {view.chain.earliest}"
        ) from error


def health(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def status(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    latest, earliest = _block(view, {}), view.block(view.chain.earliest)
    return {
        "node_info": {
            "protocol_version": {"p2p": "8", "block": "11", "app": "0"},
            "id": NODE_ID,
            "listen_addr": "tcp://127.0.0.1:26656",
            "network": view.chain.genesis.chain_id,
            "version": VERSION,
            "channels": "40202122233038606100",
            "moniker": "localnet",
            "other": {"tx_index": "on", "rpc_address": "tcp://127.0.0.1:26657"},
        },
        "sync_info": {
            "latest_block_hash": latest.id.hash.hex().upper(),
            "latest_app_hash": latest.header.app_hash.hex().upper(),
            "latest_block_height": str(latest.height),
            "latest_block_time": rfc3339(latest.time_ns),
            "earliest_block_hash": earliest.id.hash.hex().upper(),
            "earliest_app_hash": earliest.header.app_hash.hex().upper(),
            "earliest_block_height": str(earliest.height),
            "earliest_block_time": rfc3339(earliest.time_ns),
            "catching_up": False,
        },
        "validator_info": view.chain.validator.to_json(),
    }


def abci_info(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    latest = _block(view, {})
    digest = base64.b64encode(latest.app_hash).decode()
    return {
        "response": {
            "data": "pocket",
            "last_block_height": str(latest.height),
            "last_block_app_hash": digest,
        }
    }


def block(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    found = _block(view, params)
    return {"block_id": found.id.to_json(), "block": found.block_json(view.chain.validator)}


def header(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"header": _block(view, params).header.to_json()}


def block_results(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    return _block(view, params).results_json()


def validators(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    listed = [{**view.chain.validator.to_json(), "proposer_priority": "0"}]
    height = _integer(params, "height", view.height + 1)
    return {"block_height": str(height), "validators": listed, "count": "1", "total": "1"}


def tx_json(found: Block, index: int) -> dict[str, Any]:
    return {
        "hash": tx_hash(found.txs[index]),
        "height": str(found.height),
        "index": index,
        "tx_result": found.results[index].to_json(),
        "tx": base64.b64encode(found.txs[index]).decode(),
    }


def tx(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    wanted = _bytes(params, "hash").hex().upper()
    found = view.chain.find_transaction(wanted)
    if found is None or found[0].height > view.height:
        raise RpcFailed(f"tx ({wanted}) not found")
    return tx_json(*found)


def tx_search(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    try:
        conditions = parse_query(_text(params, "query"))
    except PocketError as error:
        raise RpcFailed(str(error)) from error

    def wanted(result: TxResult) -> bool:
        values: dict[str, list[str]] = {}
        for key, value in by_composite_key(list(result.events)):
            values.setdefault(key, []).append(value)
        return matches(conditions, values)

    found = view.chain.find_transactions(wanted)
    if _text(params, "order_by") == "desc":
        found.reverse()
    page, per_page = max(_integer(params, "page", 1), 1), min(_integer(params, "per_page", 30) or 30, 100)
    shown = found[(page - 1) * per_page : page * per_page]
    return {"txs": [tx_json(*entry) for entry in shown], "total_count": str(len(found))}


def broadcast_tx_sync(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    tx_bytes = _bytes(params, "tx")
    result = view.chain.broadcast(tx_bytes, view.height)
    if (result.code, result.codespace) == (TX_IN_MEMPOOL_CACHE.code, TX_IN_MEMPOOL_CACHE.codespace):
        raise RpcFailed("tx already exists in cache")
    if view.loses_answer():
        raise RpcFailed("timed out waiting for tx to be included")
    return {
        "code": result.code,
        "data": "",
        "log": result.log,
        "codespace": result.codespace,
        "hash": tx_hash(tx_bytes),
    }


def num_unconfirmed_txs(view: NodeView, params: Mapping[str, Any]) -> dict[str, Any]:
    waiting = str(len(view.chain.waiting))
    return {"n_txs": waiting, "total": waiting, "total_bytes": "0", "txs": None}


Method = Callable[[NodeView, Mapping[str, Any]], dict[str, Any]]

# method -> (function, names of its positional parameters)
METHODS: dict[str, tuple[Method, tuple[str, ...]]] = {
    "health": (health, ()),
    "status": (status, ()),
    "abci_info": (abci_info, ()),
    "block": (block, ("height",)),
    "header": (header, ("height",)),
    "block_results": (block_results, ("height",)),
    "validators": (validators, ("height", "page", "per_page")),
    "tx": (tx, ("hash", "prove")),
    "tx_search": (tx_search, ("query", "prove", "page", "per_page", "order_by")),
    "broadcast_tx_sync": (broadcast_tx_sync, ("tx",)),
    "num_unconfirmed_txs": (num_unconfirmed_txs, ()),
}
