"""What a relay costs its application and how much one session may cost (spec/relayer.md §3.1).

The chain guarantees a supplier only a share of the application's stake; serving beyond it is work for
nothing. All amounts are uPOKT, exact, truncated once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pocket_protocol.claim_price import price_per_compute_unit
from pocket_protocol.errors import Malformed
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import Upokt

_MAX_COUNTER: Final = 2**63 - 1  # what the store can count up to


class UnusableServiceFactor(Malformed):
    """A service factor that is no finite, non-negative number."""

    reason = "unusable_service_factor"
    summary = "unusable service factor"


def relay_cost_upokt(compute_units_per_relay: int, params: SharedParams) -> Upokt:
    """Return the cost of one relay; 0 compute units (not known) count as 1.

    Both the compute units and `params` are those at the session's start. Raises `NoPrice`.
    """
    return Upokt(int((compute_units_per_relay or 1) * price_per_compute_unit(params)))


@dataclass(frozen=True, slots=True)
class SessionLimit:
    """How much one (session, supplier) may consume."""

    limit_upokt: Upokt
    guaranteed_upokt: Upokt  # what the stake covers; a limit above it is served at the operator's own risk

    @property
    def exceeds_guaranteed(self) -> bool:
        return self.limit_upokt > self.guaranteed_upokt


def session_limit(
    app_stake_upokt: int,
    num_suppliers_per_session: int,
    params: SharedParams,
    service_factor: float | None = None,
) -> SessionLimit:
    """Return the limit of a session and supplier.

    `params` are the live ones while the session runs, else those at its end. A service factor replaces the
    guaranteed share by that part of the whole stake. Raises `UnusableServiceFactor`.
    """
    per_supplier = app_stake_upokt // (num_suppliers_per_session or 1)
    # One more than the chain's pending sessions: the running one takes from the same stake.
    pending = -(-(params.tail_blocks or 1) // params.num_blocks_per_session) + 1
    guaranteed = Upokt(per_supplier // pending)
    if service_factor is None:
        return SessionLimit(guaranteed, guaranteed)
    if not math.isfinite(service_factor) or service_factor < 0:
        raise UnusableServiceFactor(factor=service_factor)
    limit = min(float(app_stake_upokt) * service_factor, _MAX_COUNTER)  # doubles, as the reference does it
    return SessionLimit(Upokt(int(limit)), guaranteed)
