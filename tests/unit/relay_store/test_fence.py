"""The fence: nothing is written after ownership, or the connection, was lost."""

from __future__ import annotations

import os

import pytest

from relay_store.connection import Store
from relay_store.fence import Fence, NotOwner, PartlyExecuted, open_fence
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.store_errors import StoreRefused, StoreUnavailable

KEYS, S = Keys(), "pokt1s"
TARGET = KEYS.totals(S)


@pytest.fixture
def owned(store: Store) -> Store:
    assert StoreLease(store).acquire(KEYS.supplier_lease(S), "me") == 1
    return store


def _cut_every_other_connection(store: Store) -> None:
    store.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_fenced_write_goes_through_and_counts_a_commit(owned: Store) -> None:
    with open_fence(owned, KEYS, S, "me") as fence:
        fence.watch()
        assert fence.execute(("HSET", TARGET, "a", 1), ("HGET", TARGET, "a")) == [1, b"1"]
    assert owned.client.get(KEYS.commit(S)) == b"1"


def test_not_the_owner_stops_before_anything(owned: Store) -> None:
    with open_fence(owned, KEYS, S, "other") as fence, pytest.raises(NotOwner):
        fence.watch()
    assert not owned.client.exists(KEYS.commit(S))


def test_a_lost_ownership_in_between_writes_nothing(owned: Store) -> None:
    with open_fence(owned, KEYS, S, "me") as fence:
        fence.watch()
        owned.client.delete(KEYS.lease(S))
        assert StoreLease(owned).acquire(KEYS.supplier_lease(S), "thief") == 2
        assert fence.execute(("HSET", TARGET, "a", 1)) is None
        with pytest.raises(NotOwner):
            fence.watch()
    assert not owned.client.exists(TARGET)


def test_of_two_writers_of_one_token_the_second_reads_again(owned: Store) -> None:
    with open_fence(owned, KEYS, S, "me") as one, open_fence(owned, KEYS, S, "me") as two:
        one.watch()
        two.watch()
        assert one.execute(("HINCRBY", TARGET, "a", 1)) is not None
        assert two.execute(("HINCRBY", TARGET, "a", 1)) is None
        two.watch()
        assert two.execute(("HINCRBY", TARGET, "a", 1)) is not None
    assert owned.client.hget(TARGET, "a") == b"2"


@pytest.mark.parametrize("step", ["execute", "ask", "watch_more", "forget"])
def test_a_connection_cut_while_watching_never_writes_unfenced(owned: Store, step: str) -> None:
    with pytest.raises(StoreUnavailable), open_fence(owned, KEYS, S, "me") as fence:
        fence.watch()
        _cut_every_other_connection(owned)
        if step == "ask":
            fence.ask(("GET", KEYS.owner(S)))
        elif step == "watch_more":
            fence.watch_more(TARGET)
        elif step == "forget":
            fence.forget()
        fence.execute(("HSET", TARGET, "a", 1))
    assert not owned.client.exists(TARGET)


def test_a_writer_that_ignores_the_cut_cannot_reconnect_under_the_watch(owned: Store) -> None:
    with pytest.raises(StoreUnavailable), open_fence(owned, KEYS, S, "me") as fence:
        fence.watch()
        _cut_every_other_connection(owned)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                fence.ask(("GET", KEYS.owner(S)))
        fence.execute(("HSET", TARGET, "a", 1))
    assert not owned.client.exists(TARGET)
    with open_fence(owned, KEYS, S, "me") as fence:  # the next one starts afresh
        fence.watch()
        assert fence.execute(("HSET", TARGET, "a", 1)) is not None


def test_the_library_alone_would_write_unfenced(owned: Store) -> None:
    """What the fence is for: without it a cut between WATCH and EXEC goes unnoticed."""
    connection = owned.client.connection_pool.get_connection()
    connection.send_command("WATCH", KEYS.owner(S))
    connection.read_response()
    owned.client.set(KEYS.owner(S), "thief")
    connection.disconnect()
    for command in (("MULTI",), ("HSET", TARGET, "a", 1), ("EXEC",)):
        connection.send_command(*command)
        connection.read_response()
    assert owned.client.exists(TARGET)


def test_a_refused_command_refuses_the_whole(owned: Store) -> None:
    with open_fence(owned, KEYS, S, "me") as fence:
        fence.watch()
        with pytest.raises(StoreRefused):
            fence.execute(("HSET", TARGET, "a", 1), ("NOSUCHCOMMAND",))
    assert not owned.client.exists(TARGET)


def test_a_command_failing_inside_is_told(owned: Store) -> None:
    owned.client.set("text", "x")
    with open_fence(owned, KEYS, S, "me") as fence:
        fence.watch()
        with pytest.raises(PartlyExecuted) as told:
            fence.execute(("HSET", TARGET, "a", 1), ("HSET", "text", "a", 1))
    assert "WRONGTYPE" in str(told.value)


def test_connections_are_used_again_but_not_by_a_forked_child(owned: Store) -> None:
    def connection_id(fence: Fence) -> int:
        return int(fence.ask(("CLIENT", "ID"))[0])

    with open_fence(owned, KEYS, S, "me") as fence:
        first = connection_id(fence)
    with open_fence(owned, KEYS, S, "me") as fence:
        assert connection_id(fence) == first
    child = os.fork()
    if not child:
        with open_fence(owned, KEYS, S, "me") as fence:
            os._exit(0 if connection_id(fence) != first else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with open_fence(owned, KEYS, S, "me") as fence:
        assert connection_id(fence) == first


def test_a_full_store_is_told_and_writes_nothing(owned: Store) -> None:
    owned.client.config_set("maxmemory", "1")
    try:
        with open_fence(owned, KEYS, S, "me") as fence:
            fence.watch()
            with pytest.raises(StoreUnavailable, match="out of memory"):
                fence.execute(("HSET", TARGET, "a", 1))
    finally:
        owned.client.config_set("maxmemory", "0")
    assert not owned.client.exists(TARGET)
