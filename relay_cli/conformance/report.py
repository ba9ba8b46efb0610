"""What came out of checking vectors files, and how it is written down (the JSON form is a contract)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_cli.conformance.check import Case, Check, Context, NotApplicable, VectorFile

MAX_VALUE_CHARACTERS = 400
_CONTEXT_CHARACTERS = 40

Progress = Callable[[str, int], None]  # section, cases checked in it so far


@dataclass(slots=True)
class SectionReport:
    """One checked section: the cases that failed, and how many were looked at."""

    section: str
    checked: int = 0
    failed: list[Case] = field(default_factory=list)

    def add(self, case: Case) -> None:
        self.checked += 1
        if not case.ok:
            self.failed.append(case)

    def to_json(self) -> dict[str, Any]:
        cases = [
            {"case": case.name, **dict(zip(("expected", "got"), shown(case), strict=True))}
            for case in self.failed
        ]
        return {"section": self.section, "checked": self.checked, "failed": len(self.failed), "cases": cases}


@dataclass(slots=True)
class FileReport:
    """One vectors file: its checked sections, those nobody knows, and those that do not apply here."""

    file: str
    sections: list[SectionReport] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    not_applicable: dict[str, str] = field(default_factory=dict)  # section or field -> why

    @property
    def checked(self) -> int:
        return sum(section.checked for section in self.sections)

    @property
    def failed(self) -> int:
        return sum(len(section.failed) for section in self.sections)

    @property
    def ok(self) -> bool:
        return not self.failed and not self.unknown

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "sections": [section.to_json() for section in self.sections],
            "checked": self.checked,
            "failed": self.failed,
            "unknown": self.unknown,
            "not_applicable": sorted(self.not_applicable),
        }


def to_json(reports: list[FileReport]) -> dict[str, Any]:
    """Return the whole result in the form `conformance --json` prints."""
    return {
        "files": [report.to_json() for report in reports],
        "checked": sum(report.checked for report in reports),
        "failed": sum(report.failed for report in reports),
    }


def check_document(
    file: str, document: Mapping[str, Any], kinds: list[VectorFile], progress: Progress
) -> FileReport:
    """Return the report of a decoded vectors file.

    `kinds` are the kinds of file it may be; of several the one it fits best is taken. No kind: all unknown.
    """
    if not kinds:
        return FileReport(file, unknown=list(document))
    reports = [_check_as(file, document, kind, progress) for kind in kinds]
    return min(reports, key=lambda report: (len(report.unknown), report.failed))


def _check_as(file: str, document: Mapping[str, Any], kind: VectorFile, progress: Progress) -> FileReport:
    report = FileReport(file, not_applicable=dict(kind.not_applicable))
    for name, value in document.items():
        match kind.sections.get(name):
            case None:
                report.unknown.append(name)
            case NotApplicable(why):
                report.not_applicable[name] = why
            case Context():
                pass
            case check:
                report.sections.append(_check_section(name, check, value, document, progress))
    return report


def _check_section(
    name: str, check: Check, value: Any, document: Mapping[str, Any], progress: Progress
) -> SectionReport:
    report = SectionReport(name)
    try:
        for case in _watched(check(value, document), name, progress):
            report.add(case)
    except (
        Exception
    ) as error:  # a file may be of any shape: what cannot be read is a failed case, not a crash
        where = f"after case {report.checked}"
        report.add(Case(where, "a readable case", f"{type(error).__name__}: {error}"))
    return report


def _watched(cases: Iterator[Case], section: str, progress: Progress) -> Iterator[Case]:
    for count, case in enumerate(cases):
        progress(section, count)
        yield case


def shown(case: Case) -> tuple[object, object]:
    """Return (expected, got) of a failed case as values JSON can hold, long ones cut around the difference."""
    expected, got = _plain(case.expected), _plain(case.got)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (expected, got)]
    equal = zip(*texts, strict=False)
    at = next((i for i, (a, b) in enumerate(equal) if a != b), min(map(len, texts)))
    return _cut(expected, texts[0], at), _cut(got, texts[1], at)


def _plain(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


def _cut(value: object, text: str, difference: int) -> object:
    if len(text) <= MAX_VALUE_CHARACTERS:
        return value
    start = max(0, difference - _CONTEXT_CHARACTERS)
    end = start + MAX_VALUE_CHARACTERS // 2
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    return f"{head}{text[start:end]}{tail} ({len(text)} characters, from {start})"
