"""`redis-debug keys`: the names of keys, and what there is of each kind."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from relay_cli.redis_debug.deployment import Deployment
from relay_cli.redis_debug.key_kinds import KeyKinds
from relay_cli.tables import json_option, printable, show


@click.command("keys")
@click.option("--pattern", "patterns", multiple=True, help="As of SCAN.  [default: ours and the reference's]")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Keys shown; 0: all.")
@click.option(
    "--stats", is_flag=True, help="Type, time to live and memory of each, and a count of each kind."
)
@json_option
@click.pass_obj
def keys(deployment: Deployment, patterns: tuple[str, ...], limit: int, stats: bool, as_json: bool) -> None:
    """Names of keys on every master, at most --limit of them.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml keys --pattern 'ha:cache:*' --stats
    """
    kinds = KeyKinds(deployment.keys)
    found = _scan(deployment, patterns or default_patterns(deployment))
    if not stats:
        names = list(itertools.islice(found, limit or None))
        rows = [{"number": number, "key": printable(name)} for number, name in enumerate(names, 1)]
        click.echo(json.dumps([row["key"] for row in rows])) if as_json else show(rows)
        return
    every = list(found)
    counts = Counter(kinds.of(name).kind for name in every)
    rows = [
        {"number": number, **_stats(deployment, kinds, name)}
        for number, name in enumerate(every[: limit or None], 1)
    ]
    totals = [{"kind": kind, "keys": count} for kind, count in sorted(counts.items())]
    if as_json:
        click.echo(json.dumps({"keys": rows, "kinds": totals}))
    else:
        show(rows)
        show(totals, title=f"\n{len(every)} keys match")


def default_patterns(deployment: Deployment) -> tuple[str, ...]:
    """Return the patterns of everything ours and the reference's."""
    return deployment.keys.own_pattern(), deployment.keys.shared_pattern()


def _scan(deployment: Deployment, patterns: tuple[str, ...]) -> Iterator[bytes]:
    seen: set[bytes] = set()
    for pattern in patterns:
        for name in deployment.scan(pattern):
            if name not in seen:
                seen.add(name)
                yield name


def _stats(deployment: Deployment, kinds: KeyKinds, name: bytes) -> dict[str, Any]:
    client = deployment.store.client
    return {
        "key": printable(name),
        "kind": kinds.of(name).kind,
        "type": client.type(name).decode(),
        "ttl_s": int(client.ttl(name)),
        "bytes": int(client.memory_usage(name) or 0),
    }
