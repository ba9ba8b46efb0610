"""Decoding and canonical re-encoding by hand, from the descriptors alone (spec/chain.md §0).

What the network's decoder accepts and what its encoder then writes, without python-protobuf: field by
field, strings as bytes (not UTF-8-checked there), unknown fields dropped, duplicates merged. It is the
slow way, used where python-protobuf is more tolerant than the network and to check it from outside.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pocket_protocol.errors import Malformed
from pocket_protocol.pb import relay_miner_pb2

MAX_FIELDS = 4096  # fields `check` looks at in one message; a relay has 12, each costs about a microsecond
MAX_DEPTH = 100  # nested messages or groups, python-protobuf's own limit

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)
_MASK64 = (1 << 64) - 1
_MASK32 = (1 << 32) - 1

_ALWAYS_EMITTED: Any = relay_miner_pb2.always_emitted
_F = FieldDescriptor
_WIRE_TYPE = {
    _F.TYPE_DOUBLE: FIXED64,
    _F.TYPE_FLOAT: FIXED32,
    _F.TYPE_INT64: VARINT,
    _F.TYPE_UINT64: VARINT,
    _F.TYPE_INT32: VARINT,
    _F.TYPE_FIXED64: FIXED64,
    _F.TYPE_FIXED32: FIXED32,
    _F.TYPE_BOOL: VARINT,
    _F.TYPE_STRING: BYTES,
    _F.TYPE_MESSAGE: BYTES,
    _F.TYPE_BYTES: BYTES,
    _F.TYPE_UINT32: VARINT,
    _F.TYPE_ENUM: VARINT,
}


class Undecodable(Malformed):
    """Bytes that are not an encoding of the message they are said to be."""

    reason = "undecodable"
    summary = "cannot be decoded"


_ONE_GROUP = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """Encode 0 <= value < 2**64 in base-128 groups, lowest first."""
    if value < 0x80:
        return _ONE_GROUP[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return (value modulo 2**64, next position). Raises `Undecodable` when cut off or over ten bytes."""
    value = shift = 0
    while True:
        if position >= len(data):
            raise Undecodable("unexpected end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, position
        shift += 7
        if shift >= 70:
            raise Undecodable("integer overflow")


def scan(data: bytes, max_fields: int | None = None) -> Iterator[tuple[int, int, Any]]:
    """Yield (field number, wire type, value) of each field; fixed-width values and groups as their bytes.

    Raises `Undecodable` for cut-off bytes, tag 0, stray group ends, and more than
    `max_fields` fields, in groups too.
    """
    position = 0
    for count in itertools.count():
        if position == len(data):
            return
        if count == max_fields:
            raise Undecodable("too many fields", limit=max_fields)
        tag, position = read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or tag > _MASK32:
            raise Undecodable("illegal tag", tag=tag)
        start = position
        if wire_type == VARINT:
            value, position = read_varint(data, position)
            yield number, wire_type, value
            continue
        if wire_type == BYTES:
            size, start = read_varint(data, position)
            position = start + size
        elif wire_type == FIXED64:
            position += 8
        elif wire_type == FIXED32:
            position += 4
        elif wire_type == GROUP:
            position = _end_of_group(data, position, number, max_fields)
        else:
            raise Undecodable("illegal wire type", wire_type=wire_type)
        if position > len(data):
            raise Undecodable("unexpected end")
        yield number, wire_type, data[start:position]


def _end_of_group(data: bytes, position: int, number: int, max_fields: int | None) -> int:
    open_groups = [number]
    count = 0
    while open_groups:
        count += 1
        if max_fields is not None and count > max_fields:
            raise Undecodable("too many fields", limit=max_fields)
        tag, position = read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            _, position = read_varint(data, position)
        elif wire_type == BYTES:
            size, position = read_varint(data, position)
            position += size
        elif wire_type in (FIXED64, FIXED32):
            position += 8 if wire_type == FIXED64 else 4
        elif wire_type == GROUP and len(open_groups) < MAX_DEPTH:
            open_groups.append(number)
        elif wire_type != END_GROUP or open_groups.pop() != number:
            raise Undecodable("illegal wire type", wire_type=wire_type)
    return position


def is_always_emitted(field: FieldDescriptor) -> bool:
    """Whether the network writes this embedded message even when it is empty (spec/chain.md §0.1)."""
    return not field.is_repeated and bool(field.GetOptions().Extensions[_ALWAYS_EMITTED])


def _message_type(field: FieldDescriptor) -> Descriptor:
    return cast(Descriptor, field.message_type)


@functools.cache
def _fields(descriptor: Descriptor) -> dict[int, FieldDescriptor]:
    return {field.number: field for field in sorted(descriptor.fields, key=lambda field: field.number)}


def check(descriptor: Descriptor, data: bytes, depth: int = 0) -> None:
    """Raise `Undecodable` when a known field, at any level, has a wire type that is not its own."""
    if depth > MAX_DEPTH:
        raise Undecodable("nested too deeply")
    fields = _fields(descriptor)
    for number, wire_type, value in scan(data, MAX_FIELDS):
        field = fields.get(number)
        if field is None:
            continue
        packed = wire_type == BYTES and field.is_repeated
        if wire_type != _WIRE_TYPE[field.type] and not packed:
            raise Undecodable("wrong wire type", wire_type=wire_type, field=field.name)
        if field.type == _F.TYPE_MESSAGE:
            check(_message_type(field), value, depth + 1)


def _unpacked(field: FieldDescriptor, data: bytes) -> list[int | bytes]:
    values: list[int | bytes] = []
    position = 0
    width = {FIXED64: 8, FIXED32: 4}.get(_WIRE_TYPE[field.type])
    while position < len(data):
        if width is None:
            value, position = read_varint(data, position)
            values.append(value)
            continue
        if position + width > len(data):
            raise Undecodable("unexpected end")
        values.append(data[position : position + width])
        position += width
    return values


def _narrowed(field: FieldDescriptor, value: Any) -> Any:
    """Cut an integer to its type's width; 32-bit signed ones are written sign-extended to 64 bits."""
    if field.type == _F.TYPE_BOOL:
        return int(value != 0)
    if field.type == _F.TYPE_UINT32:
        return value & _MASK32
    if field.type in (_F.TYPE_INT32, _F.TYPE_ENUM):
        value &= _MASK32
        return value | (_MASK64 ^ _MASK32) if value >> 31 else value
    return value


def parse(descriptor: Descriptor, data: bytes, into: dict[int, Any] | None = None) -> dict[int, Any]:
    """Return {field number: value}, merging as the network's decoder does.

    Embedded messages are dicts of the same kind, repeated fields lists. Raises `Undecodable`.
    """
    tree: dict[int, Any] = {} if into is None else into
    fields = _fields(descriptor)
    for number, wire_type, value in scan(data):
        field = fields.get(number)
        if field is None:
            continue
        scalar_type = _WIRE_TYPE[field.type]
        if field.type == _F.TYPE_MESSAGE and wire_type == BYTES:
            old = {} if field.is_repeated else tree.get(number, {})
            value = parse(_message_type(field), value, old)
        elif wire_type == BYTES and scalar_type != BYTES and field.is_repeated:
            packed = [_narrowed(field, item) for item in _unpacked(field, value)]
            tree.setdefault(number, []).extend(packed)
            continue
        elif wire_type != scalar_type:
            raise Undecodable("wrong wire type", wire_type=wire_type, field=field.name)
        else:
            value = _narrowed(field, value)
        if field.is_repeated:
            tree.setdefault(number, []).append(value)
            continue
        if field.containing_oneof is not None:
            for sibling in field.containing_oneof.fields:
                if sibling.number != number:
                    tree.pop(sibling.number, None)
        tree[number] = value
    return tree


def _value_bytes(field: FieldDescriptor, value: Any) -> bytes:
    if field.type == _F.TYPE_MESSAGE:
        value = write(_message_type(field), value)
    if isinstance(value, int):
        return varint(value)
    if _WIRE_TYPE[field.type] == BYTES:
        return varint(len(value)) + bytes(value)
    return bytes(value)


def _map_entries(field: FieldDescriptor, entries: list[dict[int, Any]]) -> list[bytes]:
    """The entries of a map in ascending order of their keys, the last of equal ones, key and value written."""
    key_field, value_field = (_message_type(field).fields_by_number[number] for number in (1, 2))
    no_key = b"" if _WIRE_TYPE[key_field.type] == BYTES else 0
    no_value: Any = (
        {} if value_field.type == _F.TYPE_MESSAGE else (b"" if _WIRE_TYPE[value_field.type] == BYTES else 0)
    )
    by_key = {entry.get(1, no_key): entry.get(2, no_value) for entry in entries}
    encoded = []
    for key in sorted(by_key):
        entry = varint(8 | _WIRE_TYPE[key_field.type]) + _value_bytes(key_field, key)
        entry += varint(16 | _WIRE_TYPE[value_field.type]) + _value_bytes(value_field, by_key[key])
        encoded.append(varint(len(entry)) + entry)
    return encoded


def _is_default(field: FieldDescriptor, value: Any) -> bool:
    """Whether the encoder leaves the value out; fixed-width zeros are all-zero bytes."""
    if field.has_presence:
        return False
    return not value.strip(b"\0") if _WIRE_TYPE[field.type] in (FIXED64, FIXED32) else not value


def write(descriptor: Descriptor, tree: dict[int, Any]) -> bytes:
    """Return the canonical bytes of a parsed message: the inverse of `parse`."""
    encoded = bytearray()
    for number, field in _fields(descriptor).items():
        wire_type = _WIRE_TYPE[field.type]
        value = tree.get(number)
        if field.is_repeated:
            if not value:
                continue
            if field.type == _F.TYPE_MESSAGE and _message_type(field).GetOptions().map_entry:
                items = _map_entries(field, value)
            else:
                items = [_value_bytes(field, item) for item in value]
            if wire_type == BYTES:
                for item in items:
                    encoded += varint(number << 3 | BYTES) + item
            else:
                packed = b"".join(items)
                encoded += varint(number << 3 | BYTES) + varint(len(packed)) + packed
            continue
        if value is None and field.type == _F.TYPE_MESSAGE and is_always_emitted(field):
            value = {}
        if value is None or _is_default(field, value):
            continue
        encoded += varint(number << 3 | wire_type) + _value_bytes(field, value)
    return bytes(encoded)


def recode(descriptor: Descriptor, data: bytes) -> bytes:
    """Decode and encode again as the network does. Raises `Undecodable`."""
    return write(descriptor, parse(descriptor, data))
