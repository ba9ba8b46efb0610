"""Builders for tests: a default chain, its keys, and suppliers that claim and prove on it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from localnet.chain import LocalChain
from localnet.default_genesis import DefaultChain, Options, default_chain
from localnet.execution import TxResult
from localnet.genesis import Genesis, read_genesis
from localnet.sessions import hydrate
from localnet.state import ACCOUNT
from pocket_protocol import proof_messages, smst, tx
from pocket_protocol.closest_proof import proof_path
from pocket_protocol.curve import load_curve
from pocket_protocol.pb.pocket import session_pb2
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest, RelayResponse
from pocket_protocol.proving import prove_closest
from pocket_protocol.relay import mined_relay, payload_hash, relay_hash, signable_request, signable_response
from pocket_protocol.ring import sign_ring
from pocket_protocol.signer import sign
from pocket_protocol.types import BlockHash, ComputeUnits, SessionId, SupplierAddress, Upokt
from pocket_protocol.windows import Windows

CURVE = load_curve()
_nonces = itertools.count(1)


def _randoms() -> Iterator[bytes]:
    while True:
        yield secrets.token_bytes(32)


@dataclass
class World:
    """A default chain under the hands of a test. Blocks are a second apart, from a fixed time on."""

    options: Options = field(default_factory=lambda: Options(proof_requirement_threshold_upokt=250_000))
    genesis_changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan: DefaultChain = default_chain(CURVE, self.options)
        genesis: Genesis = read_genesis(self.plan.document, CURVE)
        for module, values in self.genesis_changes.items():
            genesis = genesis.with_params(module, **values)
        self.now_ns = 1_800_000_000 * 10**9
        self.chain = LocalChain(genesis, CURVE, now_ns=self._tick)
        self.chain.step()

    def _tick(self) -> int:
        self.now_ns += 10**9
        return self.now_ns

    def address(self, role: str) -> str:
        return self.plan.addresses[role]

    def to(self, height: int) -> None:
        """Make blocks up to `height`."""
        if height > self.chain.height:
            self.chain.step(height - self.chain.height)

    def session(
        self, app: str = "app1", service: str = "develop-http", height: int = 1
    ) -> session_pb2.SessionHeader:
        return hydrate(self.chain.at(), self.address(app), service, height).header

    def windows(self, end: int = 10) -> Windows:
        return Windows.of(self.chain.at().shared_at(end), end)

    def relay(
        self, header: session_pb2.SessionHeader, supplier: str, number: int, app: str = "app1"
    ) -> bytes:
        """Return a mined relay, signed by the gateway and by the supplier."""
        request = RelayRequest(payload=b"request %d" % number)
        request.meta.session_header.CopyFrom(header)
        request.meta.supplier_operator_address = self.address(supplier)
        keys = [self.plan.keys[role].public_key(CURVE) for role in (app, "gateway1")]
        ring = [
            key
            for _, key in sorted((self.address(r), k) for r, k in zip((app, "gateway1"), keys, strict=True))
        ]
        request.meta.signature = sign_ring(
            CURVE, signable_request(request), self.plan.keys["gateway1"].reveal(), ring, _randoms()
        )
        response = RelayResponse(payload_hash=payload_hash(b"response %d" % number))
        response.meta.session_header.CopyFrom(header)
        response.meta.supplier_operator_signature = sign(
            CURVE, self.plan.keys[supplier], signable_response(response)
        )
        return mined_relay(request, response)

    def transaction(self, role: str, *messages: Message, **terms: Any) -> bytes:
        """Return a signed unordered transaction with a timeout of its own."""
        account = self.chain.at().state.get(ACCOUNT, self.address(role))
        settings: dict[str, Any] = {
            "chain_id": "pocket",
            "account_number": account.number,
            "public_key": self.plan.keys[role].public_key(CURVE),
            "gas_limit": 2_000_000,
            "fee_upokt": Upokt(2),
            "timeout_timestamp_ns": self.now_ns + 120 * 10**9 + next(_nonces),
        }
        key = self.plan.keys[role]
        return tx.signed_transaction(
            messages, tx.Terms(**{**settings, **terms}), lambda document: sign(CURVE, key, document)
        )

    def deliver(self, role: str, *messages: Message, **terms: Any) -> TxResult:
        """Send messages, make a block, and return what became of them."""
        tx_bytes = self.transaction(role, *messages, **terms)
        checked = self.chain.broadcast(tx_bytes)
        if checked.code:
            return checked
        block = self.chain.step()
        return block.results[block.tx_index(tx.tx_hash(tx_bytes))]


@dataclass
class Tree:
    """A supplier's session tree."""

    world: World
    header: session_pb2.SessionHeader
    supplier: str
    relays: list[bytes]
    weight: int = 1000

    def __post_init__(self) -> None:
        weight = ComputeUnits(self.weight)
        self.values: dict[bytes, bytes] = {}
        records = []
        for relay in self.relays:
            path = smst.path_of(relay_hash(relay))
            self.values[path] = smst.leaf_value(relay, weight)
            records.append(smst.leaf_record(path, relay, weight))
        self.records = smst.collapse(b"".join(records))

    @property
    def root(self) -> bytes:
        return smst.bulk_root(self.records)

    @property
    def address(self) -> SupplierAddress:
        return SupplierAddress(self.world.address(self.supplier))

    def claim(self, root: bytes | None = None) -> Message:
        return proof_messages.create_claim(self.address, self.header, root or self.root)

    def proof(self, path: bytes | None = None) -> Message:
        seed = self.world.windows(self.header.session_end_block_height).proof_seed
        if path is None:
            block_hash = BlockHash(self.world.chain.block_hash(seed))
            path = proof_path(block_hash, SessionId(self.header.session_id))
        closest = prove_closest(self.records, path, lambda wanted: self.values[wanted])  # type: ignore[arg-type]
        return proof_messages.submit_proof(self.address, self.header, closest.to_bytes())


def grown_tree(world: World, supplier: str = "supplier1", relays: int = 3, app: str = "app1") -> Tree:
    """Return a tree of the first session with some relays."""
    header = world.session(app)
    return Tree(world, header, supplier, [world.relay(header, supplier, n, app) for n in range(relays)])
