"""Who gets what of the claims settled together, and the batched transfers that carry it (spec/chain.md §6.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from localnet import bank
from localnet.context import Context
from localnet.events import typed
from localnet.state import PARAMS
from localnet.validator import Validator
from pocket_protocol.address import module_address
from pocket_protocol.pb.pocket import tokenomics_pb2 as pb
from pocket_protocol.settlement import Distribution

TOKENOMICS, SUPPLIERS, APPLICATIONS = "tokenomics", "supplier", "application"


@dataclass(frozen=True, slots=True)
class Reasons:
    """The operation reasons of one token logic: of settled claims, or of inflation on top."""

    mint: int
    supplier: int
    validator: int
    source_owner: int
    application: int
    dao: int


CLAIM_REASONS = Reasons(
    mint=pb.TLM_RELAY_BURN_EQUALS_MINT_TOKENOMICS_CLAIM_DISTRIBUTION_MINT,
    supplier=pb.TLM_RELAY_BURN_EQUALS_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION,
    validator=pb.TLM_RELAY_BURN_EQUALS_MINT_VALIDATOR_REWARD_DISTRIBUTION,
    source_owner=pb.TLM_RELAY_BURN_EQUALS_MINT_SOURCE_OWNER_REWARD_DISTRIBUTION,
    application=pb.TLM_RELAY_BURN_EQUALS_MINT_APPLICATION_REWARD_DISTRIBUTION,
    dao=pb.TLM_RELAY_BURN_EQUALS_MINT_DAO_REWARD_DISTRIBUTION,
)
INFLATION_REASONS = Reasons(
    mint=pb.TLM_GLOBAL_MINT_INFLATION,
    supplier=pb.TLM_GLOBAL_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION,
    validator=pb.TLM_GLOBAL_MINT_VALIDATOR_REWARD_DISTRIBUTION,
    source_owner=pb.TLM_GLOBAL_MINT_SOURCE_OWNER_REWARD_DISTRIBUTION,
    application=pb.TLM_GLOBAL_MINT_APPLICATION_REWARD_DISTRIBUTION,
    dao=pb.TLM_GLOBAL_MINT_DAO_REWARD_DISTRIBUTION,
)


@dataclass(frozen=True, slots=True)
class Recipients:
    """Where the parts of one claim's reward go."""

    shareholders: dict[str, int]  # address -> uPOKT of the supplier's part
    source_owner: str
    application: str
    dao: str


@dataclass(slots=True)
class _Total:
    upokt: int = 0
    claims: int = 0

    def add(self, upokt: int) -> None:
        self.upokt += upokt
        self.claims += 1


@dataclass(slots=True)
class Batch:
    """Everything one token logic pays for the claims of one session end, summed per recipient."""

    reasons: Reasons
    minted: _Total = field(default_factory=_Total)
    suppliers: _Total = field(default_factory=_Total)
    proposer_upokt: int = 0
    burned: _Total = field(default_factory=_Total)
    # (operation reason, sender module, recipient) -> total, in the order of payment
    accounts: dict[tuple[int, str, str], _Total] = field(default_factory=dict)

    def add(self, parts: Distribution, to: Recipients, burned_upokt: int) -> list[tuple[str, int, int]]:
        """Add one claim; return its (address, operation reason, uPOKT) payments to accounts."""
        self.minted.add(parts.minted_upokt)
        if parts.supplier_upokt:
            self.suppliers.add(parts.supplier_upokt)
        self.proposer_upokt += parts.proposer_upokt
        if burned_upokt:
            self.burned.add(burned_upokt)
        payments = [(a, self.reasons.supplier, SUPPLIERS, n) for a, n in to.shareholders.items()]
        payments += [
            (to.source_owner, self.reasons.source_owner, TOKENOMICS, parts.source_owner_upokt),
            (to.application, self.reasons.application, TOKENOMICS, parts.application_upokt),
            (to.dao, self.reasons.dao, TOKENOMICS, parts.dao_upokt),
        ]
        payments = [payment for payment in payments if payment[3]]
        for address, reason, sender, upokt in payments:
            self.accounts.setdefault((reason, sender, address), _Total()).add(upokt)
        return [(address, reason, upokt) for address, reason, _, upokt in payments]

    def reward_validator(self, context: Context, validator: Validator, session_end: int) -> None:
        """Report the proposer's part; the only validator has no delegators, so all of it is its own."""
        pool = self.proposer_upokt
        if not pool:
            return
        commission = math.floor(pool * validator.commission)
        context.emit(
            typed(
                pb.EventValidatorRewardDistribution(
                    session_end_block_height=session_end,
                    op_reason=self.reasons.validator,
                    validator_operator_address=validator.operator_address,
                    validator_account_address=validator.account_address,
                    commission_rate=validator.commission_text,
                    pool_share_upokt=str(pool),
                    commission_upokt=str(commission),
                    self_delegation_reward_upokt=str(pool - commission),
                    delegators_reward_upokt="0",
                    total_delegated_stake_upokt=str(validator.stake_upokt),
                    num_delegators=0,
                )
            )
        )

    def pay(self, context: Context, validator: Validator, session_end: int) -> None:
        """Mint, transfer and burn, each with its batch event, in the chain's order."""
        if not self.minted.claims:
            return
        state, emit = context.state, context.emit
        tokenomics, suppliers = module_address(TOKENOMICS), module_address(SUPPLIERS)

        def report(reason: int, kind: str, sender: str, recipient: str, total: _Total) -> None:
            emit(
                typed(
                    pb.EventSettlementBatch(
                        session_end_block_height=session_end,
                        sender_module=sender,
                        recipient=recipient,
                        op_reason=reason,
                        total_amount=bank.coin(total.upokt),
                        num_claims=total.claims,
                        op_type=kind,
                    )
                )
            )

        bank.mint(state, emit, tokenomics, self.minted.upokt)
        report(self.reasons.mint, "mint", TOKENOMICS, "", self.minted)
        if self.suppliers.upokt:
            bank.send(state, emit, tokenomics, suppliers, self.suppliers.upokt)
            report(self.reasons.supplier, "mod_to_mod", TOKENOMICS, SUPPLIERS, self.suppliers)
        if self.proposer_upokt:
            key = (self.reasons.validator, TOKENOMICS, validator.account_address)
            self.accounts[key] = _Total(self.proposer_upokt, 1)
        order = [
            self.reasons.supplier,
            self.reasons.validator,
            self.reasons.source_owner,
            self.reasons.application,
            self.reasons.dao,
        ]
        for (reason, sender, address), total in sorted(
            self.accounts.items(), key=lambda entry: (order.index(entry[0][0]), entry[0][2])
        ):
            bank.send(state, emit, module_address(sender), address, total.upokt)
            report(reason, "mod_to_acct", sender, address, total)
        if self.burned.claims:
            bank.burn(state, emit, module_address(APPLICATIONS), self.burned.upokt)
            reason = pb.TLM_RELAY_BURN_EQUALS_MINT_APPLICATION_STAKE_BURN
            report(reason, "burn", APPLICATIONS, "", self.burned)


def validator_of(context: Context) -> Validator:
    """Return the chain's only validator."""
    validator: Validator = context.state.get(PARAMS, "validator")
    return validator
