"""What a relay costs its session, reserved before the backend is asked (decisions D1, D6; spec/relayer.md §3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pocket_chain.facts import ChainFacts
from pocket_protocol.coin import upokt_of
from pocket_protocol.errors import PocketError, Unavailable
from pocket_protocol.metering import relay_cost_upokt, session_limit
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.recently_used import RecentlyUsed
from pocket_protocol.shared_params import SharedParams
from relay_store.meter import Allowance, RelayMeter, Reservation
from relay_store.service_factor import ServiceFactors
from relay_store.store_errors import StoreRefused, StoreUnavailable
from relayer_web.admission import Relay

REMEMBERED: Final = 8192


class MeterUnavailable(Unavailable):
    """The relay cannot be priced or charged, and the operator wants such relays refused."""

    reason = "meter_error"
    summary = "relay metering unavailable"


@dataclass(slots=True)
class Charge:
    """A relay's reservation. Given back when the relay ends, unless `keep` was called."""

    reservation: Reservation | None
    kept: bool = False

    def keep(self) -> None:
        self.kept = True


class _Inputs(NamedTuple):
    """What an allowance was computed from; cached facts are told apart by identity."""

    application: Application
    params: SharedParams
    num_suppliers: int
    factor: float | None

    def same(self, other: _Inputs) -> bool:
        return (
            self.application is other.application
            and self.params is other.params
            and self.num_suppliers == other.num_suppliers
            and self.factor == other.factor
        )


class Metering:
    """Prices relays and reserves their cost. `on_error(operation)` counts what failed."""

    def __init__(
        self,
        facts: ChainFacts,
        meter: RelayMeter,
        factors: ServiceFactors,
        *,
        enabled: bool = True,
        fails_open: bool = True,
        on_error: Callable[[str], None] = lambda operation: None,
        on_over_guaranteed: Callable[[Allowance], None] = lambda allowance: None,
    ) -> None:
        self._facts = facts
        self._meter = meter
        self._factors = factors
        self._enabled = enabled
        self._fails_open = fails_open
        self._on_error = on_error
        self._on_over_guaranteed = on_over_guaranteed
        self._prices: RecentlyUsed[tuple[str, int], tuple[int, Any, int]] = RecentlyUsed(REMEMBERED)
        self._allowances: RecentlyUsed[tuple[str, str], tuple[_Inputs, Allowance]] = RecentlyUsed(REMEMBERED)

    @contextmanager
    def charged(self, relay: Relay, current_height: int) -> Iterator[Charge]:
        """Hold the relay's cost for the length of the block; whatever ends it without `keep` refunds.

        Raises `StakeExhausted`; `StoreUnavailable` when the store is away (such a relay could not be mined
        either); `MeterUnavailable` when it cannot be priced and the meter fails closed.
        """
        charge = Charge(self._reserve(relay, current_height))
        try:
            yield charge
        finally:
            if charge.reservation is not None and not charge.kept:
                self._meter.refund(charge.reservation)

    def _reserve(self, relay: Relay, current_height: int) -> Reservation | None:
        if not self._enabled:
            return None
        operation = "get relay cost"
        try:
            cost_upokt = self.cost_upokt(relay.service_id, relay.header.session_start_block_height)
            operation = "get session meter"
            allowance = self.allowance(relay, current_height)
        except StoreUnavailable:
            raise  # such a relay could not be mined either: admission closes (decisions D5)
        except PocketError as error:
            self._on_error(operation)
            return self._without_price(error)
        try:
            return self._meter.reserve(allowance, cost_upokt)
        except StoreRefused as error:  # the counter itself is unusable
            return self._without_price(error)

    def _without_price(self, error: PocketError) -> None:
        if self._fails_open:
            return
        raise MeterUnavailable from error

    def cost_upokt(self, service_id: str, session_start_height: int) -> int:
        """Cost of one relay, by compute units and prices at the session's start."""
        units = self._facts.compute_units(service_id, session_start_height)
        params = self._facts.price_params(session_start_height)
        key = (service_id, session_start_height)
        known = self._prices.get(key)
        if known is not None and known[0] == units and known[1] is params:
            return known[2]
        cost_upokt = int(relay_cost_upokt(units, params))
        self._prices.put(key, (units, params, cost_upokt))
        return cost_upokt

    def allowance(self, relay: Relay, current_height: int) -> Allowance:
        """What the relay's session and supplier may consume; worked out again when one of its inputs changes."""
        header = relay.header
        application = self._facts.applications.get(header.application_address)
        params = self._facts.params_for_session(header.session_end_block_height, current_height)
        num_suppliers = self._facts.num_suppliers_per_session()
        factor = self._factors.factor(relay.service_id)
        key = (header.session_id, relay.supplier)
        known = self._allowances.get(key)
        inputs = _Inputs(application, params, num_suppliers, factor)
        if known is not None and known[0].same(inputs):
            return known[1]
        stake_upokt = int(upokt_of(application.stake))
        limit = session_limit(stake_upokt, num_suppliers, params, factor)
        allowance = Allowance(
            session_id=header.session_id,
            supplier=relay.supplier,
            application=header.application_address,
            service_id=relay.service_id,
            session_end_height=header.session_end_block_height,
            limit_upokt=int(limit.limit_upokt),
            factor=factor,
            app_stake_upokt=stake_upokt,
        )
        if limit.exceeds_guaranteed:
            self._on_over_guaranteed(allowance)
        if known is not None and known[1] == allowance:
            allowance = known[1]
        self._allowances.put(key, (inputs, allowance))
        return allowance
