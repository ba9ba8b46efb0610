"""What a conformance check is: a function from one section of a vectors file to its cases.

A section is a top-level key of the file. Each check really computes through the public functions of
`pocket_protocol` and yields one `Case` per expectation, so that a file with one altered expectation
shows exactly that case as failed. A check must not stop at a failing case and must not raise for one:
an exception of `pocket_protocol` is that case's outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pocket_protocol.errors import PocketError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation: `name` says which (stable, unique within its section), the rest what came out."""

    name: str
    expected: object
    got: object

    @property
    def ok(self) -> bool:
        return self.expected == self.got


def attempt(compute: Callable[[], T]) -> T | str:
    """Return what `compute` returns, or the refusal it raises as text."""
    try:
        return compute()
    except PocketError as error:
        return f"error: {error}"


# (value of the section, whole file) -> cases
Check = Callable[[Any, Mapping[str, Any]], Iterator[Case]]


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A section that states how the reference works inside, which ours does not repeat; `why` is shown."""

    why: str


@dataclass(frozen=True, slots=True)
class Context:
    """A section that holds no expectation of its own: a description, or inputs that other sections use."""


@dataclass(frozen=True, slots=True)
class VectorFile:
    """The checks of one kind of vectors file, by section; a section that is not named here is unknown."""

    name: str  # file name without .json
    sections: Mapping[str, Check | NotApplicable | Context]
    # Fields and groups inside checked sections that the checks leave out, each with its reason.
    not_applicable: Mapping[str, str] = field(default_factory=dict)
