"""docs/configuration.md: every key of relayer.yaml and miner.yaml, from the types that read them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from mining_tasks.config import MinerConfig
from operations.config_file import describe
from operations.setting import rule_of
from pocket_protocol.gas import GasPrice
from relay_cli.pages.markdown import code, table
from relayer_web.config import RelayerConfig

TEXT = """# Configuration

Written from the code by `python -m relay_cli.pages`.

The relayer and the miner read one YAML file each: `--config FILE`, else the one that `POCKET_RELAYER_CONFIG` or
`POCKET_MINER_CONFIG` names. `pocket-relay-miner validate relayer|miner FILE` lists everything that is wrong with a
file at once, with line numbers; a wrong type or value is an error, an unknown or superseded key a warning (an error
with `--strict`). A key left out, or written as `null`, has its default. `<name>` stands for a name of your own, `[]`
for an entry of a list. Nothing in a file is expanded from the environment; these variables lay a value over it:
`POCKET_REDIS_URL`, `POCKET_CONSUMER_GROUP`, `POCKET_CONSUMER_NAME`, `POCKET_KEYS_FILE`, `POCKET_KEYS_DIR`.

Keys under `extensions` are our own; all others are those of the reference implementation. Durations are written `2h`,
`90s` or `300ms`. Relayer and miner must agree on `redis.url`, `redis.namespace`, `extensions.namespace`,
`extensions.broker_url` and `extensions.broker_prefix`.

Profiles that exist without being written: `timeout_profiles` `fast` (request 30 s, head 30 s, dial 5 s, TLS 10 s) and
`streaming` (600 s, none, 10 s, 15 s); `pool_profiles` `low`, `medium` and `high` (10, 100, 250 connections).
"""

SUPERSEDED_TEXT = """Accepted, so that a file of the reference loads, reported with a warning, and not used:
"""


def page() -> str:
    """The whole page."""
    parts = [TEXT]
    for name, schema in (("relayer.yaml", RelayerConfig), ("miner.yaml", MinerConfig)):
        parts.append(f"## {name}\n\n{_settings(schema)}")
        parts.append(f"### Superseded in {name}\n\n{SUPERSEDED_TEXT}\n{_superseded(schema)}")
    return "\n".join(parts)


def _settings(schema: type) -> str:
    rows = [
        (code(key), *_kind_and_default(key, kind, default), meaning)
        for key, kind, default, meaning in describe(schema)
    ]
    return table(("key", "type", "default", "meaning"), rows)


def _kind_and_default(key: str, kind: str, default: str) -> tuple[str, str]:
    if key.rpartition(".")[2] in _DURATIONS:
        return "duration", code(f"{float(default):.0f}s")
    return _kind_name(kind), code(_default(default))


def _superseded(schema: type) -> str:
    rows = [(code(key), instead) for key, instead in superseded(schema)]
    return table(("key", "what holds instead"), rows)


def superseded(schema: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, what replaces it) of every retired key of a section and those below it."""
    for key, instead in getattr(schema, "SUPERSEDED", {}).items():
        yield prefix + key, instead
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        kind, key = hints[item.name], prefix + (rule_of(item).key or item.name)
        if dataclasses.is_dataclass(kind) and kind is not GasPrice:
            yield from superseded(kind, f"{key}.")
        for inner in get_args(kind):
            if dataclasses.is_dataclass(inner):
                yield from superseded(inner, f"{key}.<name>." if get_origin(kind) is Mapping else f"{key}[].")


_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "GasPrice": "gas price",
    "tuple[str, ...]": "list of texts",
    "tuple[int, ...]": "list of numbers",
    "collections.abc.Mapping[str, str]": "map of texts",
    "collections.abc.Mapping[str, float]": "map of numbers",
}
_DURATIONS = {"cache_ttl"}  # seconds in Python, a duration in the file


def _kind_name(kind: str) -> str:
    """What a reader of YAML calls a type."""
    choices = re.search(r"Literal\[(.*?)\]", kind)
    if choices:
        return " or ".join(code(word) for word in re.findall(r"'(\w+)'", choices[1]))
    return _NAMES[kind]


def _default(shown: str) -> str:
    """A default as it is written in YAML."""
    if shown.startswith("GasPrice"):
        return "0.000001upokt"
    known = {"None": "", "True": "true", "False": "false", "()": "[]", "''": '""'}
    if shown in known:
        return known[shown]
    return json.dumps(shown[1:-1]) if shown.startswith("'") else shown
