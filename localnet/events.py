"""Events as CometBFT shows them (spec/chain.md §8).

A typed event has one attribute per field, in alphabetical order, each the proto3 JSON of that field with
original names and defaults included. The SDK's own events (bank, tx, message) have plain text attributes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pocket_protocol.pb import relay_miner_pb2
from pocket_protocol.pb.tendermint import abci_pb2

_WIDE = (
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type and its (key, value) attributes."""

    type: str
    attributes: tuple[tuple[str, str], ...]

    def with_attribute(self, key: str, value: str) -> Event:
        return replace(self, attributes=(*self.attributes, (key, value)))

    def value(self, key: str) -> str:
        """Return the value of attribute `key`, "" when there is none."""
        return next((value for name, value in self.attributes if name == key), "")

    def to_json(self, index: bool = True) -> dict[str, Any]:
        attributes = [{"key": key, "value": value, "index": index} for key, value in self.attributes]
        return {"type": self.type, "attributes": attributes}

    def to_proto(self, index: bool = True) -> abci_pb2.Event:
        attributes = [abci_pb2.EventAttribute(key=k, value=v, index=index) for k, v in self.attributes]
        return abci_pb2.Event(type=self.type, attributes=attributes)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return json_of(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    if field.cpp_type in _WIDE:
        return str(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    return value


def _field_json(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {str(key): _scalar(entry, value[key]) for key in sorted(value, key=str)}
    if field.is_repeated:
        return [_scalar(field, item) for item in value]
    if field.message_type is not None and not message.HasField(field.name):
        always = field.GetOptions().Extensions[relay_miner_pb2.always_emitted]
        return json_of(value) if always else None
    return _scalar(field, value)


def json_of(message: Message) -> dict[str, Any]:
    """Return `message` as proto3 JSON: original names in field order, defaults and absent members included."""
    return {field.name: _field_json(message, field) for field in message.DESCRIPTOR.fields}


def typed(message: Message) -> Event:
    """Return the event of an Event… message."""
    fields = sorted(message.DESCRIPTOR.fields, key=lambda field: field.name)
    return Event(
        message.DESCRIPTOR.full_name,
        tuple((f.name, json.dumps(_field_json(message, f), separators=(",", ":"))) for f in fields),
    )


def plain(kind: str, **attributes: str) -> Event:
    """Return an event with text attributes, in the order given."""
    return Event(kind, tuple(attributes.items()))


def by_composite_key(events: list[Event]) -> Iterator[tuple[str, str]]:
    """Yield ("type.key", value) of each attribute: what a subscription shows beside the event."""
    for event in events:
        for key, value in event.attributes:
            yield f"{event.type}.{key}", value
