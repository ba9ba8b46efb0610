"""Connections are bounded by the files the system allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from relayer_web import open_files
from relayer_web.open_files import (
    LEAST_CONNECTIONS,
    OTHER_FILES,
    allow_files,
    connections_allowed,
    files_for,
    log_too_few_files,
)
from tests.logs import captured


@pytest.fixture
def few_files() -> Iterator[int]:
    """A soft limit of 2,000 files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, before[1]))
    yield 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_connection_is_two_files(few_files: int) -> None:
    most = (few_files - OTHER_FILES) // 2
    assert files_for(most) <= few_files
    assert connections_allowed(most) == most
    assert connections_allowed(most + 1) == connections_allowed(10**6) == most


def test_the_limit_is_raised_as_far_as_the_system_lets(few_files: int) -> None:
    allow_files(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few_files
    allow_files(1000)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == files_for(1000)
    assert connections_allowed(1000) == 1000
    allow_files(10**9)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


def test_some_connections_are_always_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files.resource, "getrlimit", lambda which: (100, 100))
    assert connections_allowed(2000) == LEAST_CONNECTIONS


def test_too_few_files_are_said(few_files: int) -> None:
    with captured(open_files) as lines:
        log_too_few_files(100)
        assert lines == []
        log_too_few_files(5000)
    (line,) = lines
    assert (line["log_level"], line["open_files"], line["needed"]) == ("warning", few_files, files_for(5000))
