"""The generated protobuf types, found by the names and method paths that recorded data gives."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pool, duration_pb2, json_format, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from pocket_protocol import pb
from pocket_protocol.errors import PocketError
from pocket_protocol.wire import decode, encode
from relay_cli.conformance.check import Case

_UNIMPLEMENTED = 12  # gRPC status of a node that has no such method


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    """Return the pool that holds every type generated from proto/."""
    for module in pkgutil.walk_packages(pb.__path__, f"{pb.__name__}."):
        importlib.import_module(module.name)
    assert (
        duration_pb2.DESCRIPTOR.pool is descriptor_pool.Default()
    )  # named by the chain, used by none of ours
    return duration_pb2.DESCRIPTOR.pool


def service(name: str) -> ServiceDescriptor | None:
    """Return the service of that full name; None when there is none."""
    try:
        return pool().FindServiceByName(name)
    except KeyError:
        return None


def method_types(path: str) -> tuple[type[Message], type[Message]] | None:
    """Return (request type, response type) of `/package.Service/Method`; None when there is no such method."""
    name, _, method_name = path.removeprefix("/").partition("/")
    found = service(name)
    method = None if found is None else found.methods_by_name.get(method_name)
    if method is None:
        return None
    return message_factory.GetMessageClass(method.input_type), message_factory.GetMessageClass(
        method.output_type
    )


def reencoded(message_type: type[Message], hex_bytes: str) -> str:
    """Decode and encode again, in hex; the error when that fails."""
    try:
        return encode(decode(message_type, bytes.fromhex(hex_bytes))).hex()
    except (PocketError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def as_json(message_type: type[Message], hex_bytes: str) -> object:
    """Decode into the chain's JSON form, names as in proto/, unset members left out; the error when that fails."""
    try:
        message = decode(message_type, bytes.fromhex(hex_bytes))
        form = json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
        )
    except (PocketError, ValueError, json_format.Error) as error:
        return f"{type(error).__name__}: {error}"
    return without_unset(form)


def without_unset(form: object) -> object:
    """Leave out what is null or empty text: recorded JSON says null where ours says nothing."""
    if isinstance(form, dict):
        return {key: without_unset(value) for key, value in form.items() if value is not None and value != ""}
    if isinstance(form, list):
        return [without_unset(value) for value in form]
    return form


def call_cases(name: str, path: str, call: Mapping[str, Any]) -> Iterator[Case]:
    """Decode and encode again the request and the response of one recorded call of a method."""
    types = method_types(path)
    unimplemented = call.get("grpc_code") == _UNIMPLEMENTED
    yield Case(f"{name} is a method", not unimplemented, types is not None)
    for message_type, side in zip(types or (), ("request", "response"), strict=False):
        if f"{side}_hex" in call:
            yield Case(
                f"{name} {side}_hex", call[f"{side}_hex"], reencoded(message_type, call[f"{side}_hex"])
            )
        if f"{side}_json" in call:
            expected = without_unset(call[f"{side}_json"])
            yield Case(f"{name} {side}_json", expected, as_json(message_type, call[f"{side}_hex"]))
        if f"{side}_type" in call:
            yield Case(f"{name} {side}_type", call[f"{side}_type"], message_type.DESCRIPTOR.full_name)
