"""Messages as the network's encoder writes them (spec/chain.md §0).

python-protobuf writes fields in ascending order with proto3 defaults omitted, as the network does. Two
things differ and are done here: embedded messages marked `always_emitted` in proto/ are written even
when empty, and unknown fields do not survive a decode.
"""

from __future__ import annotations

import functools
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from pocket_protocol.errors import Malformed
from pocket_protocol.pb import relay_miner_pb2

M = TypeVar("M", bound=Message)


class Undecodable(Malformed):
    """Bytes that are not an encoding of the message they are said to be."""

    reason = "undecodable"
    summary = "cannot be decoded"


@functools.cache
def _embedded_fields(descriptor: Descriptor) -> tuple[tuple[FieldDescriptor, bool, bool], ...]:
    """Return (field, repeated, always emitted) of each field of message type, maps excepted."""
    fields = []
    for field in descriptor.fields:
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        always = field.GetOptions().Extensions[relay_miner_pb2.always_emitted]
        fields.append((field, field.is_repeated, always and not field.is_repeated))
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


def encode(message: Message) -> bytes:
    """Return the canonical bytes of `message`; marks its always-emitted members as present on the way."""
    _complete(message)
    return message.SerializeToString(deterministic=True)


def decode(message_type: type[M], data: bytes) -> M:
    """Parse `data`, dropping unknown fields at every level. Raises `Undecodable`."""
    message = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Undecodable(message=message_type.DESCRIPTOR.full_name, length=len(data)) from error
    message.DiscardUnknownFields()
    return message
