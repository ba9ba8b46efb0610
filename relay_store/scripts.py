"""The Lua scripts of `lua/`, run by their digest. Each touches only keys it is given, all in one slot."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from relay_store.connection import Store


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the digest a server knows it by."""

    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script. `keys` is not empty; its first key decides the node."""

    keys: tuple[str, ...]
    arguments: tuple[Any, ...]


@functools.cache
def load_script(name: str) -> Script:
    """Return the script in `lua/<name>.lua`."""
    text = (resources.files("relay_store") / "lua" / f"{name}.lua").read_text()
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def run_script(store: Store, name: str, keys: Sequence[str], *arguments: Any) -> Any:
    """Run a script and return its reply. Raises `StoreUnavailable`, `StoreRefused`."""
    script, node = load_script(name), store.node(keys[0])
    with store.answers():
        try:
            return node.evalsha(script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return node.eval(script.text, len(keys), *keys, *arguments)


def run_scripts(store: Store, name: str, calls: Sequence[Call]) -> list[Any]:
    """Run a script many times, one pipeline for each node; return the replies in the order of `calls`.

    Raises `StoreUnavailable` or `StoreRefused` if any call fails; the others may have been carried out.
    """
    script = load_script(name)
    shares: dict[int, tuple[Any, list[int]]] = {}
    for position, call in enumerate(calls):
        node = store.node(call.keys[0])
        shares.setdefault(id(node), (node, []))[1].append(position)
    replies: list[Any] = [None] * len(calls)
    with store.answers():
        for node, positions in shares.values():
            share = [calls[position] for position in positions]
            for position, reply in zip(positions, _run_on(node, script, share), strict=True):
                replies[position] = reply
    return replies


def _run_on(node: Any, script: Script, calls: Sequence[Call]) -> list[Any]:
    def send() -> list[Any]:
        pipeline = node.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(script.digest, len(call.keys), *call.keys, *call.arguments)
        replies: list[Any] = pipeline.execute()
        return replies

    try:
        return send()
    except NoScriptError:
        node.script_load(script.text)
        return send()
