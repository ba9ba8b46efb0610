"""Stores of a real reference deployment, key by key, loaded into a store of the test's own."""

from __future__ import annotations

from typing import Any

from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim
from pocket_protocol.tx import decode_transaction
from relay_store.connection import Store
from tests import recorded


def load_dump(store: Store, name: str) -> None:
    """Put every key of `localnet/redis/<name>.json` in the place of what is there; without their life times."""
    pipeline = store.client.pipeline(transaction=False)
    for key, entry in recorded.load(f"localnet/redis/{name}.json").items():
        if entry["type"] == "none":  # had run out when it was looked at
            continue
        pipeline.delete(key)
        value = entry["value"] if entry["type"] != "stream" else entry
        if entry["type"] == "string":
            pipeline.set(key, _bytes(value))
        elif entry["type"] == "hash":
            pipeline.hset(key, mapping={field: _bytes(raw) for field, raw in value})
        elif entry["type"] == "set":
            pipeline.sadd(key, *map(_bytes, value))
        elif entry["type"] == "stream":
            _load_stream(pipeline, key, value)
        else:
            raise ValueError(f"{key} is a {entry['type']}")
    pipeline.execute()


def _load_stream(pipeline: Any, key: str, entry: Any) -> None:
    """What was delivered to a consumer and not acknowledged comes first in the dumps' streams, and is pending again."""
    for group in entry["groups"]:
        pipeline.xgroup_create(key, group["name"], id="0", mkstream=True)
    for entry_id, fields in entry["entries"]:
        pipeline.xadd(key, {name: _bytes(raw) for name, raw in fields}, id=entry_id)
    for group, consumers in entry["consumers"].items():
        for consumer in consumers:
            if consumer["pending"]:
                pipeline.xreadgroup(group, consumer["name"], {key: ">"}, count=consumer["pending"])


def _bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return str(value).encode()


def recorded_claims(height: int) -> dict[tuple[str, str], bytes]:
    """The roots that were claimed in the transactions of a block, by supplier and session."""
    claims = {}
    for tx in recorded.load("localnet/chain/txs-670-725.json"):
        if tx["height"] == height:
            for message in decode_transaction(bytes.fromhex(tx["tx_hex"])).messages:
                if isinstance(message, MsgCreateClaim):
                    key = (message.supplier_operator_address, message.session_header.session_id)
                    claims[key] = message.root_hash
    return claims
