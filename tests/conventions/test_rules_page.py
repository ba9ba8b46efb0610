"""docs/relayer-rules.md names a test for each rule; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "relayer-rules.md"
NAMED = re.compile(r"`(test_\w+)::(test_\w+)`")


def test_every_named_test_exists() -> None:
    named = set(NAMED.findall(PAGE.read_text()))
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


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    headings = ("| Trap of the reference ", "| Rule ")
    without = [row for row in rows if not row.startswith(headings) and not NAMED.search(row)]
    assert without == []
