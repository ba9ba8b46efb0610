"""What relayers are told about a supplier: its stake and services on the chain (spec/miner.md §1.8, §5.5).

Only gRPC NotFound means "not staked"; any other failure changes nothing. A staked supplier without services is never
written: relayers would refuse everything (the reference's contaminated documents).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from mining_tasks.metrics import MinerMetrics
from pocket_chain.node_errors import EntityNotFound
from pocket_chain.queries import ChainQueries
from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.types import SupplierAddress
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.registry import ACTIVE, NOT_STAKED, ManagedSuppliers, SupplierRegistry, SupplierState
from relay_store.store_errors import store_errors

UNSTAKING: Final = "unstaking"
TRANSPORTS: Final = {
    shared_pb2.GRPC: "grpc",
    shared_pb2.WEBSOCKET: "websocket",
    shared_pb2.JSON_RPC: "jsonrpc",
    shared_pb2.REST: "rest",
    shared_pb2.COMET_BFT: "cometbft",
}

log = structlog.get_logger("registration")


class Registration:
    """Keeps the documents of suppliers up to date. `writer` is the node's name."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        chain: ChainQueries,
        metrics: MinerMetrics,
        writer: str,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._metrics = metrics
        self._writer = writer
        self._now_s = now_s
        self._registry = SupplierRegistry(
            store.client,
            supplier_key=keys.supplier,
            invalidation_channel=keys.invalidation_channel("supplier"),
        )
        self._managed = ManagedSuppliers(
            store.client,
            managed_key=keys.registered_supplier,
            index_key=keys.registered_suppliers(),
            update_channel=keys.supplier_update_channel(),
        )

    def managed(self) -> set[str]:
        """Return all suppliers some node of the deployment manages. Raises `StoreUnavailable`."""
        with store_errors():
            return self._managed.all()

    def refresh(self, supplier: SupplierAddress, height: int) -> str:
        """Write what the chain says at `height` (0: unknown); return the status, "" when nothing was written.

        Raises `NodeUnavailable`, `StoreUnavailable`.
        """
        try:
            state = self._state(self._chain.supplier(supplier), height)
        except EntityNotFound:
            state = SupplierState(
                supplier, NOT_STAKED, False, last_updated=int(self._now_s()), updated_by=self._writer
            )
        if state.is_contaminated:
            log.warning("supplier is staked without services; not told to relayers", supplier=supplier)
            self._metrics.count("ha_miner_supplier_cache_write_skipped", "no_services")
            return ""
        with store_errors():
            self._registry.write(state)
            action = self._managed.put(supplier, state.services, ACTIVE, int(self._now_s()))
        self._metrics.count("ha_miner_supplier_registry_updates", action)
        return state.status

    def withdraw(self, supplier: SupplierAddress, reason: str) -> None:
        """Tell relayers that a supplier is no longer served here. Raises `StoreUnavailable`."""
        with store_errors():
            self._registry.remove(supplier)
            self._managed.remove(supplier, reason)
        self._metrics.count("ha_miner_supplier_registry_updates", "remove")

    def _state(self, supplier: shared_pb2.Supplier, height: int) -> SupplierState:
        configs = services_at(supplier, height)
        return SupplierState(
            operator_address=supplier.operator_address,
            status=UNSTAKING if supplier.unstake_session_end_height else ACTIVE,
            staked=True,
            services=tuple(sorted(configs)),
            staked_endpoints=tuple(
                sorted(
                    {
                        (service, TRANSPORTS[endpoint.rpc_type])
                        for service, config in configs.items()
                        for endpoint in config.endpoints
                        if endpoint.rpc_type in TRANSPORTS
                    }
                )
            ),
            unstake_session_end_height=supplier.unstake_session_end_height,
            owner_address=supplier.owner_address,
            last_updated=int(self._now_s()),
            updated_by=self._writer,
        )


def services_at(supplier: shared_pb2.Supplier, height: int) -> dict[str, shared_pb2.SupplierServiceConfig]:
    """Return the service configurations in force at `height`, by service; the plain list when nothing is known."""
    active = {
        update.service.service_id: update.service
        for update in supplier.service_config_history
        if height
        and update.activation_height <= height
        and (update.deactivation_height == 0 or height < update.deactivation_height)
    }
    return active or {config.service_id: config for config in supplier.services}
