"""Changes that people make to a chain between its blocks: parameters, stakes, delegations, services
(spec/chain.md §3.1, §3.4, §4.2, §4.6)."""

from __future__ import annotations

from typing import Any

from localnet import bank
from localnet.context import Context
from localnet.genesis import MODULES, GenesisInvalid, amount, read_message
from localnet.mining_difficulty import set_difficulty
from localnet.recorded import with_value
from localnet.staking import begin_application_unbonding, copy_of_application, copy_of_supplier
from localnet.state import (
    APPLICATION,
    PARAMS,
    SERVICE,
    SESSION_HISTORY,
    SHARED_HISTORY,
    SUPPLIER,
    UNITS_HISTORY,
)
from pocket_protocol.address import module_address
from pocket_protocol.coin import coin_of, upokt_of
from pocket_protocol.difficulty import TARGET_BYTES
from pocket_protocol.errors import Refused
from pocket_protocol.pb.pocket import application_pb2, shared_pb2
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams


class ChangeRefused(Refused):
    """A change the chain does not allow, or of something it does not have."""

    reason = "change_refused"
    summary = "change refused"


def _next_session_start(context: Context) -> int:
    return session_end(context.shared_at(context.height), context.height) + 1


def set_params(context: Context, module: str, values: dict[str, Any]) -> None:
    """Change some parameters of a module; shared and session ones go through their histories.

    Raises `GenesisInvalid` for values that cannot be read, `InvalidSharedParams` for a rule broken.
    """
    if module not in MODULES:
        raise GenesisInvalid(f"params.{module}: there is no such module")
    new = read_message(MODULES[module], values, f"params.{module}", context.params(module))
    if module == "shared":
        history = context.shared_history.changed(SharedParams.from_proto(new), context.height)
        context.state.put(SHARED_HISTORY, "", history)
        context.state.put(PARAMS, "shared", history.live.to_proto())
        return
    if module == "session":
        recorded = context.state.get(SESSION_HISTORY, "", ()) or ((1, context.params("session")),)
        context.state.put(SESSION_HISTORY, "", with_value(recorded, _next_session_start(context), new))
    context.state.put(PARAMS, module, new)


def change_application(context: Context, address: str, wanted: dict[str, Any]) -> None:
    """Change an application: stake_upokt, per_session_spend_limit_upokt, delegate, undelegate, unstake.

    Raises `ChangeRefused`, `GenesisInvalid`.
    """
    application = copy_of_application(context, address)
    if application is None:
        raise ChangeRefused("application not found", address=address)
    if "stake_upokt" in wanted:
        new = amount(wanted["stake_upokt"], "stake_upokt")
        bank.add(context.state, module_address("application"), new - upokt_of(application.stake))
        application.stake.CopyFrom(coin_of(new))
    if "per_session_spend_limit_upokt" in wanted:
        limit = amount(wanted["per_session_spend_limit_upokt"], "per_session_spend_limit_upokt")
        application.per_session_spend_limit.CopyFrom(coin_of(limit))
    if "delegate" in wanted:
        _delegate(context, application, str(wanted["delegate"]))
    if "undelegate" in wanted:
        _undelegate(context, application, str(wanted["undelegate"]))
    if wanted.get("unstake"):
        begin_application_unbonding(
            context, application, application_pb2.APPLICATION_UNBONDING_REASON_ELECTIVE
        )
    context.state.put(APPLICATION, address, application)


def _delegate(context: Context, application: application_pb2.Application, gateway: str) -> None:
    if gateway in application.delegatee_gateway_addresses:
        raise ChangeRefused("application already delegated to gateway", gateway=gateway)
    if len(application.delegatee_gateway_addresses) >= context.params("application").max_delegated_gateways:
        raise ChangeRefused("maximum number of delegated gateways reached")
    application.delegatee_gateway_addresses.append(gateway)
    for pending in application.pending_undelegations.values():
        kept = [address for address in pending.gateway_addresses if address != gateway]
        del pending.gateway_addresses[:]
        pending.gateway_addresses.extend(kept)


def _undelegate(context: Context, application: application_pb2.Application, gateway: str) -> None:
    if gateway not in application.delegatee_gateway_addresses:
        raise ChangeRefused("application not delegated to gateway", gateway=gateway)
    application.delegatee_gateway_addresses.remove(gateway)
    end = session_end(context.shared, context.height)
    application.pending_undelegations[end].gateway_addresses.append(gateway)


def change_supplier(context: Context, operator: str, wanted: dict[str, Any]) -> None:
    """Change a supplier: stake_upokt, services (ids it keeps or gains), unstake.

    Raises `ChangeRefused`, `GenesisInvalid`.
    """
    supplier = copy_of_supplier(context, operator)
    if supplier is None:
        raise ChangeRefused("supplier not found", operator=operator)
    start = _next_session_start(context)
    if "stake_upokt" in wanted:
        new = amount(wanted["stake_upokt"], "stake_upokt")
        bank.add(context.state, module_address("supplier"), new - upokt_of(supplier.stake))
        supplier.stake.CopyFrom(coin_of(new))
    if "services" in wanted:
        _restake(supplier, [str(service) for service in wanted["services"]], start)
    if wanted.get("unstake"):
        supplier.unstake_session_end_height = session_end(context.shared, context.height)
        _deactivate(supplier, start)
    context.state.put(SUPPLIER, operator, supplier)


def _deactivate(supplier: shared_pb2.Supplier, start: int) -> None:
    for update in supplier.service_config_history:
        update.deactivation_height = update.deactivation_height or start


def _restake(supplier: shared_pb2.Supplier, services: list[str], start: int) -> None:
    """Activate `services` at the next session's start and deactivate all older configurations there."""
    known = {u.service.service_id: u.service for u in supplier.service_config_history}
    template = next(iter(known.values()), shared_pb2.SupplierServiceConfig())
    _deactivate(supplier, start)
    for service_id in services:
        config = shared_pb2.SupplierServiceConfig()
        config.CopyFrom(known.get(service_id, template))
        config.service_id = service_id
        supplier.service_config_history.add(
            operator_address=supplier.operator_address, service=config, activation_height=start
        )


def change_service(context: Context, service_id: str, compute_units_per_relay: int) -> None:
    """Change what a relay of a service counts from the next session on (spec/chain.md §4.6)."""
    stored = context.state.get(SERVICE, service_id)
    if stored is None:
        raise ChangeRefused("service not found", service_id=service_id)
    recorded = context.state.get(UNITS_HISTORY, service_id) or ((1, stored.compute_units_per_relay),)
    start = _next_session_start(context)
    context.state.put(UNITS_HISTORY, service_id, with_value(recorded, start, compute_units_per_relay))
    changed = shared_pb2.Service()
    changed.CopyFrom(stored)
    changed.compute_units_per_relay = compute_units_per_relay
    context.state.put(SERVICE, service_id, changed)


def change_difficulty(context: Context, wanted: dict[str, Any]) -> None:
    """Set a service's difficulty: service, target (hex), num_relays_ema, height (default: the next session's).

    Raises `ChangeRefused`, `GenesisInvalid`.
    """
    service_id = str(wanted.get("service"))
    if context.state.get(SERVICE, service_id) is None:
        raise ChangeRefused("service not found", service_id=service_id)
    try:
        target = bytes.fromhex(str(wanted.get("target")))
    except ValueError as error:
        raise GenesisInvalid("target: hex digits are needed") from error
    if len(target) != TARGET_BYTES:
        raise GenesisInvalid(f"target: {TARGET_BYTES} bytes are needed")
    average = amount(wanted.get("num_relays_ema", 1), "num_relays_ema")
    height = amount(wanted.get("height", _next_session_start(context)), "height")
    set_difficulty(context, service_id, target, average, height)
