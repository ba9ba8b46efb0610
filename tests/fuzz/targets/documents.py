"""What stands in the store and on its channels. The first byte chooses the reader.

What a reader of ours takes and a writer of ours writes is read as the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import Message

from mining_tasks.reference_sessions import ReferenceSessions, UnreadableReferenceSession
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.session_pb2 import Session
from pocket_protocol.pb.pocket.shared_pb2 import Params, Service, Supplier
from pocket_protocol.shared_params import SharedParams
from relay_store.block_feed import decode_block_event, encode_block_event
from relay_store.entity_cache import MalformedInvalidation, invalidate_by_message
from relay_store.go_json import UnreadableDocument, decode_go_json, encode_go_json
from relay_store.intents import Intents
from relay_store.keys import Keys, OwnKeys
from relay_store.leaves import Seal
from relay_store.registry import decode_supplier_state, encode_supplier_state
from relay_store.service_factor import decode_factor, encode_factor
from relay_store.session_state import SessionSnapshot, read_record
from relay_store.store_errors import StoreUrlInvalid
from relay_store.store_url import parse_store_url
from tests.fuzz.corpus import hex_of, spread
from tests.fuzz.target import Attempt, Target
from tests.recorded import ROOT, load
from tests.unit.relayer_web.relay_world import PARAMS, MemoryChain, address

SESSION = "ab" * 32
DOCUMENTED = (Params, Application, Session, Service, Supplier)


def go_json(message_type: type[Message]) -> Attempt:
    def attempt(data: bytes) -> bool:
        try:
            message = decode_go_json(message_type, data)
        except UnreadableDocument:
            return False
        if message_type is Params:
            with suppress(Malformed):
                SharedParams.from_proto(message)  # type: ignore[arg-type]
        for zeros in (False, True):
            again = decode_go_json(message_type, encode_go_json(message, zeros=zeros))
            assert again == message, f"{again!r:.200} is not {message!r:.200}"
        return True

    return attempt


def round_trip(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> Attempt:
    def attempt(data: bytes) -> bool:
        try:
            value = decode(data)
        except Malformed:
            return False
        assert decode(encode(value)) == value
        return True

    return attempt


def try_invalidation(data: bytes) -> bool:
    dropped: list[str] = []
    try:
        invalidate_by_message(data, "address", dropped.append, dropped.clear)
    except MalformedInvalidation:
        return False
    return bool(dropped)


def hash_of(data: bytes) -> dict[bytes, bytes]:
    """A hash's fields: name, NUL, value, NUL and so on."""
    parts = data.split(b"\0")
    return dict(zip(parts[::2], parts[1::2], strict=False))


def try_session(data: bytes) -> bool:
    try:
        record = read_record(hash_of(data))
    except Malformed:
        return False
    fields = {name.encode(): value.encode() for name, value in record.snapshot.to_fields().items()}
    assert read_record(fields).snapshot == record.snapshot
    return True


class OneHash:
    """A store in which every key is the same hash, or the same text."""

    def __init__(self, data: bytes) -> None:
        self._is_hash = data[:1] != b"{"
        self._text = data

    def type(self, key: str) -> bytes:
        return b"hash" if self._is_hash else b"string"

    def hgetall(self, key: str) -> dict[bytes, bytes]:
        return hash_of(self._text)

    def get(self, key: str) -> bytes:
        return self._text


def try_reference_session(data: bytes) -> bool:
    store: Any = SimpleNamespace(client=OneHash(data))
    try:
        return ReferenceSessions(store, Keys()).read("pokt1x", SESSION) is not None
    except UnreadableReferenceSession:
        return False


def try_intent(data: bytes) -> bool:
    store: Any = SimpleNamespace(client=OneHash(data))
    try:
        return Intents(store, OwnKeys(), "pokt1x").find(SESSION, "claim") is not None
    except Malformed:
        return False


def try_store_url(data: bytes) -> bool:
    try:
        str(parse_store_url(data.decode("latin-1")))
    except StoreUrlInvalid:
        return False
    return True


READERS: tuple[Attempt, ...] = (
    *(go_json(message_type) for message_type in DOCUMENTED),
    round_trip(decode_supplier_state, encode_supplier_state),
    round_trip(decode_block_event, encode_block_event),
    round_trip(decode_factor, lambda factor: encode_factor(factor, 1)),
    round_trip(Seal.from_bytes, Seal.to_bytes),
    try_invalidation,
    try_session,
    try_reference_session,
    try_intent,
    try_store_url,
)


@contextmanager
def opened() -> Iterator[Attempt]:
    def attempt(data: bytes) -> bool:
        choice, rest = (data[0], data[1:]) if data else (0, b"")
        return READERS[choice % len(READERS)](rest)

    yield attempt


def as_hash(fields: dict[str, str]) -> bytes:
    return b"\0".join(part.encode() for pair in fields.items() for part in pair)


def seeds() -> list[bytes]:
    chain = MemoryChain()
    application = chain.apps[address("app")]
    application.pending_undelegations[7].gateway_addresses.append("pokt1x")
    service = Service(id="svc", compute_units_per_relay=2**63, name="é")
    messages = [PARAMS.to_proto(), application, chain.session(address("app"), "svc", 105), service]
    written = [encode_go_json(message, zeros=zeros) for message in messages for zeros in (False, True)]
    snapshot = SessionSnapshot(SESSION, "pokt1x", "pokt1y", "svc", 1, 10)
    reference = {
        "supplier_operator_address": "pokt1x",
        "session_id": SESSION,
        "application_address": "pokt1y",
        "service_id": "svc",
        "session_start_height": "1",
        "session_end_height": "10",
        "state": "claimed",
        "claimed_root_hash": "x" * 48,
    }
    intent = {"phase": "claim", "members": '["a","b"]', "attempt": "1", "tx": "x", "tx_hash": "AB"}
    intent |= {"timeout_ns": "5", "height": "3", "stored_at_s": "1.5", "outcome:code": "0"}
    others = [
        b'{"status":"active","staked":true,"services":["a"],"staked_endpoints":[{"service_id":"a","rpc_type":"rest"}],'
        b'"unstake_session_end_height":0,"operator_address":"pokt1","owner_address":"","last_updated":1}',
        b'{"height":7,"hash":"AAAA","timestamp":"2026-01-02T03:04:05.123456789Z"}',
        b'{"factor":1.5,"updated_at":1}',
        Seal(72, 1).to_bytes(),
        b'{"address":"pokt1"}',
        as_hash(snapshot.to_fields()),
        as_hash(reference),
        as_hash(intent),
        b"redis://user:pass@[::1]:6379/3?a=b",
        b"redis-sentinel://a:1,b:2/mymaster",
    ]
    found = [*written, *others, *recorded_values()]
    return [bytes((reader,)) + one for reader in range(len(READERS)) for one in found]


def recorded_values() -> list[bytes]:
    name = "localnet/redis/10-mid-session.json"
    return spread(hex_of(load(name), "hex"), 40) if (ROOT / name).is_file() else []


WORDS = (
    b"null", b"true", b"-1", b"1e999", b"-1e999", b"NaN", b"Infinity", b"1.5", b"0.0", b'"\\ud800"', b'"\\u0000"', b"{}", b"[]",
    b"[" * 3000, b'{"a":' * 2000, b"9" * 5000, b"18446744073709551616", b"9223372036854775808", b'"AA=="', b'"A"', b'"',
    b"\xff", b"\0", b"T24:00:00", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"\xd9\xa3", b"1_0", b" 1 ",
)  # fmt: skip
DOCUMENTS = Target(seeds, opened, WORDS, 16384)
