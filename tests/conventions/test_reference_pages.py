"""The pages of docs/ that are written from the code say what the code says, and what they say is so."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from mining_tasks.config import MinerConfig
from mining_tasks.metrics import described as miner_metrics
from operations.config_file import describe
from operations.setting import rule_of
from relay_cli.main import COMMANDS
from relay_cli.pages.__main__ import PAGES, outdated
from relay_cli.pages.metrics import ABSENT
from relayer_web.config import RelayerConfig
from relayer_web.metrics import described as relayer_metrics

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("operations", "relay_store", "pocket_chain", "relayer_web", "mining_tasks", "relay_cli")
NO_EFFECT = "no effect yet"  # how the meaning of a setting ends that is read by nothing so far
REFUSED = "keys.keyring."


@cache
def program() -> list[ast.AST]:
    paths = [path for package in PROGRAM for path in (ROOT / package).rglob("*.py")]
    return [
        node for path in [*paths, ROOT / "beat_schedule.py"] for node in ast.walk(ast.parse(path.read_text()))
    ]


@cache
def names_read() -> frozenset[str]:
    """Every attribute that the program reads."""
    return frozenset(node.attr for node in program() if isinstance(node, ast.Attribute))


@cache
def texts() -> list[str]:
    """Every text of the program; `*` for what an f-string puts in."""
    found = []
    for node in program():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values]
            found.append("".join(parts))
    return [text for text in found if text.strip("*")]


def settings(schema: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (key, attribute, meaning) of every setting."""
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        kind, rule = hints[item.name], rule_of(item)
        key = prefix + (rule.key or item.name)
        inner = [part for part in (kind, *get_args(kind)) if dataclasses.is_dataclass(part)]
        if inner and rule.parse is None:
            yield from settings(inner[0], f"{key}.")
        else:
            yield key, item.name, rule.doc


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_current(name: str) -> None:
    assert name not in outdated(ROOT / "docs"), "run: python -m relay_cli.pages"


@pytest.mark.parametrize("schema", [RelayerConfig, MinerConfig])
def test_every_setting_has_a_meaning_and_is_read(schema: type) -> None:
    assert [key for key, _, _, meaning in describe(schema) if not meaning] == []
    for key, attribute, meaning in settings(schema):
        if not key.startswith(REFUSED):
            is_read = attribute in names_read()
            assert is_read != meaning.endswith(NO_EFFECT), (
                f"{key}: say in its meaning whether it has an effect"
            )


@pytest.mark.parametrize("described", [relayer_metrics, miner_metrics])
def test_every_metric_is_fed(described: Any) -> None:
    for name, _, _, _ in described():
        whole = name.removesuffix("_total")
        fed = [text for text in texts() if _names(text, whole) or text == whole.removeprefix("ha_relayer_")]
        assert len(fed) > 1, f"{name} is described and never fed"


@pytest.mark.parametrize("described", [relayer_metrics, miner_metrics])
def test_no_metric_grows_with_sessions_or_blocks(described: Any) -> None:
    """T28: labels are suppliers, verified applications, services, states and reasons; each has a bound."""
    labels = {label for _, _, of_metric, _ in described() for label in of_metric}
    unbounded = ("session", "height", "relay", "tx", "hash", "peer", "client", "id")
    assert [label for label in labels if label in unbounded or label.endswith(("_hash", "session_id"))] == []


def test_what_is_said_to_be_absent_is_absent_and_its_substitute_is_there() -> None:
    names = {name for described in (relayer_metrics, miner_metrics) for name, *_ in described()}
    assert names.isdisjoint(ABSENT)
    instead = {name for reason in ABSENT.values() for name in re.findall(r"`(ha_\w+)`", reason)}
    assert instead and instead - names == set()


def _names(text: str, metric: str) -> bool:
    return text == metric or (text.startswith("ha_miner_*") and fnmatchcase(metric, text))


def test_what_operations_names_exists() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    metrics = {name for described in (relayer_metrics, miner_metrics) for name, *_ in described()}
    assert set(re.findall(r"`(ha_\w+)`", text)) - metrics == set()
    assert set(re.findall(r"pocket-relay-miner ([a-z-]+)", text)) - set(COMMANDS) == set()
    keys = {key.partition("[]")[0] for schema in (RelayerConfig, MinerConfig) for key, *_ in describe(schema)}
    named = set(re.findall(r"`((?:extensions|health_check)\.\w+)(?:: \w+)?`", text))
    assert named and named - keys == set()
