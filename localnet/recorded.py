"""Values that hold from a height on: (effective height, value) pairs in ascending order, one per height."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")
Recorded = tuple[tuple[int, T], ...]


def value_at(recorded: Recorded[T], height: int) -> T | None:
    """Return the last value that is effective at `height`, None when there is none."""
    return next((value for start, value in reversed(recorded) if start <= height), None)


def with_value(recorded: Recorded[T], height: int, value: T) -> Recorded[T]:
    """Return the pairs with `value` effective from `height` on."""
    others = [pair for pair in recorded if pair[0] != height]
    return tuple(sorted([*others, (height, value)], key=lambda pair: pair[0]))
