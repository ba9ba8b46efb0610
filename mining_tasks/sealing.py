"""Closing the trees of sessions whose claim window has opened (decisions.md C1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog

from mining_tasks.claims import Worth, reason_to_skip, worth_of
from mining_tasks.outcomes import JOINED, Outcomes
from mining_tasks.phase import CLAIM
from mining_tasks.reference_sessions import ReferenceSessions
from mining_tasks.seal import Drain, SealedSession, drain, last_drain_height, seal_session
from mining_tasks.session_import import SessionImport
from mining_tasks.wiring import Miner
from pocket_protocol.errors import Malformed, Refused, Unavailable
from pocket_protocol.smst import Root
from pocket_protocol.types import BlockPosition, SupplierAddress
from pocket_protocol.windows import Windows
from relay_store.session_state import SessionRecord
from relay_store.sessions import Sessions

DRAIN_S: Final = 3.0  # at most, of one task
URGENT_SHARE: Final = 0.25  # of a block's time, where a window is about to close
RETRY_S: Final = 0.02

log = structlog.get_logger("claims")


class MoreIsClaimed(Refused):
    """The reference claimed more relays of a session than we have: a claim of ours would take its place, and earn less."""

    reason = "more_is_claimed"
    summary = "a miner of the reference has claimed more relays of the session"


class Sealing:
    """Drains a supplier's stream and seals its sessions."""

    def __init__(
        self, miner: Miner, supplier: SupplierAddress, position: BlockPosition, outcomes: Outcomes
    ) -> None:
        self._miner = miner
        self._supplier = supplier
        self._position = position
        self._outcomes = outcomes

    def ready(self, windows: Iterable[Windows]) -> frozenset[Windows]:
        """Return those of `windows` whose sessions may be sealed now.

        Relays answered just before a window opened are on their way for a moment: a settling time must have
        passed, and what is in the stream must be settled; except when the window is about to close.
        """
        urgent = {
            one
            for one in windows
            if self._position.height >= last_drain_height(one.claim_open, one.claim_close)
        }
        settled = urgent | {one for one in windows if self._has_settled(one)}
        if not settled:
            return frozenset()
        share_s = URGENT_SHARE * self._miner.config.block_time_seconds
        return frozenset(settled if self._drain(min(DRAIN_S, share_s) if urgent else DRAIN_S) else urgent)

    def _has_settled(self, windows: Windows) -> bool:
        config = self._miner.config
        wait_s = min(config.block_time_seconds, config.extensions.settle_seconds)
        return self._position.height > windows.claim_open or self._miner.facts.age_s() >= wait_s

    def _drain(self, at_most_s: float) -> bool:
        """Drain; while another process of this node is at it, wait for its end."""
        accumulation, deadline_s = self._miner.accumulation, self._miner.monotonic() + at_most_s
        while (found := drain(self._supplier, accumulation, deadline_s=deadline_s)) is not Drain.DONE:
            if found is Drain.HELD or self._miner.monotonic() + RETRY_S >= deadline_s:
                return False
            self._miner.sleep(RETRY_S)
        return True

    def seal(self, record: SessionRecord, windows: Windows) -> list[SessionRecord]:
        """Seal one session; return it as it is then if it is to be claimed, nothing if policy skips it.

        Raises what `seal_session` raises, and in the window's first half what `worth_of` does; the session is tried
        again with the next block.
        """
        session = record.snapshot.session_id
        if self._joins_claimed(record):
            return []
        sealed = seal_session(self._supplier, session, self._miner.accumulation)
        self._miner.metrics.count("ha_miner_session_tree_flushes", self._supplier)
        worth = self._worth(sealed, windows)
        claimed_upokt = 0 if worth is None else worth.claimed_upokt
        extensions = self._miner.config.extensions
        reason = reason_to_skip(sealed, worth, claim_unprofitable=extensions.claim_unprofitable_sessions)
        self._tell(sealed, worth, reason)
        if reason:
            self._outcomes.skipped(sealed, reason, claimed_upokt)
            return []
        self._outcomes.sealed(sealed, claimed_upokt)
        now = Sessions(self._miner.store, self._miner.keys, self._supplier).read(session)
        return [] if now is None else [now]

    def _joins_claimed(self, record: SessionRecord) -> bool:
        """Put what the reference has claimed of a session into the stream, once, if it is more than we have.

        That happens when it hands a supplier over after its claims, and drops an entry it had read. True: sealed with
        the next block. Raises `MoreIsClaimed` when the relays did not become leaves: then its claim stays.
        """
        session = record.snapshot.session_id
        theirs = ReferenceSessions(self._miner.store, self._miner.keys).read(self._supplier, session)
        if theirs is None or not theirs.is_claimed:
            return False
        claimed = Root.from_bytes(theirs.root).count
        if claimed <= record.counters["leaves"]:
            return False
        if JOINED in record.more:
            raise MoreIsClaimed(session=session, claimed=claimed, ours=record.counters["leaves"])
        added = SessionImport(self._miner.store, self._miner.keys, self._supplier).join(theirs).new
        log.warning("relays the reference has claimed are claimed with ours", session=session, relays=added)
        self._outcomes.joined(record, added)
        return True

    def _worth(self, sealed: SealedSession, windows: Windows) -> Worth | None:
        """Return what the session is worth; None when that cannot be known and waiting would cost more than a fee."""
        try:
            return worth_of(self._miner, sealed)
        except (Unavailable, Refused, Malformed) as error:
            if not CLAIM.is_late(windows, self._position.height):
                raise
            session = sealed.record.snapshot.session_id
            log.warning("claimed without knowing its worth", session=session, error=str(error)[:300])
            return None

    def _tell(self, sealed: SealedSession, worth: Worth | None, reason: str) -> None:
        snapshot = sealed.record.snapshot
        amounts: dict[str, object] = {}
        if worth is not None:
            amounts = {
                "reward_upokt": worth.claimed_upokt,
                "cost_upokt": worth.cost_upokt,
                "margin_upokt": worth.margin_upokt,
                "fees": worth.fees,
            }
        log.info(
            "claim skipped" if reason else "claim",
            supplier=self._supplier,
            session=snapshot.session_id,
            service=snapshot.service_id,
            relays=sealed.root.count,
            **amounts,
            **({"reason": reason} if reason else {}),
        )
        if worth is not None and not reason:
            self._compare_with_ceiling(sealed, worth)

    def _compare_with_ceiling(self, sealed: SealedSession, worth: Worth) -> None:
        """Warn of a claim beyond what the application's stake is sure to pay; the chain may cut it."""
        snapshot = sealed.record.snapshot
        try:
            ceiling = self._miner.facts.claim_ceiling_upokt(snapshot.application, snapshot.end_height)
        except (Unavailable, Refused, Malformed) as error:
            log.info("claim ceiling is not known", session=snapshot.session_id, error=str(error)[:300])
            return
        excess = worth.claimed_upokt - ceiling
        if excess <= 0:
            return
        labels = (self._supplier, snapshot.service_id)
        self._miner.metrics.count("ha_miner_claim_ceiling_exceeded", *labels)
        self._miner.metrics.count("ha_miner_claim_ceiling_exceeded_upokt", *labels, by=excess)
        log.warning(
            "claim exceeds what the application's stake is sure to pay",
            supplier=self._supplier,
            session=snapshot.session_id,
            service=snapshot.service_id,
            application=snapshot.application,
            claimed_upokt=worth.claimed_upokt,
            ceiling_upokt=ceiling,
        )
