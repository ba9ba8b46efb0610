"""How the chain's entities stand in the store, where relayers and miners of both kinds read them (spec/relayer.md §5.1).

Formats are the reference's; life times are bounded where it has none, so that nothing outlives a lost message for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import Message

from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.shared_pb2 import Params, Service
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import PublicKey
from pocket_protocol.wire import decode, encode
from relay_store.entity_cache import SharedLevel
from relay_store.go_json import decode_go_json, encode_go_json
from relay_store.keys import Keys

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0

M = TypeVar("M", bound=Message)


class OtherEntity(Malformed):
    """An entity under the name of another."""

    reason = "cached_entity"
    summary = "another entity than the one asked for"


class UnreadableKey(Malformed):
    """A cached account key that is not 33 bytes."""

    reason = "cached_account_key"
    summary = "not a cached account key"


def shared_params_level(keys: Keys) -> SharedLevel[None, SharedParams]:
    """The parameters of now."""
    return SharedLevel(
        key=lambda _: keys.shared_params(),
        encode=lambda params: encode(params.to_proto()),
        decode=lambda _, data: SharedParams.from_proto(decode(Params, data)),
        ttl_s=lambda _, params: MINUTE_S,
        lock_key=lambda _: keys.cache_lock("shared_params"),
    )


def params_at_level(keys: Keys) -> SharedLevel[int, SharedParams]:
    """The parameters at a height."""
    return SharedLevel(
        key=keys.shared_params_at,
        encode=lambda params: encode_go_json(params.to_proto(), zeros=True),
        decode=lambda _, data: SharedParams.from_proto(decode_go_json(Params, data)),
        ttl_s=lambda height, params: MINUTE_S,
        lock_key=lambda height: keys.cache_lock("params:shared", str(height)),
    )


def application_level(keys: Keys) -> SharedLevel[str, Application]:
    """Applications by address."""
    return _named(Application, lambda message: message.address, keys.application, keys, "application")


def service_level(keys: Keys) -> SharedLevel[str, Service]:
    """Services by id."""
    return _named(Service, lambda message: message.id, keys.service, keys, "service")


def account_level(keys: Keys) -> SharedLevel[str, PublicKey]:
    """Public keys of accounts by address; a key never changes."""

    def checked(_: str, data: bytes) -> PublicKey:
        if len(data) != 33:
            raise UnreadableKey(length=len(data))
        return PublicKey(data)

    return SharedLevel(
        key=keys.account,
        encode=bytes,
        decode=checked,
        ttl_s=lambda _, key: DAY_S,
        lock_key=lambda address: keys.cache_lock("account", address),
    )


def _named(
    message_type: type[M],
    name_of: Callable[[M], str],
    key: Callable[[str], str],
    keys: Keys,
    kind: str,
) -> SharedLevel[str, M]:
    def own(name: str, data: bytes) -> M:
        message = decode(message_type, data)
        if name_of(message) != name:
            raise OtherEntity(kind=kind, name=name)
        return message

    return SharedLevel(
        key=key,
        encode=encode,
        decode=own,
        ttl_s=lambda _, message: 5 * MINUTE_S,
        lock_key=lambda name: keys.cache_lock(kind, name),
    )
