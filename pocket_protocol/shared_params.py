"""Shared parameters as a value (spec/chain.md §3.1, §3.2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket import shared_pb2

_TIMING_FIELDS: Final = (
    "num_blocks_per_session",
    "grace_period_end_offset_blocks",
    "claim_window_open_offset_blocks",
    "claim_window_close_offset_blocks",
    "proof_window_open_offset_blocks",
    "proof_window_close_offset_blocks",
)


class InvalidSharedParams(Malformed):
    """Parameters that break a rule the chain enforces on them; the text is the chain's."""

    reason = "invalid_shared_params"
    summary = "the provided param is invalid"


@dataclass(frozen=True, slots=True)
class SharedParams:
    """`pocket.shared.Params` as a value; names and units are the chain's (blocks, sessions, uPOKT).

    Construction refuses only what makes the session grid undefined; `validate` is the chain's whole rule.
    """

    num_blocks_per_session: int
    grace_period_end_offset_blocks: int
    claim_window_open_offset_blocks: int
    claim_window_close_offset_blocks: int
    proof_window_open_offset_blocks: int
    proof_window_close_offset_blocks: int
    supplier_unbonding_period_sessions: int
    application_unbonding_period_sessions: int
    gateway_unbonding_period_sessions: int
    compute_units_to_tokens_multiplier: int
    compute_unit_cost_granularity: int
    session_grid_anchor_height: int = 0
    session_number_at_anchor: int = 0

    def __post_init__(self) -> None:
        if self.num_blocks_per_session < 1:
            raise _invalid(f"invalid NumBlocksPerSession: ({self.num_blocks_per_session})")
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise _invalid(f"{field.name} is negative")

    @classmethod
    def from_proto(cls, message: shared_pb2.Params) -> SharedParams:
        """Return the value of `message`. Raises `InvalidSharedParams` when the grid would be undefined."""
        return cls(**{field.name: getattr(message, field.name) for field in dataclasses.fields(cls)})

    def to_proto(self) -> shared_pb2.Params:
        return shared_pb2.Params(**dataclasses.asdict(self))

    @property
    def tail_blocks(self) -> int:
        """Blocks from a session's end to the last block before its proof window has closed; grace excluded."""
        return (
            self.claim_window_open_offset_blocks
            + self.claim_window_close_offset_blocks
            + self.proof_window_open_offset_blocks
            + self.proof_window_close_offset_blocks
        )

    @property
    def num_pending_sessions(self) -> int:
        """Sessions of one application that may await settlement at the same time."""
        return -(-self.tail_blocks // self.num_blocks_per_session)

    def validate(self) -> None:
        """Raise `InvalidSharedParams` with the chain's text for the first rule broken, in the chain's order."""
        for name, label in (
            ("supplier_unbonding_period_sessions", "SupplierUnbondingPeriodSessions"),
            ("application_unbonding_period_sessions", "ApplicationUnbondingPeriodSessions"),
            ("gateway_unbonding_period_sessions", "GatewayUnbondingPeriodSessions"),
            ("compute_units_to_tokens_multiplier", "ComputeUnitsToTokensMultiplier"),
            ("compute_unit_cost_granularity", "ComputeUnitCostGranularity"),
        ):
            if getattr(self, name) < 1:
                raise _invalid(f"invalid {label}: ({getattr(self, name)})")
        self._validate_windows()

    def _validate_windows(self) -> None:
        grace, claim_open = self.grace_period_end_offset_blocks, self.claim_window_open_offset_blocks
        if grace >= self.num_blocks_per_session:
            raise _invalid(
                f"GracePeriodEndOffsetBlocks ({grace}) must be less than "
                f"NumBlocksPerSession ({self.num_blocks_per_session})"
            )
        if claim_open < grace:
            raise _invalid(
                f"ClaimWindowOpenOffsetBlocks ({claim_open}) must be at least "
                f"GracePeriodEndOffsetBlocks ({grace})"
            )
        for label, sessions in (
            ("SupplierUnbondingPeriodSessions", self.supplier_unbonding_period_sessions),
            ("ApplicationUnbondingPeriodSessions", self.application_unbonding_period_sessions),
        ):
            blocks = sessions * self.num_blocks_per_session
            if blocks < self.tail_blocks:
                raise _invalid(
                    f"{label} ({sessions} session) ({blocks} blocks) must be greater than "
                    f"the cumulative ProofWindowCloseOffsetBlocks ({self.tail_blocks})"
                )
        if self.num_pending_sessions < 1:
            raise _invalid("the claim and proof window offsets yield 0 pending sessions")

    def same_timing(self, other: SharedParams) -> bool:
        """Return whether the six parameters that move session or window borders are equal."""
        return all(getattr(self, name) == getattr(other, name) for name in _TIMING_FIELDS)


def _invalid(detail: str) -> InvalidSharedParams:
    return InvalidSharedParams(f"{detail}: {InvalidSharedParams.summary}")
