"""One step of all sessions of one supplier at one block: look, decide (`lifecycle`), do (spec/miner.md §3, §4).

Run by the supplier's owner with each block and once a second; safe to run twice, at once, and after any crash. What
fails for one group of sessions is left for the next block and touches no other group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from mining_tasks.claims import claim_message
from mining_tasks.group import Group, Member
from mining_tasks.inclusion import NO_CLAIMS_SEEN, ClaimsSeen, look
from mining_tasks.lifecycle import Action, Case, Sight, needs_sight, next_action
from mining_tasks.outcomes import OTHER_CLAIM, RETIRED, SETTLED, Outcomes, root_of
from mining_tasks.phase import CLAIM, PROOF, Phase
from mining_tasks.proofs import draw, proof_message, seed_of
from mining_tasks.seal import read_sealed_session
from mining_tasks.sealing import Sealing
from mining_tasks.settling import settle
from mining_tasks.submission import Build, Submission
from mining_tasks.submission_records import write_submission_record
from mining_tasks.wiring import Miner
from pocket_protocol.coin import upokt_of
from pocket_protocol.errors import PocketError
from pocket_protocol.tx import decode_transaction
from pocket_protocol.types import BlockPosition, SupplierAddress
from pocket_protocol.windows import Windows
from relay_store.fence import NotOwner
from relay_store.intents import Intents, UnreadableIntent
from relay_store.paid_fees import PaidFees
from relay_store.session_state import SessionRecord, SessionState
from relay_store.sessions import Sessions

HORIZON_BLOCKS: Final = 200  # sessions that ended longer ago are looked at by `tidy` only
UNDRAWN: Final = "unknown"  # whether a proof is required could not be known

log = structlog.get_logger("sessions")


@dataclass(frozen=True, slots=True)
class Due:
    """A session that ended, its windows, and what the chain says of its claim."""

    record: SessionRecord
    windows: Windows
    sight: Sight

    @property
    def id(self) -> str:
        return self.record.snapshot.session_id


@dataclass(slots=True)
class Step:
    """What one run did: how many sessions each action was taken for, and what failed."""

    height: int = 0
    actions: dict[Action, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    owner_lost: bool = False
    waiting: bool = False  # something is to be sent as soon as it is on the disk: step again


def advance(supplier: SupplierAddress, miner: Miner, *, everything: bool = False) -> Step:
    """Take each session of `supplier` one step further; `everything` looks at old ones too.

    Raises `StoreUnavailable` when the sessions cannot be listed; all else is reported in the step.
    """
    position = miner.facts.position()
    if position is None:
        return Step()
    miner.queries.channels.expect(position.height)
    run = _Run(miner, supplier, position)
    try:
        run.go(everything)
    except NotOwner:
        run.step.owner_lost = True
    return run.step


def case_of(record: SessionRecord, windows: Windows) -> Case:
    """Return what the lifecycle needs to know of a session's record."""
    more = record.more
    return Case(record.state, windows, SETTLED in more, RETIRED in more, OTHER_CLAIM in more)


class _Run:
    def __init__(self, miner: Miner, supplier: SupplierAddress, position: BlockPosition) -> None:
        self.step = Step(position.height)
        self._miner = miner
        self._supplier = supplier
        self._position = position
        self._sessions = Sessions(miner.store, miner.keys, supplier)
        self._outcomes = Outcomes(miner, supplier)
        self._seen: ClaimsSeen = NO_CLAIMS_SEEN

    def go(self, everything: bool) -> None:
        """Most urgent first: proofs save a penalty, claims the income, the rest can wait."""
        due = self._decide(everything)
        self._prove(due[Action.DRAW_PROOF], due[Action.DRIVE_PROOF])
        self._claim(due[Action.SEAL], due[Action.DRIVE_CLAIM])
        for action, do in (
            (Action.CONFIRM_CLAIM, self._confirm_claim),
            (Action.CONFIRM_PROOF, self._confirm_proof),
            (Action.ACCEPT_OTHER_CLAIM, self._accept_other_claim),
            (Action.CLOSE_UNCLAIMED, self._close_unclaimed),
            (
                Action.SETTLE,
                lambda one: settle(
                    self._miner, self._outcomes, one.record, one.windows, self._position.height
                ),
            ),
            (Action.RETIRE, lambda one: self._outcomes.retire(one.record)),
        ):
            for one in due[action]:
                self._guarded(action.value, one.id, lambda one=one, do=do: do(one))  # type: ignore[misc]

    # --- looking and deciding

    def _decide(self, everything: bool) -> dict[Action, list[Due]]:
        ended = self._ended(everything)
        if any(needs_sight(case_of(record, windows), self._position.height) for record, windows in ended):
            self._seen = look(self._miner.queries, self._supplier)
        due: dict[Action, list[Due]] = defaultdict(list)
        for record, windows in ended:
            sight = self._seen.sight(record)
            action = next_action(case_of(record, windows), self._position.height, sight)
            due[action].append(Due(record, windows, sight))
            if action is not Action.WAIT:
                self.step.actions[action] = self.step.actions.get(action, 0) + 1
        return due

    def _ended(self, everything: bool) -> list[tuple[SessionRecord, Windows]]:
        """Sessions that are over and not done with; most of those listed are, for a week."""
        height = self._position.height
        ends = {
            session: end
            for session, end in self._sessions.listed(ended_by=height)
            if everything or end >= height - HORIZON_BLOCKS
        }
        listed = [(session, ends[session]) for session in self._sessions.lacking(RETIRED, list(ends))]
        windows: dict[int, Windows] = {}
        for end in {end for _, end in listed}:
            self._guarded(
                "windows", str(end), lambda end=end: windows.update({end: self._miner.facts.windows(end)})
            )  # type: ignore[misc]
        records = self._sessions.read_many(
            [session for session, _ in listed],
            unreadable=lambda session, error: self._failed("read", session, error),
        )
        return [
            (record, windows[end])
            for record, (_, end) in zip(records, listed, strict=True)
            if record is not None and end in windows
        ]

    # --- claims

    def _claim(self, to_seal: list[Due], to_drive: list[Due]) -> None:
        sealed: list[Due] = []
        if to_seal:
            sealing = Sealing(self._miner, self._supplier, self._position, self._outcomes)
            self._guarded("drain", "", lambda: sealed.extend(self._seal(sealing, to_seal)))
        by_end = _by_end([*to_drive, *sealed])
        for windows, group in by_end.items():
            self._submit(CLAIM, windows, group, self._claim_builder(group))

    def _seal(self, sealing: Sealing, to_seal: list[Due]) -> Iterable[Due]:
        """Close the trees of sessions whose claim window is open; sessions may have come to light in the stream."""
        ready = sealing.ready({one.windows for one in to_seal})
        for record, windows in self._ended(False) if ready else ():
            action = next_action(case_of(record, windows), self._position.height)
            if windows not in ready or action is not Action.SEAL:
                continue
            claiming: list[SessionRecord] = []
            failure = self._guarded(
                "seal",
                record.snapshot.session_id,
                lambda record=record, windows=windows, claiming=claiming: claiming.extend(
                    sealing.seal(record, windows)
                ),  # type: ignore[misc]
            )
            self._note(record, CLAIM, failure)
            for one in claiming:
                yield Due(one, windows, self._seen.sight(one))

    def _claim_builder(self, group: list[Due]) -> Build:
        records = {one.id: one.record for one in group}

        def build_one(session: str) -> Member:
            root = root_of(records[session])
            assert root is not None  # `claiming` is entered with the root
            return Member(session, claim_message(self._supplier, records[session].snapshot, root.to_bytes()))

        return self._builder(CLAIM, records, build_one)

    # --- proofs

    def _prove(self, to_draw: list[Due], to_drive: list[Due]) -> None:
        for windows, group in _by_end([*to_draw, *to_drive]).items():
            failure = self._guarded(
                "prove", str(windows.session_end), lambda w=windows, g=group: self._prove_group(w, g)
            )  # type: ignore[misc]
            for one in group:
                self._note(one.record, PROOF, failure)

    def _prove_group(self, windows: Windows, group: list[Due]) -> None:
        seed = seed_of(self._miner, windows)
        required: list[Due] = []
        for one in group:
            if one.record.state is SessionState.PROVING:
                required.append(one)
            elif self._guarded("draw", one.id, lambda one=one: self._draw(one, seed, required)):  # type: ignore[misc]
                self._guarded("draw", one.id, lambda one=one: self._suppose_required(one, seed, required))  # type: ignore[misc]
        records = {one.id: one.record for one in required}

        def build_one(session: str) -> Member:
            sealed = read_sealed_session(self._supplier, session, self._miner.accumulation)
            root = root_of(records[session])
            if root is None or sealed.root != root:
                raise ProofForAnotherRoot(session=session)
            return Member(session, proof_message(self._miner, self._supplier, sealed, seed))

        self._submit(PROOF, windows, required, self._builder(PROOF, records, build_one))

    def _draw(self, one: Due, seed: bytes, required: list[Due]) -> None:
        root = root_of(one.record)
        if root is None:
            return
        drawn = draw(self._miner, one.record.snapshot, root.to_bytes(), seed)  # type: ignore[arg-type]
        name = drawn.requirement.name.lower()
        if self._outcomes.drawn(one.record, name, seed, required=drawn.is_required) and drawn.is_required:
            required.append(one)

    def _suppose_required(self, one: Due, seed: bytes, required: list[Due]) -> None:
        """Prove what cannot be drawn, late in the window: the chain refuses a useless proof and punishes a missing one."""
        if root_of(one.record) is None or not PROOF.is_late(one.windows, self._position.height):
            return
        if self._outcomes.drawn(one.record, UNDRAWN, seed, required=True):
            required.append(one)

    # --- both

    def _submit(self, phase: Phase, windows: Windows, group: list[Due], build: Build) -> None:
        if not group:
            return
        submission = Submission(self._miner, Group(phase, self._supplier, windows, self._position), build)
        sights = {one.id: one.sight for one in group}

        def go() -> None:
            intents, uncovered = submission.stored(
                list(sights), lambda session, error: self._failed("read_intent", session, error)
            )
            for intent in intents:
                submission.drive(intent, [session for session in intent.members if session in sights], sights)
            submission.start(uncovered)

        self._guarded(phase.name, str(windows.session_end), go)
        self.step.waiting |= submission.waiting

    def _builder(
        self, phase: Phase, records: Mapping[str, SessionRecord], build_one: Callable[[str], Member]
    ) -> Build:
        def build(sessions: Iterable[str]) -> list[Member]:
            built: list[Member] = []
            for session in sessions:
                failure = self._guarded(
                    f"build_{phase.name}",
                    session,
                    lambda session=session: built.append(build_one(session)),  # type: ignore[misc]
                )
                self._note(records[session], phase, failure)
            return built

        return build

    # --- outcomes

    def _confirm_claim(self, one: Due) -> None:
        self._outcomes.claimed(one.record, one.sight.height, self._included(one, CLAIM), one.windows)
        write_submission_record(self._miner, self._supplier, one.id)

    def _confirm_proof(self, one: Due) -> None:
        self._outcomes.proved(one.record, one.sight.height, self._included(one, PROOF), one.windows)
        write_submission_record(self._miner, self._supplier, one.id)

    def _accept_other_claim(self, one: Due) -> None:
        claim = self._seen.claim(one.id)
        if claim is not None:
            self._outcomes.claimed_by_another(one.record, one.sight.height, claim.root_hash)

    def _close_unclaimed(self, one: Due) -> None:
        self._outcomes.closed(one.record, one.sight.height)
        write_submission_record(self._miner, self._supplier, one.id)

    def _included(self, one: Due, phase: Phase) -> str:
        """Note what a transaction cost that the chain has; return its hash, "" when it was not sent from here."""
        of = (self._miner.store, self._miner.keys, self._supplier)
        try:
            intent = Intents(*of).find(one.id, phase.name)
        except UnreadableIntent as error:
            self._failed("read_intent", one.id, error)
            intent = None
        if intent is None:
            return ""
        fee = decode_transaction(intent.tx).auth_info.fee.amount
        PaidFees(*of).note(phase.name, sum(map(upokt_of, fee)), len(intent.members))
        return intent.tx_hash

    def _guarded(self, what: str, about: str, do: Callable[[], object]) -> str:
        """Run one part; what fails is logged, counted and left for the next block. Raises `NotOwner`.

        Returns the reason of the failure, "" when there was none.
        """
        try:
            do()
        except NotOwner:
            raise
        except PocketError as error:
            self._failed(what, about, error)
            return error.reason
        return ""

    def _note(self, record: SessionRecord, phase: Phase, reason: str) -> None:
        """Put on record why there is no message for a session, in case its window closes over it."""
        if reason:
            about = record.snapshot.session_id
            self._guarded("note", about, lambda: self._outcomes.failed(record, phase, reason))

    def _failed(self, what: str, about: str, error: PocketError) -> None:
        self.step.failures.append(f"{what} {about}: {error}")
        self._miner.metrics.count("ha_miner_task_failures", what, error.reason)
        log.warning(
            "not done; tried again with the next block",
            what=what,
            about=about,
            supplier=self._supplier,
            height=self._position.height,
            reason=error.reason,
            error=str(error)[:500],
        )


class ProofForAnotherRoot(PocketError):
    """The sealed leaves no longer give the claimed root: a proof from them would be found invalid."""

    reason = "proof_for_another_root"
    summary = "sealed leaves do not have the claimed root"


def _by_end(due: Iterable[Due]) -> Mapping[Windows, list[Due]]:
    groups: dict[Windows, list[Due]] = defaultdict(list)
    for one in due:
        groups[one.windows].append(one)
    return groups
