"""Log lines: form, level, masking, sampling."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from operations.logs import Sampling, configure, mask_secrets
from operations.sections import LoggingSection


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(section: LoggingSection) -> tuple[io.StringIO, structlog.stdlib.BoundLogger]:
    stream = io.StringIO()
    configure(section, "miner", stream)
    return stream, structlog.get_logger("claims")


def test_a_json_line_has_its_fields() -> None:
    stream, log = lines(LoggingSection())
    log.info("claim sent", supplier="pokt1x", leaves=3)
    log.debug("not shown")
    (entry,) = map(json.loads, stream.getvalue().splitlines())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "claim sent", "level": "info", "logger": "claims", "component": "miner",
        "supplier": "pokt1x", "leaves": 3,
    }  # fmt: skip


def test_library_records_come_out_in_the_same_form() -> None:
    stream, _ = lines(LoggingSection())
    logging.getLogger("celery.worker").warning("connection to %s lost", "redis://:hush@h:1")
    logging.getLogger("celery.worker").info("fine")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["event"] == "connection to redis://***@h:1 lost"
    assert (first["logger"], first["level"], second["event"]) == ("celery.worker", "warning", "fine")


def test_exceptions_are_part_of_the_line() -> None:
    stream, log = lines(LoggingSection(level="error"))
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("failed")
    (entry,) = map(json.loads, stream.getvalue().splitlines())
    assert "ValueError: boom" in entry["exception"]


def test_text_lines_and_callers() -> None:
    stream, log = lines(LoggingSection(format="text", level="trace", enable_caller=True))
    log.debug("seen", height=5)
    text = stream.getvalue()
    assert "seen" in text and "height=5" in text and "test_logs.py" in text


def test_secrets_are_masked() -> None:
    masked = mask_secrets(
        None,
        "info",
        {
            "private_key": "ab", "redis_password": "x", "bearer_token": "t", "payload": b"relay",
            "url": "https://user:pw@h/p", "tokens": 5, "event": "to redis://:pw@h",
        },
    )  # fmt: skip
    assert masked == {
        "private_key": "***", "redis_password": "***", "bearer_token": "***", "payload": "<5 bytes>",
        "url": "https://***@h/p", "tokens": 5, "event": "to redis://***@h",
    }  # fmt: skip


def test_sampling_keeps_the_first_lines_of_each_second_and_all_warnings() -> None:
    now = [10.0]
    sampling = Sampling(2, 3, lambda: now[0])

    def kept(method: str, event: str) -> bool:
        try:
            sampling(None, method, {"event": event})
        except structlog.DropEvent:
            return False
        return True

    assert [kept("info", "a") for _ in range(8)] == [True, True, False, False, True, False, False, True]
    assert kept("debug", "b")
    assert all(kept("warning", "a") for _ in range(5))
    now[0] = 11.0
    assert kept("info", "a")
