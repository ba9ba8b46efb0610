"""A node's CometBFT RPC: where it stands, blocks, what happened in them (spec/chain.md §8)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pocket_chain.json_rpc import JsonRpc, RpcRefused
from pocket_chain.node_errors import AheadOfNode, BlockPruned, NodeAnswerUnreadable, WrongChain
from pocket_protocol.types import BlockHash, BlockPosition, Height

_AHEAD = re.compile(r"must be less than or equal to the current blockchain height (\d{1,18})")
_NO_RESULTS_YET = re.compile(r"could not find results for height #(\d{1,18})")
_PRUNED = re.compile(r"is not available, lowest height is (\d{1,18})")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_TX_NOT_FOUND = re.compile(r"tx \([0-9A-Fa-f]{64}\) not found")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where a node stands."""

    network: str
    position: BlockPosition
    earliest_height: Height
    catching_up: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a block or a transaction; attributes in the chain's order, values as text."""

    type: str
    attributes: tuple[tuple[str, str], ...]

    def get(self, key: str) -> str | None:
        """Return the first value of `key`."""
        return next((value for name, value in self.attributes if name == key), None)


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What a transaction did in its block; code 0 is success."""

    code: int
    codespace: str
    log: str
    gas_wanted: int
    gas_used: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class CommittedTransaction:
    """A transaction that is part of a block."""

    tx_hash: str
    height: Height
    result: TransactionResult
    tx_bytes: bytes


@dataclass(frozen=True, slots=True)
class BlockResults:
    """What happened in a block: its transactions' results in their order, and the block's own events."""

    height: Height
    transactions: tuple[TransactionResult, ...]
    events: tuple[Event, ...]


class CometNode:
    """One node's RPC. `url` is http(s)://host:port; each call takes at most `timeout_s`.

    All methods raise NodeUnavailable or one of its leaves. Safe to share between threads and greenlets.
    """

    def __init__(self, url: str, timeout_s: float = 5.0, chain_id: str = "") -> None:
        self.url = url
        self.rpc = JsonRpc(url, timeout_s)
        self.shown_url = self.rpc.shown_url
        self._chain_id = chain_id

    def status(self) -> NodeStatus:
        """Return where the node stands. Raises WrongChain when it is not on the configured network."""
        result = self.rpc.call("status")
        with _Reading(self, "status"):
            sync = result["sync_info"]
            status = NodeStatus(
                network=_text(result["node_info"]["network"]),
                position=BlockPosition(
                    _height(sync["latest_block_height"]),
                    _hash(sync["latest_block_hash"]) if sync["latest_block_hash"] else BlockHash(b""),
                    time_ns(sync["latest_block_time"]),
                ),
                earliest_height=_height(sync["earliest_block_height"]),
                catching_up=sync["catching_up"] is True,
            )
        self._check_chain(status.network)
        return status

    def block(self, height: int | None = None) -> BlockPosition:
        """Return the position of the block at `height`, of the last one without.

        Raises AheadOfNode, BlockPruned, WrongChain.
        """
        params = {} if height is None else {"height": str(height)}
        result = self._at_height("block", params, height)
        with _Reading(self, "block"):
            header = result["block"]["header"]
            network = _text(header["chain_id"])
            position = BlockPosition(
                _height(header["height"]), _hash(result["block_id"]["hash"]), time_ns(header["time"])
            )
            if height is not None and position.height != height:
                raise ValueError("another block than asked for")
        self._check_chain(network)
        return position

    def block_results(self, height: int) -> BlockResults:
        """Return what happened in the block at `height`. Raises AheadOfNode, BlockPruned."""
        result = self._at_height("block_results", {"height": str(height)}, height)
        with _Reading(self, "block_results"):
            results = BlockResults(
                _height(result["height"]),
                tuple(_result(item) for item in result["txs_results"] or ()),
                _events(result["finalize_block_events"]),
            )
            if results.height != height:
                raise ValueError("another block than asked for")
        return results

    def transaction(self, tx_hash: str) -> CommittedTransaction | None:
        """Return the transaction with this hash (64 hex digits); None when the node's index has none."""
        digest = bytes.fromhex(tx_hash)
        try:
            result = self.rpc.call("tx", hash=base64.b64encode(digest).decode(), prove=False)
        except RpcRefused as error:
            if _TX_NOT_FOUND.search(error.text):
                return None
            raise
        with _Reading(self, "tx"):
            if bytes.fromhex(result["hash"]) != digest:
                raise ValueError("another transaction than asked for")
            return CommittedTransaction(
                tx_hash.upper(),
                _height(result["height"]),
                _result(result["tx_result"]),
                base64.b64decode(result["tx"], validate=True),
            )

    def _check_chain(self, network: str) -> None:
        if self._chain_id and network != self._chain_id:
            raise WrongChain(node=self.shown_url, network=network[:64], configured=self._chain_id)

    def _at_height(self, method: str, params: dict[str, str], height: int | None) -> Any:
        try:
            return self.rpc.call(method, **params)
        except RpcRefused as error:
            values: dict[str, Any] = {
                "node": self.shown_url,
                "code": error.code,
                "text": error.text,
                "asked": height,
            }
            if ahead := _AHEAD.search(error.text):
                raise AheadOfNode(**values, node_height=Height(int(ahead[1]))) from None
            if _NO_RESULTS_YET.search(error.text):
                raise AheadOfNode(**values) from None
            if pruned := _PRUNED.search(error.text):
                raise BlockPruned(**values, lowest_height=Height(int(pruned[1]))) from None
            raise


class _Reading:
    """Turns any surprise in the shape of an answer into NodeAnswerUnreadable."""

    def __init__(self, node: CometNode, method: str) -> None:
        self._node, self._method = node, method

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (LookupError, TypeError, ValueError, AttributeError, OverflowError)):
            raise NodeAnswerUnreadable(
                node=self._node.shown_url, code="UNREADABLE", text=f"{self._method}: {type(error).__name__}"
            ) from None


def time_ns(text: str) -> int:
    """Read RFC 3339 with up to nine decimals, UTC, as nanoseconds since the epoch. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a block time")
    whole = datetime.fromisoformat(match[1]).replace(tzinfo=UTC) - _EPOCH
    return (whole.days * 86400 + whole.seconds) * 10**9 + int((match[2] or "").ljust(9, "0"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _height(value: object) -> Height:
    """Read a height, a decimal text on the wire."""
    text = _text(value)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError("not a height")
    return Height(int(text))


def _hash(value: object) -> BlockHash:
    digest = bytes.fromhex(_text(value))
    if len(digest) != 32:
        raise ValueError("a block hash has 32 bytes")
    return BlockHash(digest)


def _events(items: Any) -> tuple[Event, ...]:
    return tuple(
        Event(
            _text(item["type"]),
            tuple((_text(one["key"]), _text(one["value"] or "")) for one in item["attributes"] or ()),
        )
        for item in items or ()
    )


def _result(item: Any) -> TransactionResult:
    return TransactionResult(
        int(item["code"]),
        _text(item.get("codespace") or ""),
        _text(item["log"]),
        int(item["gas_wanted"]),
        int(item["gas_used"]),
        _events(item["events"]),
    )
