"""The last block: it only rises, it survives lost messages, and its age is known."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store.block_feed import (
    BlockFeed,
    BlockPublisher,
    MalformedBlockEvent,
    decode_block_event,
    encode_block_event,
)
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.subscription import Subscription

KEYS = Keys()


def block(height: int, time_ns: int = 1_795_346_638_670_592_292) -> BlockPosition:
    return BlockPosition(Height(height), BlockHash(bytes([height % 256]) * 32), time_ns)


def publisher(store: Store, chain_id: str = "pocket") -> BlockPublisher:
    return BlockPublisher(
        store.client, height_key=KEYS.height(), channel=KEYS.blocks_channel(), chain_id=chain_id
    )


def feed(store: Store, clock=lambda: 100.0) -> BlockFeed:
    return BlockFeed(store.client, height_key=KEYS.height(), monotonic=clock)


def test_event_bytes_are_the_reference_s() -> None:
    recorded = (
        b'{"height":681,"hash":"oGYVE/fvkchasVWN6XUr6aS6M6+yaqMJ0SqbniqX1kU=",'
        b'"timestamp":"2026-11-22T11:23:58.670592292Z"}'
    )
    assert encode_block_event(decode_block_event(recorded)) == recorded


@given(
    height=st.integers(1, 2**63 - 1),
    block_hash=st.binary(max_size=32),
    time_ns=st.integers(-62_135_596_800 * 10**9, 250_000_000_000 * 10**9),
)
@example(1, b"", -62_135_596_800 * 10**9)  # Go's zero time, in the year 1
def test_events_round_trip(height: int, block_hash: bytes, time_ns: int) -> None:
    position = BlockPosition(Height(height), BlockHash(block_hash), time_ns)
    assert decode_block_event(encode_block_event(position)) == position


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"height":"5"}',
        b'{"height":0}',
        b'{"height":true}',
        b'{"height":-1}',
        b'{"height":5,"hash":"?"}',
        b'{"height":5,"timestamp":"yesterday"}',
        b'{"height":5,"timestamp":"0001-01-01T00:00:00+23:59"}',
        b'{"height":5,"timestamp":"9999-12-31T23:59:59-23:59"}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_other_messages_are_refused(payload: bytes) -> None:
    with pytest.raises(MalformedBlockEvent):
        decode_block_event(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_block_or_a_refusal(payload: bytes) -> None:
    try:
        decode_block_event(payload)
    except MalformedBlockEvent:
        pass


def test_the_height_only_rises(store: Store) -> None:
    """Reference: 206 then 150 went back to 150 (spec/relayer.md §5.4)."""
    assert publisher(store).publish(block(206))
    assert not publisher(store).publish(block(150))
    assert not publisher(store).publish(block(206))
    reader = feed(store)
    reader.read()
    assert reader.last().position == block(206)
    reader.hear(encode_block_event(block(150)))
    assert reader.last().position.height == 206


def test_another_chain_id_starts_over(store: Store) -> None:
    publisher(store).publish(block(206))
    reader = feed(store)
    reader.read()
    assert publisher(store, "pocket-other").publish(block(3))
    reader.hear(encode_block_event(block(3)))
    assert reader.last().position.height == 3


def test_writers_that_race_leave_the_highest(store: Store) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [publisher(store).publish(block(h)) for h in range(n, 200, 4)])
        for n in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.client.hget(KEYS.height(), "height") == b"199"


def test_age_counts_from_when_the_deployment_saw_the_block(store: Store) -> None:
    publisher(store).publish(block(7))
    seen_ms = int(float(store.client.hget(KEYS.height(), "seen_ms")))
    store.client.hset(KEYS.height(), "seen_ms", seen_ms - 42_000)
    now = 1000.0
    reader = feed(store, lambda: now)
    reader.read()
    assert 42.0 <= reader.last().age_s < 50.0
    now = 1010.0
    assert reader.last().age_s >= 52.0
    reader.hear(encode_block_event(block(8)))
    assert reader.last().age_s == 0.0


def test_a_reader_that_missed_messages_catches_up_when_it_is_back(store: Store) -> None:
    reader = feed(store)
    confirmed = threading.Semaphore(0)

    def caught_up() -> None:
        reader.read()
        confirmed.release()

    lost = threading.Event()
    subscription = Subscription(
        store.client, {KEYS.blocks_channel(): reader.hear}, on_confirmed=caught_up, on_lost=lost.set
    )
    assert subscription.start()
    assert confirmed.acquire(timeout=5)
    heard = threading.Event()
    publisher(store).publish(block(10))
    while reader.last() is None or reader.last().position.height != 10:
        assert not heard.wait(0.01)
    store.client.client_kill_filter(_type="pubsub")  # the connection breaks …
    assert lost.wait(5)
    publisher(store).publish(block(11))  # … and this message is lost
    assert confirmed.acquire(timeout=10)
    assert reader.last().position.height == 11
    subscription.stop()


def test_a_bad_message_does_not_end_the_reading(store: Store) -> None:
    reader = feed(store)
    errors: list[Exception] = []
    noticed = threading.Semaphore(0)

    def note(channel: str, error: Exception) -> None:
        errors.append(error)
        noticed.release()

    subscription = Subscription(store.client, {KEYS.blocks_channel(): reader.hear}, on_error=note)
    assert subscription.start()
    store.client.publish(KEYS.blocks_channel(), "rubbish")
    assert noticed.acquire(timeout=5)
    publisher(store).publish(block(12))
    heard = threading.Event()
    while reader.last() is None:
        assert not heard.wait(0.01)
    assert isinstance(errors[0], MalformedBlockEvent)
    assert reader.last().position.height == 12
    subscription.stop()


def test_height_document_fields(store: Store) -> None:
    publisher(store).publish(block(9))
    fields = store.client.hgetall(KEYS.height())
    assert {b"height", b"hash", b"time", b"chain_id", b"seen_ms"} == set(fields)
    assert json.loads(encode_block_event(block(9)))["height"] == int(fields[b"height"])


def test_offers_that_are_no_news_change_neither_height_nor_age(store: Store) -> None:
    """A block told again must not look younger: by its age the claim window's opening is judged."""
    now = 1000.0
    reader = feed(store, lambda: now)
    reader.offer(block(10))
    now = 1005.0
    reader.offer(block(9))
    reader.offer(block(10))
    assert reader.last().position == block(10)
    assert reader.last().age_s == 5.0
