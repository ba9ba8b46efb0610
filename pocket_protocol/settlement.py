"""What a claim is paid, who gets it, and what a missing proof costs (spec/chain.md §6.4).

The chain's parameters are doubles; it turns each into the exact rational of its shortest decimal form and
then computes with integers only. So do we.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.pb.pocket import tokenomics_pb2
from pocket_protocol.types import Upokt

_ALL_PERCENT: Final = 100


class UnusableShare(Malformed):
    """A ratio or share that is no finite, non-negative number."""

    reason = "unusable_share"
    summary = "unusable ratio or share"


class UnusableRevShare(Refused):
    """A revenue share list that cannot be followed: the supplier's owner gets everything instead."""

    reason = "unusable_rev_share"
    summary = "unusable revenue share list"


class NothingToMint(Refused):
    """A settlement so small that nothing is minted: the chain discards the claim."""

    reason = "nothing_to_mint"
    summary = "mint amount truncated to zero"


def exact(value: float) -> Fraction:
    """Return the rational the chain takes a double for. Raises `UnusableShare`."""
    if not math.isfinite(value) or value < 0:
        raise UnusableShare(value=value)
    return Fraction(repr(float(value)))


@dataclass(frozen=True, slots=True)
class Shares:
    """How a minted amount is split; what they leave is the DAO's."""

    proposer: Fraction
    supplier: Fraction
    source_owner: Fraction
    application: Fraction

    @classmethod
    def from_proto(
        cls,
        message: tokenomics_pb2.MintAllocationPercentages | tokenomics_pb2.MintEqualsBurnClaimDistribution,
    ) -> Shares:
        """Return the exact shares of `message`. Raises `UnusableShare`."""
        return cls(
            proposer=exact(message.proposer),
            supplier=exact(message.supplier),
            source_owner=exact(message.source_owner),
            application=exact(message.application),
        )


@dataclass(frozen=True, slots=True)
class TokenomicsParams:
    """`pocket.tokenomics.Params` as exact values."""

    mint_ratio: Fraction
    global_inflation_per_claim: Fraction
    overservicing_bonus_multiplier: int
    claim_shares: Shares  # of what is minted for a settled claim
    inflation_shares: Shares  # of what is minted on top
    dao_reward_address: str = ""

    @classmethod
    def from_proto(cls, message: tokenomics_pb2.Params) -> TokenomicsParams:
        """Return the value of `message`. Raises `UnusableShare`."""
        return cls(
            mint_ratio=exact(message.mint_ratio),
            global_inflation_per_claim=exact(message.global_inflation_per_claim),
            overservicing_bonus_multiplier=message.overservicing_bonus_multiplier,
            claim_shares=Shares.from_proto(message.mint_equals_burn_claim_distribution),
            inflation_shares=Shares.from_proto(message.mint_allocation_percentages),
            dao_reward_address=message.dao_reward_address,
        )


@dataclass(frozen=True, slots=True)
class SessionBudget:
    """What each claiming supplier of one (application, session) is sure to get."""

    floor_upokt: Upokt
    spend_limit_exceeded: bool  # the application's spend limit, not its stake, sets the floor


def session_budget(
    app_stake_upokt: int, num_pending_sessions: int, num_claims: int, spend_limit_upokt: int = 0
) -> SessionBudget:
    """Return the budget of one (application, session).

    The stake is that at the block's start, `num_claims` counts all its claims collected in the block, expiring
    ones too; both divisors are at least 1. A spend limit of 0 is none.
    """
    floor = app_stake_upokt // num_pending_sessions // num_claims
    limited = spend_limit_upokt // num_claims
    if spend_limit_upokt > 0 and limited < floor:
        return SessionBudget(Upokt(limited), True)
    return SessionBudget(Upokt(floor), False)


def inflation_upokt(amount_upokt: int, inflation: Fraction) -> Upokt:
    """Return what is minted on top of a settled amount: rounded up."""
    return Upokt(math.ceil(amount_upokt * inflation))


def stake_terms_upokt(amount_upokt: int, inflation: Fraction) -> Upokt:
    """Return what a claim takes from the application's budget: the amount and the inflation on it."""
    return Upokt(amount_upokt + inflation_upokt(amount_upokt, inflation))


def max_settlement_upokt(budget_upokt: int, inflation: Fraction) -> Upokt:
    """Return the largest amount whose stake terms fit into `budget_upokt`."""
    return Upokt(math.floor(budget_upokt / (1 + inflation)))


@dataclass(frozen=True, slots=True)
class Payment:
    """What one claim is paid. The burns are in stake terms, as `EventApplicationOverserviced` has them."""

    claimed_upokt: Upokt
    settled_upokt: Upokt
    expected_burn_upokt: Upokt
    effective_burn_upokt: Upokt

    @property
    def overserviced(self) -> bool:
        return self.settled_upokt < self.claimed_upokt


def pay_claims(claimed_upokt: Sequence[int], floor_upokt: int, params: TokenomicsParams) -> list[Payment]:
    """Return the payments of the claims of one (application, session) that settle in a block, in their order.

    What claims below the floor leave is shared out to those above it in proportion to their excess, each up
    to `overservicing_bonus_multiplier` floors; 0 and 1 mean the floor is the cap.
    """
    inflation = params.global_inflation_per_claim
    wanted = [stake_terms_upokt(amount, inflation) for amount in claimed_upokt]
    unused = sum(max(floor_upokt - amount, 0) for amount in wanted)
    excess = sum(max(amount - floor_upokt, 0) for amount in wanted)
    multiplier = max(params.overservicing_bonus_multiplier, 1)
    payments = []
    for claimed, want in zip(claimed_upokt, wanted, strict=True):
        cap = floor_upokt
        if multiplier > 1 and want > floor_upokt:
            cap += unused * (want - floor_upokt) // excess
        cap = min(cap, floor_upokt * multiplier)
        payments.append(
            Payment(
                claimed_upokt=Upokt(claimed),
                settled_upokt=Upokt(min(claimed, max_settlement_upokt(cap, inflation))),
                expected_burn_upokt=want,
                effective_burn_upokt=Upokt(min(want, cap)),
            )
        )
    return payments


@dataclass(frozen=True, slots=True)
class Distribution:
    """A minted amount, split; the parts add up to it."""

    minted_upokt: Upokt
    supplier_upokt: Upokt
    proposer_upokt: Upokt
    source_owner_upokt: Upokt
    application_upokt: Upokt
    dao_upokt: Upokt


def distribute(minted_upokt: int, shares: Shares) -> Distribution:
    """Return the split of a minted amount: each share rounded down, the rest is the DAO's."""
    supplier, proposer, owner, application = (
        math.floor(minted_upokt * share)
        for share in (shares.supplier, shares.proposer, shares.source_owner, shares.application)
    )
    return Distribution(
        minted_upokt=Upokt(minted_upokt),
        supplier_upokt=Upokt(supplier),
        proposer_upokt=Upokt(proposer),
        source_owner_upokt=Upokt(owner),
        application_upokt=Upokt(application),
        dao_upokt=Upokt(minted_upokt - supplier - proposer - owner - application),
    )


def mint_for_claim(settled_upokt: int, params: TokenomicsParams) -> Distribution:
    """Return what is minted for a settled claim; `settled_upokt` itself is burned from the application's stake.

    Raises `NothingToMint`.
    """
    minted = math.floor(settled_upokt * params.mint_ratio)
    if minted == 0:
        raise NothingToMint(settled_upokt=settled_upokt)
    return distribute(minted, params.claim_shares)


def rev_share(amount_upokt: int, percentages: Sequence[tuple[str, int]]) -> dict[str, Upokt]:
    """Split the supplier's part by (address, percent), rounded down, the remainder to the first.

    Raises `UnusableRevShare` when the list is empty, names an address twice or does not add up to 100.
    """
    addresses = [address for address, _ in percentages]
    total = sum(percent for _, percent in percentages)
    if not percentages or len(set(addresses)) != len(addresses) or total != _ALL_PERCENT:
        raise UnusableRevShare(shares=len(percentages), percent=total)
    amounts = {address: Upokt(amount_upokt * percent // _ALL_PERCENT) for address, percent in percentages}
    amounts[addresses[0]] = Upokt(amounts[addresses[0]] + amount_upokt - sum(amounts.values()))
    return amounts


@dataclass(frozen=True, slots=True)
class Slash:
    """What a supplier loses for a required proof that is missing or invalid."""

    amount_upokt: Upokt
    stake_after_upokt: Upokt
    below_min_stake: bool  # the supplier starts to unbond


def slash(stake_upokt: int, penalty_upokt: int, min_stake_upokt: int) -> Slash:
    """Return the slash of `penalty_upokt`, at most the stake."""
    amount = min(penalty_upokt, stake_upokt)
    return Slash(Upokt(amount), Upokt(stake_upokt - amount), stake_upokt - amount < min_stake_upokt)
