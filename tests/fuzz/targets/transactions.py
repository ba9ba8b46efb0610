"""Transactions as the local chain gets them: decoded, checked, simulated and broadcast; and what is made of answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from localnet.registered_errors import TransactionRefused
from localnet.tx_decoding import decode_transaction, validate_basic
from pocket_protocol import proof_messages, tx_answer
from pocket_protocol.pb.cosmos.bank.v1beta1_pb2 import MsgSend
from pocket_protocol.types import SupplierAddress
from tests.fuzz.corpus import golden, spread
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.messages import LIVE, PROTOBUF_WORDS
from tests.unit.localnet.chains import World
from tests.vectors import load

CLAIM_HEIGHT = 12  # in the claim window of the session 1..10


@contextmanager
def opened() -> Iterator[Attempt]:
    world = World()
    world.to(CLAIM_HEIGHT)

    def attempt(data: bytes) -> bool:
        tx_answer.classify(data[0] if data else 0, "sdk", data[1:].decode("latin-1"))
        tx_answer.classify_text(data.decode("utf-8", "replace"))
        simulated = world.chain.simulate(data)
        checked = world.chain.broadcast(data)
        tx_answer.classify(simulated.code, simulated.codespace, simulated.log)
        if checked.code == 0:
            world.chain.drop_waiting()
        try:
            for message in decode_transaction(data).messages:
                validate_basic(message)
        except TransactionRefused:
            assert checked.code and simulated.code, "undecodable, and taken"
            return False
        return not checked.code

    yield attempt


def seeds() -> list[bytes]:
    """Recorded transactions, texts of answers, and transactions that this chain takes."""
    world = World()
    world.to(CLAIM_HEIGHT)
    supplier = SupplierAddress(world.address("supplier1"))
    claim = proof_messages.create_claim(supplier, world.session(), bytes(31) + b"\1" * 17)
    send = MsgSend(from_address=supplier, to_address=world.address("app1"))
    send.amount.add(denom="upokt", amount="7")
    own = [
        world.transaction("supplier1", claim),
        world.transaction("supplier1", send),
        world.transaction("supplier1", claim, send),
        world.transaction("supplier1", proof_messages.submit_proof(supplier, world.session(), b"x")),
    ]
    recorded = spread((raw for name in LIVE for raw in golden(name, "tx_raw_hex")), 100)
    return [*own, *recorded, *spread((text.encode() for text in answer_texts(load("chain_live2"))), 50)]


def answer_texts(document: object) -> Iterator[str]:
    """Every log of a transaction in a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("log", "grpc_message") and isinstance(value, str):
                yield value
            else:
                yield from answer_texts(value)
    elif isinstance(document, list):
        for item in document:
            yield from answer_texts(item)


TRANSACTIONS = Target(
    seeds,
    opened,
    (
        *PROTOBUF_WORDS,
        b"/pocket.proof.MsgSubmitProof",
        b"/pocket.proof.MsgCreateClaim",
        b"/cosmos.bank.v1beta1.MsgSend",
        b"failed to execute message; message index: 0: ",
        b" with gas used: '1'",
    ),
)
