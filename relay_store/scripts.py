"""The Lua scripts of `lua/`, run by their digest. Each touches only keys it is given."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib import resources
from typing import Any, Final

from redis.exceptions import NoScriptError

from relay_store.connection import Store

GROUPS_AT_ONCE: Final = 500  # about a millisecond of the store's time


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the digest a server knows it by."""

    text: str
    digest: str


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


def run_over(store: Store, name: str, groups: Sequence[Sequence[str]], *arguments: Any) -> list[Any]:
    """Run a script over many groups of keys, each in one slot, all of one length; return its reply to each, in order.

    The script gets the keys of some groups one after the other; ARGV is the length of a group, then `arguments`; it
    returns an array with a reply to each group. Hundreds of groups cost one call; on a Cluster, which takes no keys of
    several slots, those of one slot do, in one pipeline for each node. Raises `StoreUnavailable` or `StoreRefused`
    if any call fails; the others may have been carried out.
    """
    if not groups:
        return []
    script = load_script(name)
    replies: list[Any] = [None] * len(groups)
    with store.answers():
        for node, slots in _by_slot(store, [group[0] for group in groups]):
            calls = [
                positions[at : at + GROUPS_AT_ONCE]
                for positions in slots
                for at in range(0, len(positions), GROUPS_AT_ONCE)
            ]
            keys = [[key for position in call for key in groups[position]] for call in calls]
            answers = _run_on(node, script, keys, (len(groups[0]), *arguments))
            for call, answer in zip(calls, answers, strict=True):
                for position, reply in zip(call, answer, strict=True):
                    replies[position] = reply
    return replies


def _by_slot(store: Store, keys: Sequence[str]) -> Iterable[tuple[Any, Iterable[Sequence[int]]]]:
    """Return the nodes of `keys`, each with the positions of its keys, those of one slot together."""
    if not store.is_cluster:
        return [(store.client, [range(len(keys))])]
    shares: dict[int, tuple[Any, defaultdict[int, list[int]]]] = {}
    for position, key in enumerate(keys):
        node = store.node(key)
        slots = shares.setdefault(id(node), (node, defaultdict(list)))[1]
        slots[store.client.keyslot(key)].append(position)
    return [(node, slots.values()) for node, slots in shares.values()]


def ask_each(store: Store, command: str, keys: Sequence[str], *arguments: Any) -> list[Any]:
    """Ask one question of many keys: the replies to `command key arguments…`, in order. As `run_over`."""
    return run_over(store, "ask_each", [(key,) for key in keys], command, *arguments)


def _run_on(
    node: Any, script: Script, keys: Sequence[Sequence[str]], arguments: Sequence[Any]
) -> list[list[Any]]:
    def send() -> list[list[Any]]:
        pipeline = node.pipeline(transaction=False)
        for of_call in keys:
            pipeline.evalsha(script.digest, len(of_call), *of_call, *arguments)
        replies: list[list[Any]] = pipeline.execute()
        return replies

    try:
        return send()
    except NoScriptError:
        node.script_load(script.text)
        return send()
