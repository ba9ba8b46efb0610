"""Whether the ledger closes (decisions.md F): what the gateway counted, what the store holds, what the chain paid."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mining_tasks.ledger import grand_total, read_ledger
from operations.metrics_server import exposition
from relay_cli.demo.chain_watch import ClaimOnChain
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.session_state import TERMINAL_STATES, SessionState
from tests.chaos.chain_journal import PROVED_AGAIN, ChainJournal
from tests.integration.session_books import Witness, problems_of
from tests.integration.steady_load import CountedRelays, SessionKey

LOST = "lost by the store, answered near its death"
TOO_LATE = "answered too late to be claimed, not charged"
UNCLAIMED = "in a session without a claim"
# The relayer counts blocks by the clock while it hears of none: so far it may be ahead of a chain that stands still.
AHEAD_BLOCKS = 8
LEAST_ANSWERED = 0.3  # of what the client was told to send, faults and a busy machine considered
TAKE_OVER_S = 5.0  # promised where nothing else is wrong
PER_FRONT_END_KILL = 10  # a killed process takes its last second's counts along


@dataclass
class Excuses:
    """Why an answered relay need not be a leaf (decisions.md C2, F). Moments are monotonic."""

    height_at: Callable[[float], int]
    losses: list[tuple[float, float]] = field(default_factory=list)  # when the store could lose writes

    def of(self, session_end: int, answered_at: float) -> str:
        """Return the excuse for a relay of a session, "" when there is none."""
        if any(first <= answered_at <= last for first, last in self.losses):
            return LOST
        return TOO_LATE if self.height_at(answered_at) >= session_end - AHEAD_BLOCKS else ""


@dataclass
class Verdict:
    """What a run came to; it has passed when `problems` is empty."""

    problems: list[str] = field(default_factory=list)
    answered: int = 0
    claimed: int = 0
    sessions: int = 0
    missing: dict[str, int] = field(default_factory=dict)  # answered and no leaf, by excuse
    too_late: int = 0  # as the relayers counted them
    unanswered: int = 0  # leaves the client had no answer to
    unacknowledged: int = 0  # relays the store may have, as the relayers counted them
    totals: dict[str, int] = field(default_factory=dict)
    chain: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    unknown: int = 0

    @property
    def passed(self) -> bool:
        return not self.problems


def judge(
    counted: CountedRelays,
    claims: Mapping[SessionKey, ClaimOnChain],
    witness: Witness,
    excuses: Excuses,
) -> Verdict:
    """Compare each session's three accounts."""
    verdict = Verdict(refused=dict(counted.refused), unknown=sum(counted.unknown.values()))
    missing: Counter[str] = Counter()
    for key in sorted({*counted.answered, *claims}):
        answered, claim = counted.answered[key], claims.get(key)
        leaves = witness.leaves.get(key, set())
        end = key[2]
        found = problems_of(key, counted, claim, leaves, lambda at, end=end: bool(excuses.of(end, at)))
        verdict.problems += [f"{_shown(key)}: {problem}" for problem in found]
        why = [excuses.of(end, at) for path, at in answered.items() if path not in leaves]
        claimed = claim is not None and claim.created_height
        missing.update(why if claimed or all(why) else [UNCLAIMED] * len(why))
        verdict.unanswered += len(leaves - answered.keys())
        verdict.answered += len(answered)
        verdict.claimed += claim.num_relays if claim else 0
        verdict.sessions += bool(answered)
    verdict.missing = dict(missing)
    verdict.problems += [f"a 200 that is no answer: {text}" for text in counted.invalid]
    return verdict


def judge_restarts(verdict: Verdict, told: Iterable[str]) -> None:
    """What nobody killed must not have ended."""
    verdict.problems += [text for text in told if " ended with code " in text]


def judge_load(verdict: Verdict, counted: CountedRelays, asked: float, sessions: int) -> None:
    """A run without relays shows nothing."""
    served = len({end for _, _, end in counted.answered})
    if verdict.answered < LEAST_ANSWERED * asked:
        verdict.problems.append(f"only {verdict.answered} relays were answered of about {asked:.0f}")
    if served < sessions:
        verdict.problems.append(f"relays were answered in {served} sessions only")


def judge_front_ends(verdict: Verdict, directories: Iterable[Path], kills: int) -> None:
    """Compare relays that came too late, and those mined but not answered, with the relayers' own counts."""
    samples = [
        sample
        for directory in directories
        for family in text_string_to_metric_families(exposition(directory).decode())
        for sample in family.samples
    ]
    verdict.too_late = int(sum(s.value for s in samples if s.name == "ha_relayer_relays_after_window_total"))
    verdict.unacknowledged = int(sum(s.value for s in samples if s.name == "ha_relayer_relays_lost_total"))
    missing, uncounted = verdict.missing.get(TOO_LATE, 0), PER_FRONT_END_KILL * kills
    if missing > verdict.too_late + uncounted:
        verdict.problems.append(f"{missing} relays came too late, the relayers know of {verdict.too_late}")
    if verdict.unanswered > verdict.unknown + verdict.unacknowledged + uncounted:
        verdict.problems.append(
            f"{verdict.unanswered} leaves were not answered: the client missed {verdict.unknown} answers and the"
            f" relayers {verdict.unacknowledged} of the store's"
        )


def _shown(key: SessionKey) -> str:
    supplier, service, end = key
    return f"…{supplier[-7:]} {service} session ending at {end}"


def judge_books(verdict: Verdict, store: Store, keys: Keys, suppliers: Iterable[str]) -> None:
    """Add what the miner's own books say. Raises `StoreUnavailable`."""
    ledgers = [read_ledger(store, keys, supplier) for supplier in suppliers]
    for ledger in ledgers:
        verdict.problems += [f"…{ledger.supplier[-7:]} {problem}" for problem in ledger.problems()]
        for row in ledger.rows:
            if SessionState(row.state) not in TERMINAL_STATES or (row.claimed_upokt and not row.outcome):
                where = f"…{row.supplier[-7:]} {row.service} session ending at {row.session_end}"
                verdict.problems.append(f"{where}: left as {row.state}, {row.outcome or 'not settled'}")
    total = grand_total(ledgers)
    verdict.totals = total
    for name, what in (("pending", "entries left in streams"), ("dead", "entries found to be no relays")):
        if total[name]:
            verdict.problems.append(f"{total[name]} {what}")
    if total["late"]:
        verdict.problems.append(f"{total['late']} relays came after their session was sealed")
    if total["leaves"] != verdict.claimed:
        verdict.problems.append(f"{total['leaves']} leaves in the books, {verdict.claimed} relays claimed")


def judge_chain(verdict: Verdict, journal: ChainJournal) -> None:
    """Add what the chain's journal says: nothing outside its window, no proof paid for twice."""
    verdict.chain = dict(journal.events) | {
        "transactions": journal.delivered,
        "broadcasts": journal.broadcast,
    }
    verdict.problems += journal.outside
    if journal.events[PROVED_AGAIN]:
        verdict.problems.append(f"{journal.events[PROVED_AGAIN]} proofs were sent a second time")


def judge_states(verdict: Verdict, gone_back: Iterable[str], logs: Iterable[Path]) -> None:
    """Add what sessions did: none left a terminal state, none entered a state twice."""
    verdict.problems += [f"state went back: {text}" for text in gone_back]
    entered: Counter[tuple[str, str, str]] = Counter()
    for line in (line for path in logs for line in path.read_text(errors="replace").splitlines()):
        entry = _entry(line)
        if entry.get("event") != "session" and entry.get("message") != "session":
            continue
        before, after = SessionState(entry["before"]), SessionState(entry["state"])
        if before in TERMINAL_STATES:
            verdict.problems.append(f"session {entry['session']} left {before} for {after}")
        entered[entry["supplier"], entry["session"], after] += 1
    verdict.problems += [
        f"session {session} of …{supplier[-7:]} became {state} {times} times"
        for (supplier, session, state), times in entered.items()
        if times > 1
    ]
    verdict.chain["state transitions logged"] = sum(entered.values())


def judge_take_overs(verdict: Verdict, seconds: Iterable[tuple[str, float]]) -> None:
    """What was held by a process that is gone has another holder in time."""
    verdict.problems += [
        f"taken over after {taken:.2f} s: {fault}" for fault, taken in seconds if taken >= TAKE_OVER_S
    ]


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
