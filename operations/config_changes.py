"""What differs between two configurations of one kind, by dotted key. Values are not told: some are secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from operations.setting import rule_of


def config_changes(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield `key`, `key (added)` or `key (removed)` for each difference, in the order of the sections."""
    if old == new:
        return
    if dataclasses.is_dataclass(old) and type(old) is type(new):
        for field in dataclasses.fields(old):
            name = rule_of(field).key or field.name
            yield from config_changes(getattr(old, field.name), getattr(new, field.name), (*path, name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            here = (*path, str(name))
            if name not in new:
                yield f"{'.'.join(here)} (removed)"
            elif name not in old:
                yield f"{'.'.join(here)} (added)"
            else:
                yield from config_changes(old[name], new[name], here)
    else:
        yield ".".join(path)
