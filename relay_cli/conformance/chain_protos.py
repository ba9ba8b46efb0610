"""Checks of chain_protos.json: the fields, enums and methods of proto/ are those of the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from pocket_protocol.canonical import is_always_emitted
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.schema import pool, service

_UNSEEN = ("customtype",)  # how the chain's own code holds a value; nothing on the wire, nothing in proto/
_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def _type_name(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            key, value = (_type_name(field.message_type.fields_by_number[number]) for number in (1, 2))
            return f"map<{key}, {value}>"
        name = str(field.message_type.full_name)
    elif field.enum_type is not None:
        name = f"enum {field.enum_type.full_name}"
    else:
        name = _SCALARS[field.type]
    return name


def _field_entry(field: FieldDescriptor) -> dict[str, object]:
    name = _type_name(field)
    repeated = field.is_repeated and not name.startswith("map<")
    entry: dict[str, object] = {
        "name": field.name,
        "number": field.number,
        "type": f"repeated {name}" if repeated else name,
    }
    if is_always_emitted(field):
        entry["non_nullable"] = True
    if name == "google.protobuf.Timestamp":
        entry["stdtime"] = True
    if field.containing_oneof is not None:
        entry["oneof"] = field.containing_oneof.name
    if field.GetOptions().deprecated:
        entry["deprecated"] = True
    return entry


def _check_messages(messages: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for message in messages:
        name = message["message"]
        expected = [
            {key: value for key, value in field.items() if key not in _UNSEEN} for field in message["fields"]
        ]
        try:
            fields = sorted(pool().FindMessageTypeByName(name).fields, key=lambda field: field.number)
        except KeyError:
            yield Case(name, expected, "no such message")
            continue
        yield Case(name, expected, [_field_entry(field) for field in fields])


def _check_enums(enums: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for enum in enums:
        name = enum["enum"]
        try:
            values = pool().FindEnumTypeByName(name).values
        except KeyError:
            yield Case(name, enum["values"], "no such enum")
            continue
        yield Case(name, enum["values"], [{"name": value.name, "number": value.number} for value in values])


def _check_services(services: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in services:
        name = entry["service"]
        found = service(name)
        methods = [
            {
                "path": f"/{name}/{method.name}",
                "request": method.input_type.full_name,
                "response": method.output_type.full_name,
            }
            for method in (found.methods if found is not None else ())
        ]
        yield Case(name, entry["methods"], methods)


CHAIN_PROTOS = VectorFile(
    "chain_protos",
    {
        "description": Context(),
        "messages": _check_messages,
        "enums": _check_enums,
        "services": _check_services,
    },
    {"messages.fields.customtype": "how the chain's own code holds a value; it does not change the wire"},
)
