"""The suppliers this deployment serves, as its miners wrote them (spec/relayer.md §2.3, spec/miner.md §5.1, §5.5).

`ha:supplier:<S>` is the supplier's state on chain, read by every relayer; `ha:suppliers:<S>` with its index
set is what the miners manage. Both are the reference's documents, byte for byte in field names and order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pocket_protocol.errors import Malformed, PocketError, Refused, Unavailable
from relay_store.entity_cache import EntityCache, Lifetimes, no_count
from relay_store.store_errors import store_errors

NOT_STAKED: Final = "not_staked"
ACTIVE: Final = "active"
FRESH_S: Final = 60.0


class UnreadableSupplier(Malformed):
    """A registry document that is not one."""

    reason = "supplier_cache_error"
    summary = "failed to verify supplier state"


class SupplierNotRegistered(Refused):
    """No (usable) registry document."""

    reason = "supplier_not_found"
    summary = "supplier not registered with any miner"


class RegistryUnavailable(Unavailable):
    """The registry cannot be read now."""

    reason = "supplier_registry_unavailable"
    summary = "the supplier registry cannot be read"


@dataclass(frozen=True, slots=True)
class SupplierState:
    """One `ha:supplier:<S>` document."""

    operator_address: str
    status: str  # active, unstaking, not_staked
    staked: bool
    services: tuple[str, ...] = ()
    staked_endpoints: tuple[tuple[str, str], ...] = ()  # (service id, transport)
    unstake_session_end_height: int = 0
    owner_address: str = ""
    last_updated: int = 0  # unix seconds
    last_refresh_session_start: int = 0
    updated_by: str = ""
    declared: frozenset[tuple[str, str]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "declared", frozenset(self.staked_endpoints))

    @property
    def is_active(self) -> bool:
        """Staked, and not said to be `not_staked`; unstaking suppliers are active."""
        return self.staked and self.status != NOT_STAKED

    @property
    def is_contaminated(self) -> bool:
        """Staked and active without any service: written before its writer knew; treated as absent."""
        return self.staked and self.status == ACTIVE and not self.services

    def declares(self, service_id: str, transport: str) -> bool:
        """Whether the stake lists the transport; an old document without endpoints declares all."""
        return not self.declared or (service_id, transport) in self.declared


def encode_supplier_state(state: SupplierState) -> bytes:
    """Return the document of `state`."""
    document: dict[str, Any] = {
        "status": state.status,
        "staked": state.staked,
        "services": list(state.services) or None,
    }
    if state.staked_endpoints:
        document["staked_endpoints"] = [
            {"service_id": service_id, "rpc_type": transport}
            for service_id, transport in state.staked_endpoints
        ]
    document |= {
        "unstake_session_end_height": state.unstake_session_end_height,
        "operator_address": state.operator_address,
        "owner_address": state.owner_address,
        "last_updated": state.last_updated,
    }
    if state.last_refresh_session_start:
        document["last_refresh_session_start"] = state.last_refresh_session_start
    if state.updated_by:
        document["updated_by"] = state.updated_by
    return json.dumps(document, separators=(",", ":")).encode()


def decode_supplier_state(data: bytes) -> SupplierState:
    """Parse a document. Raises `UnreadableSupplier`."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        return SupplierState(
            operator_address=_text(document, "operator_address"),
            status=_text(document, "status"),
            staked=_flag(document, "staked"),
            services=tuple(_texts(document.get("services"))),
            staked_endpoints=tuple(
                (_text(endpoint, "service_id"), _text(endpoint, "rpc_type"))
                for endpoint in document.get("staked_endpoints") or ()
            ),
            unstake_session_end_height=_whole(document, "unstake_session_end_height"),
            owner_address=_text(document, "owner_address"),
            last_updated=_whole(document, "last_updated"),
            last_refresh_session_start=_whole(document, "last_refresh_session_start"),
            updated_by=_text(document, "updated_by"),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableSupplier(length=len(data)) from error


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(name)
    return value


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValueError(name)
    return value


def _whole(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    if value is None:
        return 0
    if type(value) is not int:
        raise ValueError(name)
    return value


def _texts(values: Any) -> list[str]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("services")
    return values


class SupplierRegistry:
    """Reads and writes supplier states. `supplier_key(S)` spells the document's key."""

    def __init__(
        self,
        client: Any,
        *,
        supplier_key: Callable[[str], str],
        invalidation_channel: str,
        monotonic: Callable[[], float] = time.monotonic,
        count: Callable[[str, str, str], None] = no_count,
        count_contaminated: Callable[[str], None] = lambda source: None,
    ) -> None:
        self._client = client
        self._supplier_key = supplier_key
        self._invalidation_channel = invalidation_channel
        self._count_contaminated = count_contaminated
        self._cache: EntityCache[str, SupplierState] = EntityCache(
            "supplier", self._read, Lifetimes(fresh_s=FRESH_S), monotonic=monotonic, count=count
        )

    def state(self, supplier: str) -> SupplierState:
        """The supplier's state, at most 60 s old.

        Raises `SupplierNotRegistered` (also for a contaminated document), `UnreadableSupplier`,
        `RegistryUnavailable`.
        """
        return self._cache.get(supplier)

    def forget(self, supplier: str) -> None:
        self._cache.invalidate(supplier)

    def forget_all(self) -> None:
        self._cache.clear()

    def write(self, state: SupplierState) -> None:
        """Write `state` and tell every relayer. A contaminated state is a mistake of the caller: ValueError."""
        if state.is_contaminated:
            raise ValueError(f"supplier {state.operator_address} is active without services")
        self._client.set(self._supplier_key(state.operator_address), encode_supplier_state(state))
        self._announce(state.operator_address)

    def remove(self, supplier: str) -> None:
        """Delete the supplier's state and tell every relayer."""
        self._client.delete(self._supplier_key(supplier))
        self._announce(supplier)

    def _announce(self, supplier: str) -> None:
        self._client.publish(self._invalidation_channel, json.dumps({"operator_address": supplier}))

    def _read(self, supplier: str) -> SupplierState:
        try:
            with store_errors():
                document = self._client.get(self._supplier_key(supplier))
        except PocketError as error:
            raise RegistryUnavailable(supplier=supplier) from error
        if document is None:
            raise SupplierNotRegistered(supplier=supplier)
        state = decode_supplier_state(document)
        if state.is_contaminated:
            self._count_contaminated("l2_read")
            raise SupplierNotRegistered(supplier=supplier)
        return state


def encode_managed_supplier(supplier: str, services: Sequence[str], status: str, updated_at_s: int) -> bytes:
    """Return the `ha:suppliers:<S>` document; `status` is active or draining."""
    document = {
        "operator_addr": supplier,
        "services": list(services) or None,
        "status": status,
        "updated_at": updated_at_s,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def encode_supplier_update(
    action: str, supplier: str, services: Sequence[str] = (), reason: str = ""
) -> bytes:
    """Return a message of `ha:events:supplier_update`; `action` is add, update, draining or remove."""
    message: dict[str, Any] = {"action": action, "operator_addr": supplier}
    if services:
        message["services"] = list(services)
    if reason:
        message["reason"] = reason
    return json.dumps(message, separators=(",", ":")).encode()


class ManagedSuppliers:
    """The miners' own list: `ha:suppliers:<S>`, its index set, and an update message for each change."""

    def __init__(
        self, client: Any, *, managed_key: Callable[[str], str], index_key: str, update_channel: str
    ) -> None:
        self._client = client
        self._managed_key = managed_key
        self._index_key = index_key
        self._update_channel = update_channel

    def put(self, supplier: str, services: Sequence[str], status: str, updated_at_s: int) -> str:
        """Write the document, list the supplier, publish and return what that was: "add" or "update"."""
        document = encode_managed_supplier(supplier, services, status, updated_at_s)
        self._client.set(self._managed_key(supplier), document)
        action = "add" if self._client.sadd(self._index_key, supplier) else "update"
        self._client.publish(self._update_channel, encode_supplier_update(action, supplier, services))
        return action

    def remove(self, supplier: str, reason: str) -> None:
        """Take the supplier off the list and publish it."""
        self._client.srem(self._index_key, supplier)
        self._client.delete(self._managed_key(supplier))
        self._client.publish(self._update_channel, encode_supplier_update("remove", supplier, reason=reason))

    def all(self) -> set[str]:
        return {member.decode() for member in self._client.smembers(self._index_key)}
