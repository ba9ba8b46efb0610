"""Open relays of a bridge: in order, bounded, and none keeps a reservation it does not need."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relayer_web.websocket.turns import MAX_OPEN, MAX_OPEN_BYTES, Turn, Turns


class Sized:
    def __init__(self, size: int) -> None:
        self.size = size


def turn(name: str, given_back: list[str], size: int = 1) -> Turn:
    held = ExitStack()
    held.callback(given_back.append, name)
    relay: Any = Sized(size)
    return Turn(relay, None, None, held)


def test_answers_come_in_the_order_of_their_requests() -> None:
    turns, back = Turns(), []
    first, second = turn("a", back), turn("b", back)
    turns.add(first)
    turns.add(second)
    assert turns.take() is first
    assert turns.take() is second
    assert turns.take() is None
    assert back == []


def test_requests_that_are_never_answered_give_back_what_they_hold() -> None:
    turns, back = Turns(), list[str]()
    for number in range(MAX_OPEN + 3):
        turns.add(turn(str(number), back))
    assert back == ["0", "1", "2"]
    assert len(turns) == MAX_OPEN
    turns.give_up()
    assert len(back) == MAX_OPEN + 3
    assert len(turns) == 0


@given(st.lists(st.integers(1, 15 << 20), max_size=20))
@settings(max_examples=40)
def test_few_bytes_are_held_for_open_requests(sizes: list[int]) -> None:
    turns, back = Turns(), list[str]()
    for number, size in enumerate(sizes):
        turns.add(turn(str(number), back, size))
        kept = sizes[len(back) : number + 1]
        assert kept, "the newest is always waited for"
        assert len(kept) == 1 or sum(kept) <= MAX_OPEN_BYTES
    assert back == [str(number) for number in range(len(back))]
