"""Settlement of claims at the end of a block: pay, expire, slash (spec/chain.md §6.4)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from localnet import bank
from localnet.claims import Worth, event_fields, requirement, worth
from localnet.context import Context
from localnet.events import typed
from localnet.rewards import CLAIM_REASONS, INFLATION_REASONS, Batch, Recipients, validator_of
from localnet.slashing import slash_supplier
from localnet.staking import change_application_stake
from localnet.state import APPLICATION, CLAIM, SERVICE, SUPPLIER
from pocket_protocol import settlement
from pocket_protocol.coin import upokt_of
from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket import proof_pb2, shared_pb2
from pocket_protocol.pb.pocket import tokenomics_pb2 as pb
from pocket_protocol.proof_requirement import ProofRequirement
from pocket_protocol.settlement import NothingToMint, Payment, TokenomicsParams
from pocket_protocol.windows import settling_session_ends

_EXPIRY = {
    proof_pb2.PENDING_VALIDATION: pb.PROOF_MISSING,
    proof_pb2.INVALID: pb.PROOF_INVALID,
}


@dataclass(slots=True)
class _Due:
    """A claim to be settled in this block, with the verdict on it."""

    key: tuple[str, str]
    claim: proof_pb2.Claim
    value: Worth
    requirement: ProofRequirement
    payment: Payment | None = None
    spend_limit_exceeded: bool = False

    @property
    def expires(self) -> bool:
        validated = self.claim.proof_validation_status == proof_pb2.VALIDATED
        return self.requirement is not ProofRequirement.NOT_REQUIRED and not validated

    @property
    def group(self) -> tuple[str, str]:
        """The (application, session) that a budget belongs to."""
        header = self.claim.session_header
        return header.application_address, header.session_id


def settle_claims(context: Context) -> dict[str, int]:
    """Settle or expire all claims whose block this is; return settled relays by service id."""
    relays: dict[str, int] = {}
    for end in settling_session_ends(context.shared_history, context.height):
        for service_id, count in _settle_session_end(context, end).items():
            relays[service_id] = relays.get(service_id, 0) + count
    return relays


def _settle_session_end(context: Context, end: int) -> dict[str, int]:
    due = list(_collect(context, end))
    params = TokenomicsParams.from_proto(context.params("tokenomics"))
    _set_payments(context, due, params, context.shared_at(end).num_pending_sessions)
    claims_batch, inflation_batch = Batch(CLAIM_REASONS), Batch(INFLATION_REASONS)
    relays: dict[str, int] = {}
    for item in due:
        context.state.delete(CLAIM, item.key)
        if item.expires:
            _expire(context, item)
            continue
        if not _settle(context, item, params, claims_batch, inflation_batch):
            continue
        service_id = item.claim.session_header.service_id
        relays[service_id] = relays.get(service_id, 0) + item.value.root.count
    validator = validator_of(context)
    for batch in (claims_batch, inflation_batch):
        batch.reward_validator(context, validator, end)
    for batch in (claims_batch, inflation_batch):
        batch.pay(context, validator, end)
    for item in due:
        if item.expires:
            slash_supplier(context, item.claim)
    return relays


def _collect(context: Context, end: int) -> Iterable[_Due]:
    """Yield the claims of sessions that end at `end` in store order; discard those without a price."""
    for key, claim in list(context.state.items(CLAIM)):
        if claim.session_header.session_end_block_height != end:
            continue
        try:
            value = worth(context, claim)
            yield _Due(key, claim, value, requirement(context, claim, value.upokt))
        except PocketError as error:
            _discard(context, key, claim, str(error))


def _discard(context: Context, key: tuple[str, str], claim: proof_pb2.Claim, text: str) -> None:
    context.state.delete(CLAIM, key)
    header = claim.session_header
    event = pb.EventClaimDiscarded(
        error=text,
        service_id=header.service_id,
        application_address=header.application_address,
        session_end_block_height=header.session_end_block_height,
        claim_proof_status_int=claim.proof_validation_status,
        supplier_operator_address=claim.supplier_operator_address,
    )
    context.emit(typed(event))


def _set_payments(context: Context, due: list[_Due], params: TokenomicsParams, num_pending: int) -> None:
    """Set what each settling claim is paid; stakes are those before the block settles anything."""
    by_group = sorted(due, key=lambda item: item.group)
    for (address, _), members in itertools.groupby(by_group, key=lambda item: item.group):
        group = list(members)
        application = context.state.get(APPLICATION, address)
        if application is None:
            continue
        limit = 0
        if application.HasField("per_session_spend_limit"):
            limit = upokt_of(application.per_session_spend_limit)
        budget = settlement.session_budget(
            upokt_of(application.stake), max(num_pending, 1), len(group), limit
        )
        paid = [item for item in group if not item.expires]
        payments = settlement.pay_claims([item.value.upokt for item in paid], budget.floor_upokt, params)
        for item, payment in zip(paid, payments, strict=True):
            item.payment, item.spend_limit_exceeded = payment, budget.spend_limit_exceeded


def _expire(context: Context, item: _Due) -> None:
    reason = _EXPIRY.get(item.claim.proof_validation_status, pb.PROOF_MISSING)
    context.emit(
        typed(pb.EventClaimExpired(expiration_reason=reason, **event_fields(item.claim, item.value)))
    )


def _settle(context: Context, item: _Due, params: TokenomicsParams, claims: Batch, inflation: Batch) -> bool:
    """Pay one claim into the batches; return whether it settled."""
    header, payment = item.claim.session_header, item.payment
    supplier = context.state.get(SUPPLIER, item.claim.supplier_operator_address)
    service = context.state.get(SERVICE, header.service_id)
    if payment is None or supplier is None or service is None:
        missing = "application" if payment is None else "supplier" if supplier is None else "service"
        _discard(context, item.key, item.claim, f"{missing} not found")
        return False
    if payment.overserviced:
        _report_overservicing(context, item, payment)
    rewards: list[tuple[str, int, int]] = []
    minted = 0
    if payment.settled_upokt:
        try:
            parts = settlement.mint_for_claim(payment.settled_upokt, params)
        except NothingToMint as error:
            _discard(context, item.key, item.claim, str(error))
            return False
        minted = parts.minted_upokt
        change_application_stake(context, header.application_address, -payment.settled_upokt)
        to = _recipients(supplier, service, header.application_address, params, parts.supplier_upokt)
        rewards += claims.add(parts, to, payment.settled_upokt)
        extra = settlement.inflation_upokt(payment.settled_upokt, params.global_inflation_per_claim)
        if extra:
            parts = settlement.distribute(extra, params.inflation_shares)
            to = _recipients(supplier, service, header.application_address, params, parts.supplier_upokt)
            rewards += inflation.add(parts, to, 0)
    _report_settled(context, item, payment, minted, rewards, supplier.owner_address)
    return True


def _recipients(
    supplier: shared_pb2.Supplier,
    service: shared_pb2.Service,
    application: str,
    params: TokenomicsParams,
    upokt: int,
) -> Recipients:
    configs = [update.service for update in supplier.service_config_history]
    shares = [
        (share.address, share.rev_share_percentage)
        for config in reversed(configs)
        if config.service_id == service.id
        for share in config.rev_share
    ]
    shareholders: dict[str, int]
    try:
        shareholders = dict(settlement.rev_share(upokt, shares))
    except settlement.UnusableRevShare:
        shareholders = {supplier.owner_address: upokt}
    return Recipients(shareholders, service.owner_address, application, params.dao_reward_address)


def _report_overservicing(context: Context, item: _Due, payment: Payment) -> None:
    header = item.claim.session_header
    event = pb.EventApplicationOverserviced(
        application_addr=header.application_address,
        supplier_operator_addr=item.claim.supplier_operator_address,
        expected_burn=bank.coin(payment.expected_burn_upokt),
        effective_burn=bank.coin(payment.effective_burn_upokt),
        service_id=header.service_id,
        session_end_block_height=header.session_end_block_height,
        spend_limit_exceeded=item.spend_limit_exceeded,
    )
    context.emit(typed(event))


def _report_settled(
    context: Context,
    item: _Due,
    payment: Payment,
    minted: int,
    rewards: list[tuple[str, int, int]],
    owner: str,
) -> None:
    by_address: dict[str, int] = {}
    for address, _, upokt in rewards:
        by_address[address] = by_address.get(address, 0) + upokt
    settled = payment.settled_upokt
    event = pb.EventClaimSettled(
        proof_requirement_int=int(item.requirement),
        reward_distribution={address: bank.coin(upokt) for address, upokt in by_address.items()},
        reward_distribution_detailed=[
            pb.RewardDistributionDetail(recipient_address=address, op_reason=reason, amount=bank.coin(upokt))
            for address, reason, upokt in rewards
        ],
        settled_upokt=bank.coin(settled),
        mint_ratio=f"{context.params('tokenomics').mint_ratio:g}",
        session_id=item.claim.session_header.session_id,
        supplier_owner_address=owner,
        minted_upokt=bank.coin(minted),
        overservicing_loss_upokt=bank.coin(item.value.upokt - settled),
        deflation_loss_upokt=bank.coin(settled - minted),
        **event_fields(item.claim, item.value),
    )
    context.emit(typed(event))
