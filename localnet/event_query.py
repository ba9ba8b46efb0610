"""Queries over events, as subscriptions and transaction searches use them: `type.key='value' AND …`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pocket_protocol.errors import Malformed

_CONDITION = re.compile(r"\s*([\w.]+)\s*(=|>=|<=|>|<|CONTAINS|EXISTS)\s*(?:'([^']*)'|(\d+))?\s*", re.ASCII)


class BadQuery(Malformed):
    """A query that is not understood."""

    reason = "bad_query"
    summary = "failed to parse query"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison."""

    key: str
    operator: str
    value: str

    def holds(self, values: Collection[str]) -> bool:
        if self.operator == "EXISTS":
            return bool(values)
        if self.operator == "CONTAINS":
            return any(self.value in value for value in values)
        if self.operator == "=":
            return self.value in values
        numbers = [int(value) for value in values if value.isdigit()]
        wanted = int(self.value) if self.value.isdigit() else 0
        compare = {
            ">": lambda number: number > wanted,
            ">=": lambda number: number >= wanted,
            "<": lambda number: number < wanted,
            "<=": lambda number: number <= wanted,
        }[self.operator]
        return any(compare(number) for number in numbers)


def parse_query(text: str) -> tuple[Condition, ...]:
    """Return the conditions of a query, all of which must hold. Raises `BadQuery`."""
    conditions, position = [], 0
    while True:
        match = _CONDITION.match(text, position)
        if match is None or (match[2] != "EXISTS" and match[3] is None and match[4] is None):
            raise BadQuery(f"failed to parse query: offset {position}: a condition is wanted")
        conditions.append(Condition(match[1], match[2], match[3] if match[3] is not None else match[4] or ""))
        position = match.end()
        if position == len(text):
            return tuple(conditions)
        if text[position : position + 3] != "AND":
            raise BadQuery(f"failed to parse query: offset {position}: AND is wanted")
        position += 3


def matches(conditions: tuple[Condition, ...], values: Mapping[str, Collection[str]]) -> bool:
    """Return whether all conditions hold of `values` by composite key."""
    return all(condition.holds(values.get(condition.key, ())) for condition in conditions)
