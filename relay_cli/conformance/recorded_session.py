"""The session a chain_live*.json file records: its header, trees and accounts, read once for all its checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pocket_protocol.address import address_of
from pocket_protocol.closest_proof import ClosestProof
from pocket_protocol.pb.cosmos.crypto.secp256k1_pb2 import PubKey
from pocket_protocol.pb.pocket.session_pb2 import QueryGetSessionResponse, Session, SessionHeader
from pocket_protocol.proving import prove_closest
from pocket_protocol.relay import relay_hash
from pocket_protocol.smst import bulk_root, leaf_record, leaf_value, path_of
from pocket_protocol.tx import decode_transaction
from pocket_protocol.types import ComputeUnits, Path
from pocket_protocol.wire import decode

Document = Mapping[str, Any]

_HEADER_FIELDS = (
    "application_address",
    "service_id",
    "session_id",
    "session_start_block_height",
    "session_end_block_height",
)


class RecordedTree:
    """The leaves one supplier collected."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        self.supplier: str = stated["address"]
        self.values: dict[Path, bytes] = {}
        records = []
        for leaf in stated["leaves"]:
            relay_bytes, weight = bytes.fromhex(leaf["relay_bytes_hex"]), ComputeUnits(leaf["weight"])
            path = path_of(relay_hash(relay_bytes))
            self.values[path] = leaf_value(relay_bytes, weight)
            records.append(leaf_record(path, relay_bytes, weight))
        self.records = sorted(records)

    def root(self) -> bytes:
        return bulk_root(self.records)

    def prove(self, path: Path) -> ClosestProof:
        return prove_closest(self.records, path, self.values.__getitem__)


def session_header(stated: Mapping[str, Any]) -> SessionHeader:
    """Return the header that the file states field by field."""
    return SessionHeader(**{field: stated[field] for field in _HEADER_FIELDS})


def session_of(document: Document) -> Session:
    """Return the session as the node answered it. Raises `wire.Undecodable`."""
    return decode(QueryGetSessionResponse, bytes.fromhex(document["session_response_hex"])).session


def trees_of(document: Document) -> list[RecordedTree]:
    """Return the trees of the file, one per supplier."""
    return [RecordedTree(stated) for stated in document["trees"].values()]


def tree_with(document: Document, proof: ClosestProof) -> RecordedTree:
    """Return the tree whose leaf `proof` is of. Raises LookupError."""
    for tree in trees_of(document):
        if proof.closest_value in tree.values.values():
            return tree
    raise LookupError("the proved relay is in no tree of the file")


def _published_keys(document: Document) -> Iterator[bytes]:
    for entry in document.get("ring", ()):
        yield bytes.fromhex(entry["public_key_hex"])
    for step in document["steps"]:
        if "tx_raw_hex" in step:
            for signer in decode_transaction(bytes.fromhex(step["tx_raw_hex"])).auth_info.signer_infos:
                yield decode(PubKey, signer.public_key.value).key


def account_keys(document: Document) -> dict[str, bytes]:
    """Return the public keys that the file shows, by the address each really has."""
    return {address_of(key): key for key in _published_keys(document)}
