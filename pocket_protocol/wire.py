"""Messages as the network's encoder writes them (spec/chain.md §0).

python-protobuf writes fields in ascending order with proto3 defaults omitted, as the network does. What
differs is done here: embedded messages marked `always_emitted` in proto/ are written even when empty,
unknown fields do not survive a decode, and for relays a known field with the wrong wire type is an
error. Maps, whose order python-protobuf does not keep even when told to, are put in order by
`canonical`; the header maps of envelopes are written by hand in `envelope`.
"""

from __future__ import annotations

import functools
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from pocket_protocol import canonical
from pocket_protocol.canonical import Undecodable

__all__ = ["Undecodable", "decode", "decode_strict", "encode"]

M = TypeVar("M", bound=Message)


@functools.cache
def _embedded_fields(descriptor: Descriptor) -> tuple[tuple[FieldDescriptor, bool, bool], ...]:
    """Return (field, repeated, always emitted) of each field of message type, maps excepted."""
    fields = []
    for field in descriptor.fields:
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        fields.append((field, field.is_repeated, canonical.is_always_emitted(field)))
    return tuple(fields)


def _complete(message: Message) -> None:
    for field, repeated, always in _embedded_fields(message.DESCRIPTOR):
        if repeated:
            for item in getattr(message, field.name):
                _complete(item)
            continue
        child = getattr(message, field.name)
        if always:
            child.SetInParent()
        if always or message.HasField(field.name):
            _complete(child)


@functools.cache
def _holds_map(descriptor: Descriptor, within: tuple[Descriptor, ...] = ()) -> bool:
    """Whether a map can occur in such a message, at any level; `within` are the messages around it."""
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None or inner in within:
            continue
        if inner.GetOptions().map_entry or _holds_map(inner, (*within, descriptor)):
            return True
    return False


def encode(message: Message) -> bytes:
    """Return the canonical bytes of `message`; marks its always-emitted members as present on the way."""
    _complete(message)
    encoded = message.SerializeToString()
    descriptor = cast(Descriptor, message.DESCRIPTOR)
    return canonical.recode(descriptor, encoded) if _holds_map(descriptor) else encoded


def decode(message_type: type[M], data: bytes) -> M:
    """Parse `data`, dropping unknown fields at every level. Raises `Undecodable`."""
    message = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Undecodable(message=message_type.DESCRIPTOR.full_name, length=len(data)) from error
    message.DiscardUnknownFields()
    return message


def decode_strict(message_type: type[M], data: bytes) -> M:
    """Parse `data` as the network's decoder does: as `decode`, and a wrong wire type is an error.

    For messages of strings, bytes and 64-bit or unsigned integers only (relays, stream entries): of
    these the canonical encoding is the shortest one, so bytes of canonical length hide no dropped
    field, and only others are looked through field by field (spec/chain.md §0.2-4).
    Raises `Undecodable`.
    """
    message = decode(message_type, data)
    if message.ByteSize() != len(data):
        canonical.check(cast(Descriptor, message_type.DESCRIPTOR), data)
    return message
