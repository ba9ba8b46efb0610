"""Stakes and delegations of applications and suppliers, and what the end of a block does to them (spec/chain.md
§3.4, §4.2, §6.4)."""

from __future__ import annotations

from localnet import bank
from localnet.context import Context
from localnet.events import typed
from localnet.state import APPLICATION, SUPPLIER
from pocket_protocol.address import module_address
from pocket_protocol.coin import coin_of, upokt_of
from pocket_protocol.pb.pocket import application_pb2, shared_pb2, supplier_pb2
from pocket_protocol.session import session_end


def copy_of_application(context: Context, address: str) -> application_pb2.Application | None:
    """Return a copy that may be changed and put back."""
    stored = context.state.get(APPLICATION, address)
    if stored is None:
        return None
    application = application_pb2.Application()
    application.CopyFrom(stored)
    return application


def copy_of_supplier(context: Context, address: str) -> shared_pb2.Supplier | None:
    """Return a copy that may be changed and put back."""
    stored = context.state.get(SUPPLIER, address)
    if stored is None:
        return None
    supplier = shared_pb2.Supplier()
    supplier.CopyFrom(stored)
    return supplier


def change_application_stake(context: Context, address: str, change_upokt: int) -> None:
    """Change the staked amount of an application; below the minimum it starts to unbond.

    The coins themselves stay in the module's account: the caller burns or moves them.
    """
    application = copy_of_application(context, address)
    assert application is not None
    stake = upokt_of(application.stake) + change_upokt
    application.stake.CopyFrom(coin_of(stake))
    minimum = upokt_of(context.params("application").min_stake)
    if stake < minimum and not application.unstake_session_end_height:
        begin_application_unbonding(
            context, application, application_pb2.APPLICATION_UNBONDING_REASON_BELOW_MIN_STAKE
        )
    context.state.put(APPLICATION, address, application)


def begin_application_unbonding(
    context: Context, application: application_pb2.Application, reason: int
) -> None:
    end = session_end(context.shared, context.height)
    application.unstake_session_end_height = end
    blocks = context.shared.application_unbonding_period_sessions * context.shared.num_blocks_per_session
    event = application_pb2.EventApplicationUnbondingBegin(
        application=application,
        reason=reason,
        session_end_height=end,
        unbonding_end_height=end + blocks,
    )
    context.emit(typed(event))


def end_block_of_applications(context: Context) -> None:
    """Remove applications that have unbonded and forget undelegations that no session can need any more."""
    params = context.shared
    oldest = context.height - (params.grace_period_end_offset_blocks + 2 * params.num_blocks_per_session)
    blocks = params.application_unbonding_period_sessions * params.num_blocks_per_session
    for address, stored in list(context.state.items(APPLICATION)):
        expired = [key for key in stored.pending_undelegations if key < oldest]
        unstake = stored.unstake_session_end_height
        gone = unstake and context.height >= unstake + blocks
        if not (expired or gone):
            continue
        application = copy_of_application(context, address)
        assert application is not None
        for key in expired:
            del application.pending_undelegations[key]
        context.state.put(APPLICATION, address, application)
        if gone and context.height == session_end(params, context.height):
            _return_stake(context, "application", address, upokt_of(application.stake))
            context.state.delete(APPLICATION, address)
            minimum = upokt_of(context.params("application").min_stake)
            below = upokt_of(application.stake) < minimum
            event = application_pb2.EventApplicationUnbondingEnd(
                application=application,
                reason=application_pb2.APPLICATION_UNBONDING_REASON_BELOW_MIN_STAKE
                if below
                else application_pb2.APPLICATION_UNBONDING_REASON_ELECTIVE,
                session_end_height=session_end(params, context.height),
                unbonding_end_height=unstake + blocks,
            )
            context.emit(typed(event))


def end_block_of_suppliers(context: Context) -> None:
    """Remove suppliers that have unbonded, in the last block of a session."""
    params = context.shared
    if context.height != session_end(params, context.height):
        return
    blocks = params.supplier_unbonding_period_sessions * params.num_blocks_per_session
    for address, supplier in list(context.state.items(SUPPLIER)):
        unstake = supplier.unstake_session_end_height
        if not unstake or unstake + blocks > context.height:
            continue
        _return_stake(context, "supplier", supplier.owner_address, upokt_of(supplier.stake))
        context.state.delete(SUPPLIER, address)
        below = upokt_of(supplier.stake) < upokt_of(context.params("supplier").min_stake)
        event = supplier_pb2.EventSupplierUnbondingEnd(
            supplier=supplier,
            reason=supplier_pb2.SUPPLIER_UNBONDING_REASON_BELOW_MIN_STAKE
            if below
            else supplier_pb2.SUPPLIER_UNBONDING_REASON_VOLUNTARY,
            session_end_height=session_end(params, context.height),
            unbonding_end_height=unstake + blocks,
        )
        context.emit(typed(event))


def _return_stake(context: Context, module: str, address: str, upokt: int) -> None:
    if upokt:
        bank.send(context.state, context.emit, module_address(module), address, upokt)
