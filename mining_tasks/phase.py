"""The two things that are sent for a session: its claim, then perhaps its proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mining_tasks.config import TransactionSection
from pocket_protocol.gas import CLAIM_GAS, PROOF_GAS, GasCost
from pocket_protocol.windows import Windows
from relay_store.keys import CLAIM_PHASE, PROOF_PHASE
from relay_store.session_state import SessionState


@dataclass(frozen=True, slots=True)
class Phase:
    """`opens` and `closes` give the first and last block that may contain the message."""

    name: str
    gas: GasCost
    opens: Callable[[Windows], int]
    closes: Callable[[Windows], int]
    is_batched: Callable[[TransactionSection], bool]
    upserts: bool  # a second message replaces the first, for gas alone
    state: SessionState  # of a session whose message is to be sent

    def is_late(self, windows: Windows, height: int) -> bool:
        """Whether half of the window is over: what cannot be known by now is done without."""
        opens = self.opens(windows)
        return height >= opens + (self.closes(windows) - opens + 1) // 2

    @property
    def error_field(self) -> str:
        """The field of a session's record that names the last refusal of its message."""
        return f"{self.name}_error"


CLAIM: Final = Phase(
    CLAIM_PHASE,
    CLAIM_GAS,
    lambda windows: windows.claim_open,
    lambda windows: windows.claim_close,
    lambda section: not section.disable_claim_batching,
    True,
    SessionState.CLAIMING,
)
PROOF: Final = Phase(
    PROOF_PHASE,
    PROOF_GAS,
    lambda windows: windows.proof_open,
    lambda windows: windows.proof_close,
    lambda section: not section.disable_proof_batching,
    False,  # each further proof pays the submission fee again
    SessionState.PROVING,
)
