"""What a supplier loses for a required proof that is missing or invalid (spec/chain.md §6.4, §3.4)."""

from __future__ import annotations

from localnet import bank
from localnet.context import Context
from localnet.events import typed
from localnet.state import SUPPLIER
from pocket_protocol.address import module_address
from pocket_protocol.coin import coin_of, upokt_of
from pocket_protocol.pb.pocket import proof_pb2, shared_pb2, supplier_pb2, tokenomics_pb2
from pocket_protocol.session import session_end
from pocket_protocol.settlement import slash


def slash_supplier(context: Context, claim: proof_pb2.Claim) -> None:
    """Burn the penalty from the stake of the supplier of an expired claim."""
    stored = context.state.get(SUPPLIER, claim.supplier_operator_address)
    if stored is None:
        return
    penalty = upokt_of(context.params("proof").proof_missing_penalty)
    minimum = upokt_of(context.params("supplier").min_stake)
    loss = slash(upokt_of(stored.stake), penalty, minimum)
    supplier = shared_pb2.Supplier()
    supplier.CopyFrom(stored)
    supplier.stake.CopyFrom(coin_of(loss.stake_after_upokt))
    suppliers, tokenomics = module_address("supplier"), module_address("tokenomics")
    bank.send(context.state, context.emit, suppliers, tokenomics, loss.amount_upokt)
    bank.burn(context.state, context.emit, tokenomics, loss.amount_upokt)
    header = claim.session_header
    event = tokenomics_pb2.EventSupplierSlashed(
        proof_missing_penalty=bank.coin(penalty),
        service_id=header.service_id,
        application_address=header.application_address,
        session_end_block_height=header.session_end_block_height,
        claim_proof_status_int=claim.proof_validation_status,
        supplier_operator_address=claim.supplier_operator_address,
        supplier_stake_after_slash=bank.coin(loss.stake_after_upokt),
    )
    context.emit(typed(event))
    if loss.below_min_stake and not supplier.unstake_session_end_height:
        end = session_end(context.shared, context.height)
        supplier.unstake_session_end_height = end
        unbonding = context.shared.supplier_unbonding_period_sessions * context.shared.num_blocks_per_session
        begin = supplier_pb2.EventSupplierUnbondingBegin(
            supplier=supplier,
            reason=supplier_pb2.SUPPLIER_UNBONDING_REASON_BELOW_MIN_STAKE,
            session_end_height=end,
            unbonding_end_height=end + unbonding,
        )
        context.emit(typed(begin))
    context.state.put(SUPPLIER, supplier.operator_address, supplier)
