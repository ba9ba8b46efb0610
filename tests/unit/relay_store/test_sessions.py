from __future__ import annotations

import pytest

from relay_store.connection import Store
from relay_store.fence import NotOwner
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.session_state import (
    LIVE_STATES,
    TERMINAL_STATES,
    SessionSnapshot,
    SessionState,
    UnreadableSession,
    read_record,
)
from relay_store.sessions import BACKSTOP_TTL_S, RETENTION_S, Sessions, TerminalState

KEYS, S, SID = Keys(), "pokt1s", "a" * 64
SNAPSHOT = SessionSnapshot(SID, S, "pokt1app", "svc1", 101, 110, 112, 120, 120, 128, 7, "ff" * 32)


@pytest.fixture
def sessions(store: Store) -> Sessions:
    StoreLease(store).acquire(KEYS.supplier_lease(S), "me")
    store.client.hset(KEYS.session(S, SID), mapping=SNAPSHOT.to_fields())
    store.client.zadd(KEYS.sessions(S), {SID: SNAPSHOT.end_height})
    return Sessions(store, KEYS, S)


def test_a_record_reads_back(store: Store, sessions: Sessions) -> None:
    store.client.hset(KEYS.session(S, SID), mapping={"leaves": 5, "claim_tx_hash": "AB"})
    record = sessions.read(SID)
    assert record is not None
    assert record.snapshot == SNAPSHOT and record.state is SessionState.ACTIVE
    assert record.counters["leaves"] == 5 and record.counters["late"] == 0
    assert record.more == {"claim_tx_hash": b"AB"}
    assert sessions.read("b" * 64) is None


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {b"state": b"dancing"},
        {b"state": b"active", b"cupr": b"x"},
        {b"state": b"active", b"\xff": b"x"},
        {b"\xff": b"x"},
    ],
)
def test_a_record_that_is_none_is_refused(raw: dict[bytes, bytes]) -> None:
    with pytest.raises(UnreadableSession):
        read_record(raw)


def test_listing_is_by_end_height(store: Store, sessions: Sessions) -> None:
    store.client.zadd(KEYS.sessions(S), {"later": 130, "sooner": 100})
    assert sessions.listed() == [("sooner", 100), (SID, 110), ("later", 130)]
    assert sessions.listed(ended_by=110) == [("sooner", 100), (SID, 110)]


def test_states_are_split_in_live_and_terminal() -> None:
    assert set(SessionState) == LIVE_STATES | TERMINAL_STATES and not LIVE_STATES & TERMINAL_STATES
    assert len(TERMINAL_STATES) == 8


@pytest.mark.parametrize("stored", SessionState)
@pytest.mark.parametrize("expected", SessionState)
@pytest.mark.parametrize("new", [SessionState.CLAIMING, SessionState.PROVED])
def test_a_transition_needs_the_expected_state_and_no_terminal_one(
    store: Store, sessions: Sessions, stored: SessionState, expected: SessionState, new: SessionState
) -> None:
    store.client.hset(KEYS.session(S, SID), "state", stored.value)
    if expected.is_terminal and new is not expected:
        with pytest.raises(TerminalState):
            sessions.transition(SID, expected, new, token="me")
    else:
        done = sessions.transition(SID, expected, new, token="me", fields={"note": "n"})
        assert done == (stored is expected)
    record = sessions.read(SID)
    assert record is not None
    moved = stored is expected and (not stored.is_terminal or new is stored)
    assert record.state is (new if moved else stored)
    assert record.more == ({"note": b"n"} if moved else {})


def test_only_the_owner_moves_a_session_and_each_move_is_a_commit(store: Store, sessions: Sessions) -> None:
    with pytest.raises(NotOwner):
        sessions.transition(SID, SessionState.ACTIVE, SessionState.CLAIMING, token="other")
    assert not store.client.exists(KEYS.commit(S))
    assert sessions.transition(SID, SessionState.ACTIVE, SessionState.CLAIMING, token="me")
    assert store.client.get(KEYS.commit(S)) == b"1"
    assert 0 < store.client.ttl(KEYS.session(S, SID)) <= BACKSTOP_TTL_S


def test_an_absent_session_is_not_raised_from_the_dead(store: Store, sessions: Sessions) -> None:
    assert not sessions.transition("b" * 64, SessionState.ACTIVE, SessionState.CLAIMING, token="me")
    assert not store.client.exists(KEYS.session(S, "b" * 64))


def test_retiring_frees_the_leaves_of_a_finished_session_only(store: Store, sessions: Sessions) -> None:
    for key in (KEYS.leaves(S, SID), KEYS.index(S, SID), KEYS.seal(S, SID), KEYS.root(S, SID)):
        store.client.set(key, "x")
    assert not sessions.retire(SID, token="me")
    assert store.client.exists(KEYS.leaves(S, SID))
    store.client.hset(KEYS.session(S, SID), "state", "proved")
    with pytest.raises(NotOwner):
        sessions.retire(SID, token="other")
    assert sessions.retire(SID, token="me") and sessions.retire(SID, token="me")
    assert not store.client.exists(KEYS.leaves(S, SID), KEYS.index(S, SID))
    for key in (KEYS.session(S, SID), KEYS.seal(S, SID), KEYS.root(S, SID)):
        assert 0 < store.client.ttl(key) <= RETENTION_S


def test_sessions_whose_record_ran_out_leave_the_list(store: Store, sessions: Sessions) -> None:
    store.client.zadd(KEYS.sessions(S), {"gone": 50, "young": 200})
    assert sessions.prune(ended_by=110) == ["gone"]
    assert [session for session, _ in sessions.listed()] == [SID, "young"]


def test_sessions_that_are_done_with_are_told_by_one_command(store: Store, sessions: Sessions) -> None:
    ids = [f"{number:064}" for number in range(300)]
    for session in ids:
        store.client.hset(KEYS.session(S, session), mapping=SNAPSHOT.to_fields() | {"retired": 1})
    store.client.hdel(KEYS.session(S, ids[7]), "retired")
    sessions.lacking("retired", ids)
    before = store.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert sessions.lacking("retired", [*ids, "none"]) == [ids[7], "none"]
    assert store.client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
