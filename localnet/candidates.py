"""Which suppliers offer which service, read once per change of the suppliers and not once per session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.supplier_selection import Candidacy
from pocket_protocol.types import SupplierAddress

_KEPT_TABLES: Final = 4  # of lagging nodes and unfinished blocks, besides the committed one


@dataclass(frozen=True, slots=True)
class Offer:
    """A supplier's configuration of one service."""

    candidacy: Candidacy
    supplier: shared_pb2.Supplier
    service: shared_pb2.SupplierServiceConfig

    def shown(self) -> shared_pb2.Supplier:
        """Return the supplier as a session shows it: this one configuration, no history."""
        return shared_pb2.Supplier(
            owner_address=self.supplier.owner_address,
            operator_address=self.supplier.operator_address,
            stake=self.supplier.stake,
            services=[self.service],
            unstake_session_end_height=self.supplier.unstake_session_end_height,
        )


class Candidates:
    """Offers by service id, for the supplier tables seen last. A table is never changed in place."""

    def __init__(self) -> None:
        self._read: list[tuple[Mapping[Any, Any], dict[str, list[Offer]]]] = []

    def of(self, suppliers: Mapping[Any, Any], service_id: str) -> list[Offer]:
        """Return the offers of a service in `suppliers`, a table of operator address -> Supplier."""
        for table, offers in self._read:
            if table is suppliers:
                return offers.get(service_id, [])
        offers = {}
        for supplier in suppliers.values():
            for update in supplier.service_config_history:
                candidacy = Candidacy(
                    SupplierAddress(supplier.operator_address),
                    update.activation_height,
                    update.deactivation_height,
                )
                offer = Offer(candidacy, supplier, update.service)
                offers.setdefault(update.service.service_id, []).append(offer)
        self._read = [(suppliers, offers), *self._read[:_KEPT_TABLES]]
        return offers.get(service_id, [])
