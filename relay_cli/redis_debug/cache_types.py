"""The cached entities by type: their keys, known sets, messages and values (spec/miner.md §5.1, §5.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import MessageToJson

from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket import proof_pb2, session_pb2, shared_pb2
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.wire import decode
from relay_cli.redis_debug.deployment import Deployment
from relay_cli.tables import printable
from relay_store.keys import Keys

ALL: Final = "all"
SUPPLIER: Final = "supplier"


@dataclass(frozen=True, slots=True)
class CacheType:
    """One type of entity. Without `field` there is one entry, and its key needs no name."""

    name: str
    spell: Callable[[Keys, str], str]
    field: str = ""  # of the invalidation message
    known: str = ""  # the known set's kind
    message: Any = None  # what the value is, where that is a message

    @property
    def is_single(self) -> bool:
        return not self.field


TYPES: Final = {
    one.name: one
    for one in (
        CacheType("application", Keys.application, "address", "applications", Application),
        CacheType("service", Keys.service, "service_id", "services", shared_pb2.Service),
        CacheType("account", Keys.account, "address"),
        CacheType(SUPPLIER, Keys.supplier, "operator_address", "suppliers"),
        CacheType("shared_params", lambda keys, _: keys.shared_params(), message=shared_pb2.Params),
        CacheType("session_params", lambda keys, _: keys.session_params(), message=session_pb2.Params),
        CacheType("proof_params", lambda keys, _: keys.proof_params(), message=proof_pb2.Params),
    )
}


class CacheEntries:
    """The entries of one type in a deployment's store."""

    def __init__(self, deployment: Deployment, of: CacheType) -> None:
        self._deployment = deployment
        self._client = deployment.store.client
        self._keys = deployment.keys
        self.of = of

    def key(self, name: str) -> str:
        """Return the store's key of an entity."""
        return self.of.spell(self._keys, name)

    def cached(self) -> list[str]:
        """Return the names of what is cached, sorted; the type itself stands for its only entry."""
        if self.of.is_single:
            return [self.of.name] if self._client.exists(self.key("")) else []
        return self._deployment.named(self.key("*"))

    def known(self) -> list[str]:
        """Return the members of the known set, sorted."""
        if not self.of.known:
            return []
        return sorted(
            raw.decode(errors="replace") for raw in self._client.smembers(self._keys.known(self.of.known))
        )

    def row(self, name: str) -> dict[str, Any]:
        """Return an entry's line in a list; one that is only known has no TTL and no bytes."""
        key = self.key(name)
        ttl_s, size = int(self._client.ttl(key)), int(self._client.strlen(key))
        return {
            "entity": printable(name),
            "ttl_s": "none" if ttl_s == -1 else "-" if ttl_s < 0 else ttl_s,
            "bytes": size,
        }

    def inspect(self, name: str) -> dict[str, Any] | None:
        """Return an entry whole, with its value readable; None when it is not cached."""
        key = self.key(name)
        raw = self._client.get(key)
        if raw is None:
            return None
        return {
            "key": key,
            "ttl_s": int(self._client.ttl(key)),
            "bytes": len(raw),
            "value": self._readable(raw),
        }

    def _readable(self, raw: bytes) -> str:
        if self.of.name == "account":
            return raw.hex()
        if self.of.message is not None:
            try:
                message = decode(self.of.message, raw)
                return MessageToJson(message, preserving_proto_field_name=True, indent=None)
            except PocketError:
                return f"not a {self.of.message.DESCRIPTOR.name}: {raw.hex()}"
        return printable(raw)

    def invalidate(self, name: str) -> bool:
        """Delete an entry, tell every process to forget it, take it out of the known set; False if none was cached."""
        deleted = self._client.unlink(self.key(name))
        document = {"key": name} | ({self.of.field: name} if self.of.field else {})
        channel = self._keys.invalidation_channel(self.of.name)
        self._client.publish(channel, json.dumps(document, separators=(",", ":")))
        if self.of.known:
            self._client.srem(self._keys.known(self.of.known), name)
        return bool(deleted)
