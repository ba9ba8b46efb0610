"""Reads the stacks of `sampled_front_end` and says where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SHOWN = 60


def stacks(directory: Path) -> Iterator[tuple[list[str], int]]:
    for file in directory.glob("*.stacks"):
        for line in file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            yield stack.split(";"), int(count)


def report(directory: Path, front_us: float) -> str:
    """Two lists, each function's share in µs of a relay: with all it calls, and by itself."""
    inclusive: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total = 0
    for stack, count in stacks(directory):
        total += count
        own[stack[-1]] += count
        for function in set(stack):
            inclusive[function] += count
    if not total:
        return "no samples"
    unit_us = front_us / total
    lines = [f"{total} samples; {front_us:.0f} µs a relay in all", "", "with all it calls:"]
    lines += [f"  {count * unit_us:7.1f}  {name}" for name, count in inclusive.most_common(SHOWN)]
    lines += ["", "by itself:"]
    lines += [f"  {count * unit_us:7.1f}  {name}" for name, count in own.most_common(SHOWN)]
    return "\n".join(lines)
