"""From messages to signed bytes: tried on the node first, without those messages that would fail (decisions.md C5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from mining_tasks.group import Group, Member
from mining_tasks.signing import Envelope, envelope_of, signed
from mining_tasks.wiring import Miner
from pocket_chain.node_errors import MethodUnimplemented, NodeUnavailable
from pocket_chain.transactions import SimulationFailed
from pocket_protocol.gas import adjusted_gas
from pocket_protocol.tx import tx_hash
from pocket_protocol.tx_answer import DROP_ACCOUNT, Outcome, TxAnswer
from pocket_protocol.tx_batch import message_bytes, split_batches
from relay_store.intents import Intent
from relay_store.sessions import Sessions

_WINDOW: Final = frozenset((Outcome.OUTSIDE_CLAIM_WINDOW, Outcome.OUTSIDE_PROOF_WINDOW))

log = structlog.get_logger("transactions")


class Preparation:
    """Makes the transactions of one group. `refused` collects the messages that would fail."""

    def __init__(self, miner: Miner, group: Group) -> None:
        self._miner = miner
        self._group = group
        self.refused: dict[str, TxAnswer] = {}

    def split(self, members: Sequence[Member]) -> list[list[Member]]:
        """Cut members into batches by bytes; one each when batching is switched off."""
        if not self._group.phase.is_batched(self._miner.config.transaction):
            return [[member] for member in members]
        ranges = split_batches(
            [message_bytes(member.message) for member in members],
            gas=self._group.phase.gas,
            max_bytes=self._miner.config.extensions.max_tx_bytes,
        )
        return [list(members[part.start : part.stop]) for part in ranges]

    def prepare(self, members: Sequence[Member], attempt: int) -> Intent | None:
        """Return a signed transaction of those members that would succeed; None when none would, or not now.

        Raises `NodeUnavailable`, `EntityNotFound` (no such account), `NoSigningKey`.
        """
        kept = list(members)
        while kept:
            envelope = envelope_of(self._miner, self._group, [m.session_id for m in kept], attempt)
            try:
                gas_limit = self._gas_limit(kept, envelope)
            except SimulationFailed as failed:
                if not self._leave_out(kept, failed):
                    return None
                continue
            messages = [member.message for member in kept]
            tx = signed(self._miner, self._group.supplier, messages, envelope, gas_limit)
            return Intent(
                phase=self._group.phase.name,
                members=tuple(member.session_id for member in kept),
                attempt=attempt,
                tx=tx,
                tx_hash=tx_hash(tx),
                timeout_ns=envelope.timeout_ns,
                height=self._group.position.height,
            )
        return None

    def note_refusal(self, outcome: Outcome, sessions: Iterable[str]) -> None:
        """Count a refusal and name it in the records of `sessions`, in case their window closes over it.

        An account that cannot pay needs a human, one that is not as thought is read again. Raises `NotOwner`.
        """
        supplier = self._group.supplier
        self.note_reason(outcome.value, sessions)
        self._miner.metrics.count(f"ha_miner_{self._group.phase.name}_errors", supplier, outcome.value)
        if outcome in DROP_ACCOUNT:
            self._miner.accounts.forget(supplier)
        if outcome in (Outcome.INSUFFICIENT_FUNDS, Outcome.INSUFFICIENT_FEE):
            self._miner.metrics.count("ha_tx_insufficient_balance_errors", supplier)
            log.error("fees cannot be paid", supplier=supplier, outcome=outcome.value)

    def note_reason(self, reason: str, sessions: Iterable[str]) -> None:
        """Put on record why nothing was sent for `sessions`. Raises `NotOwner`, `StoreUnavailable`."""
        phase = self._group.phase
        records = Sessions(self._miner.store, self._miner.keys, self._group.supplier)
        for session in sessions:
            records.transition(
                session,
                phase.state,
                phase.state,
                token=self._miner.token,
                fields={phase.error_field: reason},
            )

    def _gas_limit(self, members: Sequence[Member], envelope: Envelope) -> int:
        transaction = self._miner.config.transaction
        if transaction.gas_limit:
            return transaction.gas_limit
        messages = [member.message for member in members]
        trial = signed(self._miner, self._group.supplier, messages, envelope, 0)
        try:
            used, _ = self._miner.transactions.simulate(trial)
        except NodeUnavailable as error:
            group = self._group
            is_late = group.phase.is_late(group.windows, group.position.height)
            if not isinstance(error, MethodUnimplemented) and not is_late:
                raise
            used = group.phase.gas.of(len(members))
            log.warning(
                "transaction is not tried beforehand, its gas is what such messages have used",
                supplier=self._group.supplier,
                phase=self._group.phase.name,
                gas=used,
                error=str(error)[:300],
            )
        return adjusted_gas(used, transaction.gas_adjustment)

    def _leave_out(self, members: list[Member], failed: SimulationFailed) -> bool:
        """Take the member that would fail out of the batch; False when the batch as a whole cannot go now."""
        answer, index = failed.answer, failed.answer.message_index
        # "outside the window" from a node that is behind only says that it is behind (decisions.md C6)
        lagging = answer.outcome in _WINDOW and failed.height < self._group.opens
        details = {
            "supplier": self._group.supplier,
            "phase": self._group.phase.name,
            "outcome": answer.outcome.value,
            "text": answer.text[:300],
            "node_height": failed.height,
        }
        if index is None or index >= len(members) or lagging:
            self.note_refusal(answer.outcome, [member.session_id for member in members])
            log.warning("transaction cannot be sent now", **details)
            return False
        left_out = members.pop(index)
        self.note_refusal(answer.outcome, [left_out.session_id])
        self.refused[left_out.session_id] = answer
        log.warning("message left out of its batch", session=left_out.session_id, **details)
        return bool(members)
