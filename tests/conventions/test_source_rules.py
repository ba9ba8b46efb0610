"""What a script can check of the rules in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.packages import PACKAGES, ROOT

SOURCES = [
    *sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "/pb/" not in path.as_posix()
    ),
    ROOT / "beat_schedule.py",
]
KEYS_MODULE = ROOT / "relay_store" / "keys.py"


def _string_constants(path: Path) -> list[tuple[int, str]]:
    """Return (line, text) of each string in the code, docstrings excepted."""
    tree = ast.parse(path.read_text())
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docstrings.add(id(first.value))
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_redis_keys_are_spelled_in_one_module_only(path: Path) -> None:
    if path == KEYS_MODULE:
        return
    strays = [(line, text) for line, text in _string_constants(path) if re.match(r"(ha|pm):[a-z{]", text)]
    assert strays == [], f"{path.relative_to(ROOT)} spells keys itself"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_named_by_what_they_are(path: Path) -> None:
    assert not re.search(r"(^|_)(utils?|helpers?|common|misc|manager)($|_)", path.stem)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_unfinished_or_slept_through(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    assert "NotImplementedError" not in text


def test_the_core_imports_nothing_that_reads_the_world() -> None:
    allowed = {
        "abc", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses", "decimal", "ecdsa",
        "enum", "fractions", "functools", "google", "hashlib", "hmac", "importlib", "itertools", "math",
        "operator", "pocket_protocol", "re", "string", "struct", "threading", "types", "typing", "unicodedata",
        "__future__", "base64", "json", "cffi", "coincurve", "_btclib_libsecp256k1", "urllib", "weakref",
        "btclib_libsecp256k1", "array", "sys", "heapq", "zlib",
    }  # fmt: skip
    found = set()
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] != "pocket_protocol":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    assert found <= allowed


def test_committed_text_names_no_machine_path() -> None:
    pattern = re.compile(r"(^|[\s\"'`=(])/(work|root|farm|home/[a-z]+|tmp/[a-z]+)/[a-z]")
    strays = []
    for pattern_glob in ("*.md", "docs/**/*.md", "**/*.yaml", "Makefile", "setup.cfg", "pyproject.toml"):
        for path in ROOT.glob(pattern_glob):
            if any(part.startswith(".") and part != ".ci" for part in path.relative_to(ROOT).parts):
                continue
            strays += [
                f"{path.name}:{number}"
                for number, line in enumerate(path.read_text().splitlines(), 1)
                if pattern.search(line)
            ]
    assert strays == []
