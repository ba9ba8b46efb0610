"""Blocks: header, hash and what CometBFT shows of them (spec/chain.md §8).

The hash is the network's own: the Merkle root over the encoded header fields. So it is a function of the
state before the block, its transactions, its time and its predecessor.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from localnet.events import Event
from localnet.execution import TxResult
from localnet.validator import Validator
from pocket_protocol.canonical import varint
from pocket_protocol.tx import tx_hash

EMPTY_HASH = sha256(b"").digest()
BLOCK_PROTOCOL = 11
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONSENSUS_PARAMS: dict[str, Any] = {
    "block": {"max_bytes": "22020096", "max_gas": "-1"},
    "evidence": {
        "max_age_num_blocks": "100000",
        "max_age_duration": "172800000000000",
        "max_bytes": "1048576",
    },
    "validator": {"pub_key_types": ["ed25519"]},
    "version": {},
    "abci": {},
}


def rfc3339(time_ns: int) -> str:
    """Return a UTC time as the network writes it: nanoseconds without trailing zeros."""
    seconds, nanos = divmod(time_ns, 10**9)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return whole + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the binary Merkle tree the network uses (RFC 6962 prefixes)."""
    if not leaves:
        return EMPTY_HASH
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def _number(tag: int, value: int) -> bytes:
    return bytes([tag << 3]) + varint(value) if value else b""


def _bytes(tag: int, value: bytes) -> bytes:
    return bytes([tag << 3 | 2]) + varint(len(value)) + value if value else b""


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block's hash and the hash of its only part."""

    hash: bytes
    part_hash: bytes

    def encode(self) -> bytes:
        if not self.hash:
            return bytes([2 << 3 | 2, 0])
        parts = _number(1, 1) + _bytes(2, self.part_hash)
        return _bytes(1, self.hash) + bytes([2 << 3 | 2]) + varint(len(parts)) + parts

    def to_json(self) -> dict[str, Any]:
        parts = {"total": 1 if self.hash else 0, "hash": self.part_hash.hex().upper()}
        return {"hash": self.hash.hex().upper(), "parts": parts}


NO_BLOCK = BlockId(b"", b"")


@dataclass(frozen=True, slots=True)
class Header:
    """A CometBFT block header."""

    chain_id: str
    height: int
    time_ns: int
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes  # of the state before this block
    last_results_hash: bytes
    proposer_address: str  # upper-case hex

    def hash(self) -> bytes:
        seconds, nanos = divmod(self.time_ns, 10**9)
        hashes = [
            self.last_commit_hash,
            self.data_hash,
            self.validators_hash,
            self.validators_hash,
            self.consensus_hash,
            self.app_hash,
            self.last_results_hash,
            EMPTY_HASH,
            bytes.fromhex(self.proposer_address),
        ]
        return merkle_root(
            [
                _number(1, BLOCK_PROTOCOL),
                _bytes(1, self.chain_id.encode()),
                _number(1, self.height),
                _number(1, seconds) + _number(2, nanos),
                self.last_block_id.encode(),
                *(_bytes(1, value) for value in hashes),
            ]
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "version": {"block": str(BLOCK_PROTOCOL)},
            "chain_id": self.chain_id,
            "height": str(self.height),
            "time": rfc3339(self.time_ns),
            "last_block_id": self.last_block_id.to_json(),
            "last_commit_hash": self.last_commit_hash.hex().upper(),
            "data_hash": self.data_hash.hex().upper(),
            "validators_hash": self.validators_hash.hex().upper(),
            "next_validators_hash": self.validators_hash.hex().upper(),
            "consensus_hash": self.consensus_hash.hex().upper(),
            "app_hash": self.app_hash.hex().upper(),
            "last_results_hash": self.last_results_hash.hex().upper(),
            "evidence_hash": EMPTY_HASH.hex().upper(),
            "proposer_address": self.proposer_address,
        }


@dataclass(frozen=True, slots=True)
class Block:
    """A committed block and everything that happened in it."""

    id: BlockId
    header: Header
    txs: tuple[bytes, ...] = ()
    results: tuple[TxResult, ...] = ()
    events: tuple[Event, ...] = ()  # of its beginning and its end; mode BeginBlock or EndBlock
    app_hash: bytes = EMPTY_HASH  # of the state after it

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def time_ns(self) -> int:
        return self.header.time_ns

    def tx_index(self, wanted: str) -> int:
        """Return the position of the transaction with that hash, -1 when it is not here."""
        return next((i for i, tx in enumerate(self.txs) if tx_hash(tx) == wanted), -1)

    def commit_json(self, validator: Validator) -> dict[str, Any]:
        """Return the commit of the predecessor, which this block carries."""
        previous = self.header.last_block_id
        commit: dict[str, Any] = {
            "height": str(self.height - 1),
            "round": 0,
            "block_id": previous.to_json(),
            "signatures": [],
        }
        if previous.hash:
            signed = sha256(previous.hash + b"commit").digest()
            commit["signatures"].append(
                {
                    "block_id_flag": 2,
                    "validator_address": validator.consensus_address,
                    "timestamp": rfc3339(self.time_ns),
                    "signature": base64.b64encode(signed + signed).decode(),
                }
            )
        return commit

    def block_json(self, validator: Validator) -> dict[str, Any]:
        return {
            "header": self.header.to_json(),
            "data": {"txs": [base64.b64encode(tx).decode() for tx in self.txs]},
            "evidence": {"evidence": []},
            "last_commit": self.commit_json(validator),
        }

    def results_json(self) -> dict[str, Any]:
        """Return the answer of block_results."""
        return {
            "height": str(self.height),
            "txs_results": [result.to_json() for result in self.results] or None,
            "finalize_block_events": [event.to_json() for event in self.events],
            "validator_updates": None,
            "consensus_param_updates": CONSENSUS_PARAMS,
            "app_hash": base64.b64encode(self.app_hash).decode(),
        }
