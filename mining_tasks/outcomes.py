"""Putting on record what happened to a session, and counting it once (spec/miner.md §3.1, §3.2; decisions.md F).

Each record is a compare-and-set on the state the session was in: of two that see the same outcome, one records and
counts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog

from mining_tasks.inclusion import ROOT_FIELD
from mining_tasks.phase import CLAIM, PROOF, Phase
from mining_tasks.seal import SealedSession
from mining_tasks.settlement import UNKNOWN, Settlement
from mining_tasks.wiring import Miner
from pocket_protocol.smst import Root
from pocket_protocol.types import SupplierAddress
from pocket_protocol.windows import Windows
from relay_store.session_state import SessionRecord, SessionState
from relay_store.sessions import Sessions
from relay_store.store_errors import store_errors

OTHER_CLAIM: Final = "other_claim"
RETIRED: Final = "retired"
SETTLED: Final = "settlement_outcome"
SCANNED: Final = "settlement_scanned"
REQUIREMENT: Final = "proof_requirement"
JOINED: Final = "joined_relays"  # of a claim of the reference's, that were put into the stream


log = structlog.get_logger("sessions")


def root_of(record: SessionRecord) -> Root | None:
    """Return the root that is claimed, None before the seal is on record."""
    text = record.more.get(ROOT_FIELD)
    return None if not text else Root.from_bytes(bytes.fromhex(text.decode()))


def amount(record: SessionRecord, name: str) -> int:
    """Return a numeric field, 0 when it is not there."""
    return int(record.more.get(name, b"0") or b"0")


class Outcomes:
    """Records for one supplier. Every method raises `NotOwner`, `StoreUnavailable`."""

    def __init__(self, miner: Miner, supplier: SupplierAddress) -> None:
        self._miner = miner
        self._supplier = supplier
        self._sessions = Sessions(miner.store, miner.keys, supplier)

    def joined(self, record: SessionRecord, relays: int) -> None:
        """The reference's claim of this session is going to be replaced by one of its relays and ours."""
        self._move(record, record.state, {JOINED: relays})

    def sealed(self, sealed: SealedSession, claimed_upokt: int) -> bool:
        """The tree is closed and is going to be claimed."""
        return self._move(
            sealed.record,
            SessionState.CLAIMING,
            {**_root_fields(sealed.root), "claimed_upokt": claimed_upokt},
        )

    def skipped(self, sealed: SealedSession, reason: str, forgone_upokt: int) -> bool:
        """Policy ends the session without a claim."""
        fields = {**_root_fields(sealed.root), "skip_reason": reason, "forgone_upokt": forgone_upokt}
        moved = self._move(sealed.record, SessionState.CLAIM_SKIPPED, fields)
        if moved:
            self._count("ha_miner_claims_skipped", sealed.record, reason)
        return moved

    def claimed(self, record: SessionRecord, height: int, tx_hash: str, windows: Windows) -> bool:
        """Our claim was seen in the state of `height`."""
        fields = {"claim_seen_height": height, "claim_tx_hash": tx_hash}
        moved = self._move(record, SessionState.CLAIMED, fields)
        root = root_of(record)
        if moved and root is not None:
            self._count("ha_miner_claims_submitted", record)
            self._count("ha_miner_relays_claimed", record, by=root.count)
            self._count("ha_miner_compute_units_claimed", record, by=root.sum)
            self._count("ha_miner_upokt_claimed", record, by=amount(record, "claimed_upokt"))
            self._observe("ha_miner_claim_submission_latency_blocks", height - windows.claim_open)
        return moved

    def claimed_by_another(self, record: SessionRecord, height: int, root: bytes) -> bool:
        """A claim with another root stands and cannot be replaced any more: no proof of ours would fit it."""
        log.error(
            "the claim on the chain has another root",
            supplier=self._supplier,
            session=record.snapshot.session_id,
            root_on_chain=root.hex(),
        )
        fields = {"claim_seen_height": height, OTHER_CLAIM: root.hex()}
        return self._move(record, SessionState.CLAIMED, fields)

    def drawn(self, record: SessionRecord, requirement: str, seed: bytes, *, required: bool) -> bool:
        """The chain will, or will not, want a proof."""
        metrics = self._miner.metrics
        if record.more.get(REQUIREMENT) == requirement.encode() and not required:
            return True
        fields = {REQUIREMENT: requirement, "proof_requirement_seed": seed.hex()}
        new = SessionState.PROVING if required else record.state
        moved = self._move(record, new, fields)
        if moved:
            metrics.count("ha_miner_proof_requirement_checks", self._supplier)
            if required:
                metrics.count("ha_miner_proof_requirement_required", self._supplier, requirement)
            else:
                metrics.count("ha_miner_proof_requirement_skipped", self._supplier)
        return moved

    def proved(self, record: SessionRecord, height: int, tx_hash: str, windows: Windows) -> bool:
        """The chain found our proof valid."""
        moved = self._move(
            record, SessionState.PROVED, {"proof_seen_height": height, "proof_tx_hash": tx_hash}
        )
        if moved:
            self._count("ha_miner_proofs_submitted", record)
            self._count("ha_miner_sessions_proved", record)
            self._observe("ha_miner_proof_submission_latency_blocks", height - windows.proof_open)
        return moved

    def failed(self, record: SessionRecord, phase: Phase, reason: str) -> None:
        """There is no message for the session now, because of `reason`."""
        if _refusal(record, phase) == reason:
            return
        # a session that is being drawn or sealed may have moved on since it was read
        now = self._sessions.read(record.snapshot.session_id)
        if now is not None and not now.state.is_terminal:
            self._move(now, now.state, {phase.error_field: reason})

    def closed(self, record: SessionRecord, height: int) -> bool:
        """The claim window is over and the chain has no claim."""
        moved = self._move(record, SessionState.CLAIM_WINDOW_CLOSED, {"closed_height": height})
        if moved:
            self._lost(record, SessionState.CLAIM_WINDOW_CLOSED)
            log.error(
                "a session was not claimed",
                supplier=self._supplier,
                session=record.snapshot.session_id,
                reason=_refusal(record, CLAIM),
                lost_upokt=amount(record, "claimed_upokt"),
            )
        return moved

    def settled(self, record: SessionRecord, settlement: Settlement) -> bool:
        """The chain paid, or let the claim expire."""
        new = record.state if record.state.is_terminal else settlement.state
        fields = settlement.to_fields()
        if not amount(record, "claimed_upokt"):  # claimed by a miner that left no word of it
            fields["claimed_upokt"] = settlement.claimed_upokt
        if "expired_upokt" in fields:
            fields["expired_upokt"] = settlement.claimed_upokt or amount(record, "claimed_upokt")
        moved = self._move(record, new, fields)
        if moved:
            self._count_settlement(record, settlement, new)
        return moved

    def scanned(self, record: SessionRecord, height: int) -> None:
        """No block up to `height` settled the claim."""
        self._move(record, record.state, {SCANNED: height})

    def retire(self, record: SessionRecord) -> None:
        """Free the leaves of a finished session; its record stays for its retention."""
        if self._sessions.retire(record.snapshot.session_id, token=self._miner.token):
            self._move(record, record.state, {RETIRED: 1})

    def _move(self, record: SessionRecord, new: SessionState, fields: Mapping[str, Any]) -> bool:
        snapshot, old = record.snapshot, record.state
        moved = self._sessions.transition(
            snapshot.session_id, old, new, token=self._miner.token, fields=fields
        )
        if moved and old is SessionState.ACTIVE:
            self._free_meter(snapshot.session_id)
        if moved and new is not old:
            self._count("ha_miner_session_state_transitions", record, old.value, new.value)
            log.info(
                "session",
                state=new.value,
                before=old.value,
                supplier=self._supplier,
                session=snapshot.session_id,
                service=snapshot.service_id,
                session_end=snapshot.end_height,
                **{name: value for name, value in fields.items() if name != ROOT_FIELD},
            )
        return moved

    def _free_meter(self, session: str) -> None:
        """Tell relayers that a session's meter is not needed any more (spec/miner.md §5.2)."""
        with store_errors():
            channel = self._miner.keys.meter_cleanup_channel()
            self._miner.store.client.publish(channel, f"{session}|{self._supplier}")

    def _count_settlement(self, record: SessionRecord, settlement: Settlement, new: SessionState) -> None:
        if settlement.outcome.startswith("settled"):
            status = "proven" if settlement.proved else settlement.outcome.removeprefix("settled_")
            self._count("ha_miner_claims_settled_by_status", record, status)
            self._count("ha_miner_relays_settled_by_status", record, status, by=settlement.relays)
            self._count("ha_miner_upokt_earned", record, by=settlement.supplier_upokt)
            self._count("ha_miner_upokt_cut", record, by=settlement.cut_upokt)
            if record.state is not SessionState.PROVED and new is SessionState.PROVED:
                self._count("ha_miner_sessions_proved", record)
            if new is SessionState.PROBABILISTIC_PROVED:
                self._count("ha_miner_sessions_probabilistic_proved", record)
        elif settlement.outcome == UNKNOWN:
            self._unknown(record, new)
            return
        else:
            reason = settlement.reason if settlement.outcome == "expired" else settlement.outcome
            self._count("ha_miner_claims_expired_by_reason", record, reason)
            self._count("ha_miner_upokt_expired_by_reason", record, reason, by=settlement.claimed_upokt)
            if settlement.outcome == "discarded":
                self._count("ha_miner_claims_discarded", record)
            self._lost(record, new)
            log.error(
                "a claim was not paid",
                supplier=self._supplier,
                session=record.snapshot.session_id,
                reason=reason,
                proof_error=_refusal(record, PROOF),
                claimed_upokt=settlement.claimed_upokt,
                slashed_upokt=settlement.slashed_upokt,
            )
        if settlement.slashed_upokt:
            self._count("ha_miner_supplier_slashed", record)
        self._observe("ha_miner_settlement_latency_blocks", settlement.height - record.snapshot.end_height)

    def _unknown(self, record: SessionRecord, new: SessionState) -> None:
        if new is not record.state:
            self._lost(record, new)
        log.error(
            "what the chain paid for a claim cannot be read any more",
            supplier=self._supplier,
            session=record.snapshot.session_id,
            claimed_upokt=amount(record, "claimed_upokt"),
        )

    def _lost(self, record: SessionRecord, state: SessionState) -> None:
        root, reason = root_of(record), state.value
        self._count("ha_miner_sessions_failed", record, reason)
        self._count(
            "ha_miner_relays_lost", record, reason, by=root.count if root else record.counters["leaves"]
        )
        if root is not None:
            self._count("ha_miner_compute_units_lost", record, reason, by=root.sum)
            self._count("ha_miner_upokt_lost", record, reason, by=amount(record, "claimed_upokt"))

    def _count(self, name: str, record: SessionRecord, *labels: str, by: int = 1) -> None:
        self._miner.metrics.count(name, self._supplier, record.snapshot.service_id, *labels, by=by)

    def _observe(self, name: str, blocks: int) -> None:
        self._miner.metrics.observe(name, max(blocks, 0), self._supplier)


def _refusal(record: SessionRecord, phase: Phase) -> str:
    """Return why the phase's message was last refused, "" if it never was."""
    return record.more.get(phase.error_field, b"").decode(errors="replace")


def _root_fields(root: Root) -> dict[str, Any]:
    return {
        ROOT_FIELD: root.to_bytes().hex(),
        "claim_relays": root.count,
        "claim_compute_units": root.sum,
    }
