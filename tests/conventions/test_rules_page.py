"""docs/relayer-rules.md and docs/miner-rules.md name a test for each rule; each of them is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(test_\w+)::(test_\w+)`")
PAGES = ("relayer-rules", "miner-rules")


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def rows(text: str) -> Iterator[str]:
    """Yield the rows of all tables, without their headings."""
    lines = text.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("| ") and not below.startswith("|--"):
            yield line


@pytest.mark.parametrize("name", PAGES)
def test_every_named_test_exists(name: str) -> None:
    named = set(NAMED.findall(page(name)))
    assert len(named) > 100
    missing = [
        f"{module}::{test}"
        for module, test in sorted(named)
        if not any(
            re.search(rf"^ *def {test}\(", path.read_text(), re.MULTILINE)
            for path in (ROOT / "tests").rglob(f"{module}.py")
        )
    ]
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_every_row_names_a_test(name: str) -> None:
    without = [row for row in rows(page(name)) if not NAMED.search(row)]
    assert without == []


def test_every_defect_of_the_reference_has_its_row() -> None:
    """spec/miner.md §11.1, and T30 of the decisions."""
    numbers = [int(number) for number in re.findall(r"^\| T(\d+):", page("miner-rules"), re.MULTILINE)]
    assert numbers == list(range(31))
