"""Builders of mined relays, their sessions and stream entries, for tests of what comes after the front end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from mining_tasks.session_facts import SessionFacts
from pocket_protocol import smst
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.errors import Refused
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.stream_entry import StreamEntry, encode_stream_entry
from pocket_protocol.types import (
    ApplicationAddress,
    ComputeUnits,
    Height,
    ServiceId,
    SessionId,
    SupplierAddress,
)
from pocket_protocol.windows import Windows
from relay_store.connection import Store
from relay_store.dead import KILLS_WORKER, MAX_LETTERS, dead_letters
from relay_store.keys import Keys

SUPPLIER = "pokt1supplier"
CUPR = ComputeUnits(7)
KEYS = Keys()


def header_of(number: int) -> SessionHeader:
    """The header of session `number` of one application: heights 10·number+1 … 10·number+10."""
    return SessionHeader(
        application_address="pokt1application",
        service_id="svc1",
        session_id=sha256(f"session {number}".encode()).hexdigest(),
        session_start_block_height=10 * number + 1,
        session_end_block_height=10 * number + 10,
    )


def windows_of(header: SessionHeader) -> Windows:
    end = header.session_end_block_height
    heights = [Height(end + offset) for offset in (0, 1, 2, 10, 10, 11, 18, 19)]
    return Windows(*heights, num_pending_sessions=1)


class NoSuchSessionOnChain(Refused):
    reason = "no_such_session_on_chain"


@dataclass
class KnownSessions:
    """A `SessionLookup` over sessions given to it."""

    sessions: dict[int, SessionFacts | None] = field(default_factory=dict)
    current: int = 0

    @classmethod
    def of(cls, *numbers: int, target: bytes = BASE_TARGET) -> KnownSessions:
        headers = {number: header_of(number) for number in numbers}
        return cls(
            {
                number: SessionFacts(header, windows_of(header), CUPR, target)
                for number, header in headers.items()
            }
        )

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        number = header.session_start_block_height // 10
        if supplier != SUPPLIER or number not in self.sessions:
            raise NoSuchSessionOnChain(session=header.session_id)
        return self.sessions[number]

    def height(self) -> Height:
        return Height(self.current)


def relay_bytes(header: SessionHeader, number: int, *, supplier: str = SUPPLIER, size: int = 200) -> bytes:
    relay = Relay()
    relay.req.meta.session_header.CopyFrom(header)
    relay.req.meta.supplier_operator_address = supplier
    relay.req.meta.signature = bytes(64)
    relay.req.payload = number.to_bytes(8, "big") * (size // 8)
    relay.res.meta.session_header.CopyFrom(header)
    relay.res.meta.supplier_operator_signature = bytes(64)
    relay.res.payload_hash = sha256(relay.req.payload).digest()
    return relay.SerializeToString()


def entry_of(header: SessionHeader, mined: bytes, *, supplier: str = SUPPLIER, weight: int = CUPR) -> bytes:
    return encode_stream_entry(
        StreamEntry(
            relay_hash=relay_hash(mined),
            relay_bytes=mined,
            compute_units_per_relay=ComputeUnits(weight),
            session_id=SessionId(header.session_id),
            session_end_height=Height(header.session_end_block_height),
            supplier_operator_address=SupplierAddress(supplier),
            service_id=ServiceId(header.service_id),
            application_address=ApplicationAddress(header.application_address),
            arrival_block_height=Height(header.session_start_block_height + 1),
            published_at_ns=1,
            session_start_height=Height(header.session_start_block_height),
        )
    )


def publish(store: Store, entries: Iterable[bytes]) -> None:
    """Append entries to the supplier's stream, as the front end does."""
    pipeline = store.client.pipeline(transaction=False)
    for entry in entries:
        pipeline.xadd(KEYS.relay_stream(SUPPLIER), {"data": entry})
    pipeline.execute()


def publish_relays(store: Store, session: int, numbers: Iterable[int], *, size: int = 200) -> None:
    header = header_of(session)
    publish(store, (entry_of(header, relay_bytes(header, number, size=size)) for number in numbers))


def expected_root(session: int, numbers: Iterable[int], *, weight: int = CUPR, size: int = 200) -> smst.Root:
    """The root over these relays, computed from nothing but themselves."""
    header = header_of(session)
    mined = {relay_bytes(header, number, size=size) for number in numbers}
    records = [
        smst.leaf_record(smst.path_of(relay_hash(relay)), relay, ComputeUnits(weight)) for relay in mined
    ]
    return smst.Root.from_bytes(smst.bulk_root(smst.collapse(b"".join(records))))


def without_buried(store: Store, session: int, numbers: Iterable[int]) -> list[int]:
    """Return `numbers` without those whose entries were buried as ones that kill workers.

    An entry that a killed worker had in hand nine times is told from such a one by nothing (decisions.md B3).
    """
    header, left = header_of(session), list(numbers)
    number_of = {entry_of(header, relay_bytes(header, number)): number for number in left}
    for letter in dead_letters(store, KEYS, SUPPLIER, count=MAX_LETTERS):
        assert letter.reason == KILLS_WORKER
        if letter.body in number_of:
            left.remove(number_of[letter.body])  # one of them; the same relay may have come twice
    return left
