"""Bringing the claims or proofs of one group onto the chain (decisions.md C3, C5, C6).

    build ▸ split ▸ simulate ▸ sign ▸ intent stored ▸ barrier ▸ broadcast ▸ the chain is asked with the next block

Nothing is broadcast that is not stored, and what is stored is sent again byte for byte: so a crash at any point is
followed by the same transaction, never by a second one. New bytes follow only when the old ones can no longer
count. A message that would fail takes no other with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from mining_tasks.group import Group, Member
from mining_tasks.lifecycle import NOT_SEEN, OnChain, Sight
from mining_tasks.preparation import Preparation
from mining_tasks.wiring import Miner
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.errors import Refused, Unavailable
from pocket_protocol.tx_answer import ASK_CHAIN, Outcome, TxAnswer, classify
from relay_store.durability import make_durable, takes_time
from relay_store.fence import NotOwner, open_fence
from relay_store.intents import AttemptNotNext, Intent, Intents, UnreadableIntent

INTENT_TTL_S: Final = 7 * 86_400
SOON_S: Final = 5.0
# CheckTx refused the bytes for a reason that is in them: no node will ever take them.
_NEVER_VALID: Final = frozenset(
    outcome.value
    for outcome in (
        Outcome.WRONG_SIGNATURE,
        Outcome.WRONG_SEQUENCE,
        Outcome.UNDECODABLE,
        Outcome.TOO_LARGE,
        Outcome.OUT_OF_GAS,
    )
)
_ON_ITS_WAY: Final = frozenset(outcome.value for outcome in (Outcome.ACCEPTED, *ASK_CHAIN))
_UNANSWERED: Final = "unanswered"
_NO_FAULT: Final[frozenset[str]] = frozenset()

Build = Callable[[Sequence[str]], list[Member]]

log = structlog.get_logger("transactions")


class Submission:
    """Drives one group by one step; used again with each block until the chain has everything."""

    def __init__(self, miner: Miner, group: Group, build: Build) -> None:
        """`build` makes the messages of sessions; it leaves out those whose message cannot be made now."""
        self._miner = miner
        self._group = group
        self._build = build
        self._intents = Intents(miner.store, miner.keys, group.supplier)
        self._preparation = Preparation(miner, group)
        self.waiting = False  # something was stored that the next step sends, once it is on the disk

    @property
    def refused(self) -> Mapping[str, TxAnswer]:
        """Sessions whose message would fail or has failed, with the chain's reason."""
        return self._preparation.refused

    def stored(
        self, sessions: Sequence[str], unreadable: Callable[[str, UnreadableIntent], None]
    ) -> tuple[list[Intent], list[str]]:
        """Return the intents that cover some of `sessions`, and the sessions without one.

        A session whose intent is damaged is told to `unreadable` and is in neither.
        """
        intents: dict[str, Intent] = {}
        uncovered = []
        for session in sessions:
            try:
                intent = self._intents.find(session, self._group.phase.name)
            except UnreadableIntent as error:
                unreadable(session, error)
                continue
            if intent is None or session not in intent.members:
                uncovered.append(session)
            else:
                intents[intent.tx_hash] = intent
        return list(intents.values()), uncovered

    def start(self, sessions: Sequence[str]) -> None:
        """Send sessions that have no intent yet; what fails for one batch does not touch the others.

        Raises `NotOwner`.
        """
        if not sessions or self._group.position.height >= self._group.closes:
            return
        for batch in self._preparation.split(self._build(sessions)):
            try:
                self._start_batch(batch)
            except NotOwner:
                raise
            except (Unavailable, Refused) as error:
                self._note_failure(error, [member.session_id for member in batch])

    def _start_batch(self, batch: Sequence[Member]) -> None:
        intent = self._preparation.prepare(batch, attempt=1)
        if intent is None:
            return
        store, keys, token = self._miner.store, self._miner.keys, self._miner.token
        with open_fence(store, keys, self._group.supplier, token) as fence:
            stored = self._intents.create(fence, intent, ttl_s=INTENT_TTL_S)
        if [one.tx_hash for one in stored] != [intent.tx_hash]:
            return
        if takes_time(self._miner.report) and not self._closes_soon():
            self.waiting = True
            self._intents.note_stored(intent, self._miner.monotonic(), token=token)
        else:
            self._broadcast(intent)

    def _closes_soon(self) -> bool:
        """Whether another task may come too late: then this one waits for the disk."""
        left = self._group.closes - self._group.position.height
        return left * self._miner.config.block_time_seconds <= SOON_S

    def drive(self, intent: Intent, sessions: Sequence[str], sights: Mapping[str, Sight]) -> None:
        """Take a stored transaction one step further. Raises `NotOwner`.

        `sessions` are those of its members that are still wanted; `sights` is what the chain says of them.
        """
        try:
            if not intent.outcome:
                self._broadcast(intent)
            else:
                self._drive_sent(intent, sessions, sights)
        except NotOwner:
            raise
        except (Unavailable, Refused) as error:
            self._note_failure(error, sessions)

    def _drive_sent(self, intent: Intent, sessions: Sequence[str], sights: Mapping[str, Sight]) -> None:
        seen = [sights.get(session, NOT_SEEN) for session in sessions]
        if intent.outcome.get("answer") in _NEVER_VALID:
            self._follow(intent, sessions, _NO_FAULT)
            return
        if self._group.phase.upserts and any(sight.claim is OnChain.OTHER for sight in seen):
            self._follow(intent, sessions, _NO_FAULT)
            return
        try:
            committed = self._miner.transactions.find(intent.tx_hash)
        except NodeUnavailable:
            committed = None  # the node keeps no index: time decides
        if committed is not None:
            result = committed.result
            if result.code:
                answer = classify(result.code, result.codespace, result.log)
                self._follow(intent, sessions, self._at_fault(intent, answer))
        elif self._timed_out(intent, seen):
            self._follow(intent, sessions, _NO_FAULT)
        elif self._is_due(intent):
            self._miner.metrics.count(
                f"ha_miner_{self._group.phase.name}_rebroadcasts", self._group.supplier, "success"
            )
            self._broadcast(intent)

    # --- new bytes

    def _follow(self, intent: Intent, sessions: Sequence[str], at_fault: frozenset[str]) -> None:
        """Put the next attempt in the place of one that can no longer count, without what made it fail.

        What failed alone may succeed in a later block: simulation tells when. Without it each try would cost its fee.
        """
        transaction = self._miner.config.transaction
        wanted = [session for session in sessions if session not in at_fault]
        if not wanted and not transaction.gas_limit:
            wanted = list(sessions)
        margin = transaction.rebroadcast_safety_blocks
        if not wanted or self._group.position.height + margin >= self._group.closes:
            return
        following = self._preparation.prepare(self._build(wanted), attempt=intent.attempt + 1)
        if following is None:
            return
        store, keys = self._miner.store, self._miner.keys
        with open_fence(store, keys, self._group.supplier, self._miner.token) as fence:
            try:
                self._intents.replace(fence, intent, following, ttl_s=INTENT_TTL_S)
            except AttemptNotNext:
                return  # another worker was faster; its bytes are driven with the next block
        self._broadcast(following)

    def _at_fault(self, intent: Intent, answer: TxAnswer) -> frozenset[str]:
        """Return the member whose message made the transaction fail in its block."""
        log.warning(
            "transaction failed in a block",
            supplier=self._group.supplier,
            tx_hash=intent.tx_hash,
            phase=intent.phase,
            outcome=answer.outcome.value,
            text=answer.text[:300],
        )
        index = answer.message_index
        if index is None or index >= len(intent.members):
            self._preparation.note_refusal(answer.outcome, intent.members)
            return _NO_FAULT
        self._preparation.note_refusal(answer.outcome, intent.members[index : index + 1])
        self._preparation.refused[intent.members[index]] = answer
        return frozenset((intent.members[index],))

    def _timed_out(self, intent: Intent, seen: Sequence[Sight]) -> bool:
        """Whether a state later than the timeout was seen without the members' outcome (decisions.md C3)."""
        if not seen or any(sight.claim is OnChain.UNKNOWN or not sight.height for sight in seen):
            return False
        return self._miner.node.block(min(sight.height for sight in seen)).time_ns > intent.timeout_ns

    # --- the same bytes

    def _is_due(self, intent: Intent) -> bool:
        """Whether the same bytes are sent once more: with each block while no mempool has them, else seldom."""
        height, last = self._group.position.height, int(intent.outcome.get("height", "0"))
        if height >= self._group.closes:
            return False
        if intent.outcome.get("answer") not in _ON_ITS_WAY:
            return height > last
        pause = max(2, (self._group.closes - self._group.opens) // 4)
        sent = int(intent.outcome.get("broadcasts", "1"))
        return sent <= self._miner.config.transaction.max_rebroadcasts and height >= last + pause

    def _broadcast(self, intent: Intent) -> None:
        """Make sure the stored bytes outlive this machine, send them, note the answer."""
        miner, supplier = self._miner, self._group.supplier
        make_durable(
            miner.store,
            miner.keys,
            supplier,
            report=miner.report,
            written_at_s=self._stored_at_s(intent),
            monotonic=miner.monotonic,
            sleep=miner.sleep,
        )
        started = miner.monotonic()
        broadcasts = int(intent.outcome.get("broadcasts", "0"))
        try:
            sent = miner.transactions.broadcast(intent.tx, sent_before=broadcasts)
            answer, text = sent.answer.outcome.value, sent.answer.text[:300]
            if sent.answer.outcome is not Outcome.ACCEPTED:
                self._preparation.note_refusal(sent.answer.outcome, intent.members)
        except NodeUnavailable as error:
            answer, text = _UNANSWERED, str(error)[:300]
        miner.metrics.observe("ha_tx_broadcast_latency_seconds", miner.monotonic() - started, supplier)
        miner.metrics.count("ha_tx_broadcasts", supplier, answer)
        height = self._group.position.height
        log.info(
            "transaction sent",
            phase=intent.phase,
            supplier=supplier,
            tx_hash=intent.tx_hash,
            sessions=len(intent.members),
            attempt=intent.attempt,
            height=height,
            answer=answer,
        )
        outcome = {
            "answer": answer,
            "text": text,
            "height": str(height),
            "sent_s": str(int(miner.now_s())),
            "broadcasts": str(broadcasts + 1),
        }
        self._intents.record_outcome(intent, outcome, token=miner.token)

    def _stored_at_s(self, intent: Intent) -> float:
        """Since when the bytes are known to be stored: now, unless this node's clock says more."""
        return intent.stored_at_s if intent.stored_by == self._miner.token else self._miner.monotonic()

    def _note_failure(self, error: Unavailable | Refused, sessions: Sequence[str]) -> None:
        self._miner.metrics.count(
            f"ha_miner_{self._group.phase.name}_errors", self._group.supplier, error.reason
        )
        log.warning(
            "transaction not sent; it is tried again with the next block",
            supplier=self._group.supplier,
            phase=self._group.phase.name,
            session_end=self._group.windows.session_end,
            reason=error.reason,
            error=str(error)[:300],
        )
        try:
            self._preparation.note_reason(error.reason, sessions)
        except Unavailable:
            return  # the store is what failed
