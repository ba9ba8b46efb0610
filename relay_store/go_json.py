"""Messages as the reference writes them to Redis: Go's JSON of its generated structs (spec/relayer.md §5.1).

Field names in snake_case and in the order of their numbers, 64-bit integers as numbers, enumerations as
numbers, bytes in base64. Zero values are left out, except maps, which are printed as null when empty; with
`zeros=True` every field is printed.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pocket_protocol.errors import Malformed

M = TypeVar("M", bound=Message)


class UnreadableDocument(Malformed):
    """A cached JSON document that does not fit its message."""

    reason = "cached_document"
    summary = "not a document of this kind"


def encode_go_json(message: Message, *, zeros: bool = False) -> bytes:
    """Return the document of `message`."""
    return json.dumps(_object(message, zeros), separators=(",", ":"), ensure_ascii=False).encode()


def decode_go_json(message_type: type[M], data: bytes) -> M:
    """Parse a document; members it does not know are ignored. Raises `UnreadableDocument`."""
    message = message_type()
    try:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        _fill(message, document)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        raise UnreadableDocument(message=message_type.DESCRIPTOR.full_name, length=len(data)) from error
    return message


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _entry_fields(field: FieldDescriptor) -> dict[str, FieldDescriptor]:
    """The `key` and `value` fields of a map."""
    return dict(cast(Descriptor, field.message_type).fields_by_name)


def _fields(message: Message) -> list[FieldDescriptor]:
    fields: Any = message.DESCRIPTOR.fields
    return sorted(fields, key=lambda field: int(field.number))


def _object(message: Message, zeros: bool) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for field in _fields(message):
        value = getattr(message, field.name)
        if _is_map(field):
            entry = _entry_fields(field)
            document[field.name] = {
                str(key): _value(entry["value"], value[key]) for key in sorted(value)
            } or None
        elif field.is_repeated:
            if value or zeros:
                document[field.name] = [_value(field, item) for item in value] or None
        elif field.message_type is not None:
            if message.HasField(field.name):
                document[field.name] = _object(value, zeros)
        elif value or zeros:
            document[field.name] = _value(field, value)
    return document


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return _object(value, False)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _fill(message: Message, document: dict[str, Any]) -> None:
    for field in _fields(message):
        value = document.get(field.name)
        if value is None:
            continue
        target = getattr(message, field.name)
        if _is_map(field):
            entry = _entry_fields(field)
            text_keys = entry["key"].type == FieldDescriptor.TYPE_STRING
            for key, item in value.items():
                typed_key = key if text_keys else int(key)
                if entry["value"].message_type is not None:
                    _fill(target[typed_key], item)
                else:
                    target[typed_key] = _scalar(entry["value"], item)
        elif field.is_repeated and field.message_type is not None:
            for item in value:
                _fill(target.add(), item)
        elif field.is_repeated:
            target.extend([_scalar(field, item) for item in value])
        elif field.message_type is not None:
            target.SetInParent()
            _fill(target, value)
        else:
            setattr(message, field.name, _scalar(field, value))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    return base64.b64decode(value, validate=True) if field.type == FieldDescriptor.TYPE_BYTES else value
