"""The entry of the relay stream between front end and worker (spec/miner.md §2.1, spec/relayer.md §4.2).

One stream field `data` holds these bytes; the same as the reference writes and reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocket_protocol.pb.pocket.ha_pb2 import MinedRelayMessage
from pocket_protocol.types import (
    ApplicationAddress,
    ComputeUnits,
    Height,
    RelayHash,
    ServiceId,
    SessionId,
    SupplierAddress,
)
from pocket_protocol.wire import decode_strict


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A mined relay on its way into its session's tree. Everything but `relay_bytes` is the writer's claim."""

    relay_hash: RelayHash  # sha256(relay_bytes); b"" when the writer left it out
    relay_bytes: bytes  # bytes of the Relay without response payload: the leaf value
    compute_units_per_relay: ComputeUnits
    session_id: SessionId
    session_end_height: Height
    supplier_operator_address: SupplierAddress
    service_id: ServiceId
    application_address: ApplicationAddress
    arrival_block_height: Height  # chain height when the request came in
    published_at_ns: int  # wall clock of the writer, nanoseconds since the epoch
    session_start_height: Height  # 0 from old writers


def encode_stream_entry(entry: StreamEntry) -> bytes:
    """Return the bytes of the stream field `data`."""
    return MinedRelayMessage(
        relay_hash=entry.relay_hash,
        relay_bytes=entry.relay_bytes,
        compute_units_per_relay=entry.compute_units_per_relay,
        session_id=entry.session_id,
        session_end_height=entry.session_end_height,
        supplier_operator_address=entry.supplier_operator_address,
        service_id=entry.service_id,
        application_address=entry.application_address,
        arrival_block_height=entry.arrival_block_height,
        published_at_unix_nano=entry.published_at_ns,
        session_start_height=entry.session_start_height,
    ).SerializeToString()


def decode_stream_entry(data: bytes) -> StreamEntry:
    """Parse the stream field `data`. Raises `wire.Undecodable`; what the values mean is not checked here."""
    message = decode_strict(MinedRelayMessage, data)
    return StreamEntry(
        relay_hash=RelayHash(message.relay_hash),
        relay_bytes=message.relay_bytes,
        compute_units_per_relay=ComputeUnits(message.compute_units_per_relay),
        session_id=SessionId(message.session_id),
        session_end_height=Height(message.session_end_height),
        supplier_operator_address=SupplierAddress(message.supplier_operator_address),
        service_id=ServiceId(message.service_id),
        application_address=ApplicationAddress(message.application_address),
        arrival_block_height=Height(message.arrival_block_height),
        published_at_ns=message.published_at_unix_nano,
        session_start_height=Height(message.session_start_height),
    )
