from __future__ import annotations

from collections.abc import Iterator

import pytest

from relay_store.connection import Store
from relay_store.dead import Requeued, bury, dead_letters, requeue
from relay_store.fence import Fence, open_fence
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.probe import probe
from relay_store.relay_stream import (
    ALONE_AFTER,
    CONSUMER,
    DEAD_AFTER,
    Entry,
    RelayStream,
    drained_up_to,
    stream_length,
    stream_lengths,
    stream_tail,
)

KEYS, S = Keys(), "pokt1s"
KEY, GROUP = KEYS.relay_stream(S), KEYS.consumer_group()


@pytest.fixture
def fence(store: Store) -> Iterator[Fence]:
    StoreLease(store).acquire(KEYS.supplier_lease(S), "me")
    with open_fence(store, KEYS, S, "me") as opened:
        yield opened


def _add(store: Store, *bodies: str) -> list[bytes]:
    return [store.client.xadd(KEY, {"data": body}) for body in bodies]


def _settle(fence: Fence, stream: RelayStream, entries: list[Entry]) -> None:
    fence.watch()
    assert fence.execute(*stream.acknowledge(entries)) is not None


def _drain(fence: Fence, stream: RelayStream, count: int = 2) -> list[bytes | None]:
    bodies = []
    while entries := stream.read(fence, count):
        bodies += [entry.body for entry in entries]
        _settle(fence, stream, entries)
    return bodies


def test_the_group_is_made_from_the_beginning(store: Store, fence: Fence) -> None:
    _add(store, "a", "b", "c")
    assert stream_lengths(store, KEYS, ["pokt1t", S]) == {"pokt1t": 0, S: 3}
    assert _drain(fence, RelayStream(KEYS, S)) == [b"a", b"b", b"c"]
    assert stream_length(store, KEYS, S) == 0


def test_an_absent_stream_is_empty(store: Store, fence: Fence) -> None:
    assert RelayStream(KEYS, S).read(fence, 10) == []
    assert stream_lengths(store, KEYS, [S, "pokt1t"]) == {S: 0, "pokt1t": 0}
    assert stream_tail(store, KEYS, S) is None and drained_up_to(store, KEYS, S, b"9-9")


def test_a_group_lost_on_the_way_is_made_again(store: Store, fence: Fence) -> None:
    stream = RelayStream(KEYS, S)
    _add(store, "a")
    stream.read(fence, 1)
    store.client.xgroup_destroy(KEY, GROUP)
    assert _drain(fence, stream) == [b"a"]


def test_what_was_read_and_not_settled_comes_first_and_counted(store: Store, fence: Fence) -> None:
    ids = _add(store, "a", "b", "c", "d")
    assert len(RelayStream(KEYS, S).read(fence, 3)) == 3
    stream = RelayStream(KEYS, S)
    assert stream.read(fence, 2) == [Entry(ids[0], b"a", 2), Entry(ids[1], b"b", 2)]
    stream.read_again()
    assert _drain(fence, stream) == [b"a", b"b", b"c", b"d"]


def test_after_a_forgotten_batch_it_comes_before_newer_entries(store: Store, fence: Fence) -> None:
    stream = RelayStream(KEYS, S)
    _add(store, "a", "b")
    assert len(stream.read(fence, 2)) == 2
    _add(store, "c")
    stream.read_again()
    assert [entry.body for entry in stream.read(fence, 2)] == [b"a", b"b"]


def test_all_pages_of_pending_entries_come_before_new_ones(store: Store, fence: Fence) -> None:
    _add(store, *"abcdefg")
    RelayStream(KEYS, S).read(fence, 7)
    _add(store, "h")
    assert _drain(fence, RelayStream(KEYS, S), 2) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"]


def test_entries_deleted_while_pending_are_acknowledged(store: Store, fence: Fence) -> None:
    ids = _add(store, "a", "b")
    RelayStream(KEYS, S).read(fence, 2)
    store.client.xdel(KEY, ids[0])
    assert _drain(fence, RelayStream(KEYS, S)) == [None, b"b"]
    assert store.client.xpending(KEY, GROUP)["pending"] == 0


def test_entries_of_a_dead_consumer_are_taken_over_all_of_them(store: Store, fence: Fence) -> None:
    bodies = [str(number) for number in range(1200)]
    store.client.xgroup_create(KEY, GROUP, "0", mkstream=True)
    _add(store, *bodies)
    store.client.xreadgroup(GROUP, "miner-host-1", {KEY: ">"}, count=1200)
    stream = RelayStream(KEYS, S)
    assert stream.reclaim(fence) == 1200
    assert _drain(fence, stream, 500) == [body.encode() for body in bodies]


def test_what_no_read_shows_is_found_without_being_told(store: Store, fence: Fence) -> None:
    ids = _add(store, *"abcd")
    store.client.xgroup_create(KEY, GROUP, "0")
    store.client.xreadgroup(GROUP, "elsewhere", {KEY: ">"}, count=3)
    store.client.xack(KEY, GROUP, ids[1])  # acknowledged, never deleted, never settled by us
    assert sorted(_drain(fence, RelayStream(KEYS, S))) == [b"a", b"b", b"c", b"d"]
    assert stream_length(store, KEYS, S) == 0


def test_in_a_mixed_fleet_live_consumers_keep_what_they_hold(store: Store, fence: Fence) -> None:
    store.client.xgroup_create(KEY, GROUP, "0", mkstream=True)
    _add(store, "a", "b")
    store.client.xreadgroup(GROUP, "miner-host-1", {KEY: ">"}, count=1)
    assert _drain(fence, RelayStream(KEYS, S, mixed_fleet=True)) == [b"b"]
    assert stream_length(store, KEYS, S) == 1
    assert _drain(fence, RelayStream(KEYS, S)) == [b"a"]


def test_entries_delivered_too_often_come_alone_then_dead(store: Store, fence: Fence) -> None:
    _add(store, *"abc")
    for delivery in range(1, ALONE_AFTER + 1):
        entries = RelayStream(KEYS, S).read(fence, 10)
        assert [entry.deliveries for entry in entries] == [delivery] * 3
    for delivery in range(ALONE_AFTER + 1, DEAD_AFTER + 2):
        (entry,) = RelayStream(KEYS, S).read(fence, 10)
        assert (entry.body, entry.deliveries) == (b"a", delivery)
    assert entry.kills_workers
    stream = RelayStream(KEYS, S)
    _settle(fence, stream, [entry])
    (entry,) = stream.read(fence, 10)
    assert (entry.body, entry.deliveries, entry.kills_workers) == (b"b", ALONE_AFTER + 1, False)


def test_a_delivery_that_was_not_the_entries_fault_is_not_counted(store: Store, fence: Fence) -> None:
    _add(store, "a", "b")
    for _ in range(3 * DEAD_AFTER):
        stream = RelayStream(KEYS, S)
        entries = stream.read(fence, 10)
        assert [entry.deliveries for entry in entries] == [1, 1]
        stream.uncount(fence, entries)


def test_a_ttl_set_by_a_foreign_relayer_is_taken_off(store: Store, fence: Fence) -> None:
    _add(store, "a")
    store.client.expire(KEY, 7200)
    _drain(fence, RelayStream(KEYS, S))
    assert store.client.ttl(KEY) == -1


@pytest.mark.parametrize("xackdel", [False, True])
def test_acknowledged_entries_are_pending_for_nobody_and_gone(
    store: Store, fence: Fence, xackdel: bool
) -> None:
    if xackdel and "XACKDEL" not in probe(store).commands:
        pytest.skip("XACKDEL came with Redis 8.2: name such a server in POCKET_STORE_SERVER")
    store.client.xgroup_create(KEY, "others", "0", mkstream=True)
    _add(store, "a", "b", "c")
    store.client.xreadgroup("others", "somebody", {KEY: ">"}, count=3)
    stream = RelayStream(KEYS, S, xackdel=xackdel)
    _settle(fence, stream, stream.read(fence, 2))
    assert store.client.xpending(KEY, GROUP)["pending"] == 0
    assert [fields[b"data"] for _, fields in store.client.xrange(KEY)] == [b"c"]
    assert _drain(fence, stream) == [b"c"]


def test_drained_up_to(store: Store, fence: Fence) -> None:
    _add(store, "a")
    tail = stream_tail(store, KEYS, S)
    assert tail is not None and not drained_up_to(store, KEYS, S, tail)
    stream = RelayStream(KEYS, S)
    entries = stream.read(fence, 10)
    assert not drained_up_to(store, KEYS, S, tail), "read is not settled"
    _add(store, "later")
    _settle(fence, stream, entries)
    assert drained_up_to(store, KEYS, S, tail)


def test_another_group_and_an_entry_without_data(store: Store, fence: Fence) -> None:
    store.client.xadd(KEY, {"other": "x"})
    (entry,) = RelayStream(KEYS, S, group="own-group").read(fence, 1)
    assert entry.body == b""
    assert [group["name"] for group in store.client.xinfo_groups(KEY)] == [b"own-group"]
    assert store.client.xinfo_consumers(KEY, "own-group")[0]["name"] == CONSUMER.encode()


def test_dead_letters_are_kept_with_their_reason_and_cut(store: Store, fence: Fence) -> None:
    fence.watch()
    large, huge = Entry(b"1-1", b"x" * 100_000), Entry(b"1-2", b"x" * 2_000_000)
    fence.execute(
        bury(KEYS, S, large, "undecodable", "no relay", letters=0),
        bury(KEYS, S, huge, "undecodable", letters=0),
        bury(KEYS, S, large, "undecodable", letters=256),  # there are many already
    )
    last, second, first = dead_letters(store, KEYS, S)
    assert (first.entry_id, first.reason, first.detail) == ("1-1", "undecodable", "no relay")
    assert (first.length, len(first.body), first.is_whole) == (100_000, 100_000, True)
    assert (second.length, len(second.body), second.is_whole) == (2_000_000, 65_536, False)
    assert (last.length, len(last.body)) == (100_000, 65_536)
    assert requeue(store, KEYS, S, last) is Requeued.CUT and stream_length(store, KEYS, S) == 0
    assert requeue(store, KEYS, S, first) is Requeued.DONE and stream_length(store, KEYS, S) == 1
    assert requeue(store, KEYS, S, first) is Requeued.GONE and stream_length(store, KEYS, S) == 1
