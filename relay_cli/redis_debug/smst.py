"""`redis-debug smst`: the tree of a session as it is stored, and whether it is sound (spec/smst.md §11, decisions.md C1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from mining_tasks.reference_sessions import ROOT_BYTES
from mining_tasks.seal import weighed
from pocket_protocol import smst as tree
from pocket_protocol.errors import PocketError
from pocket_protocol.types import ComputeUnits
from relay_cli.redis_debug.deployment import Deployment, supplier_option
from relay_cli.tables import json_option, printable, show, show_fields
from relay_store.leaves import Leaves, Seal
from relay_store.session_state import SessionRecord, read_record


@click.command("smst")
@supplier_option
@click.option("--session", required=True, help="The session id.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(0, 10_000), help="Leaves shown.")
@json_option
@click.pass_context
def smst(context: click.Context, supplier: str, session: str, limit: int, as_json: bool) -> None:
    """A session's tree: leaves, index, seal, root and weight, for each supplier that has it.

    Checked: the index is 72 bytes a leaf and holds each leaf once; a seal is not longer than it; the stored root is
    the one that these leaves give. Exit code 1 when something is not so. Trees of a reference miner are shown, not
    checked.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml smst --session 3f0c… --limit 3
    """
    deployment: Deployment = context.obj
    suppliers = [supplier] if supplier else deployment.suppliers()
    ours = [found for one in suppliers if (found := _tree(deployment, one, session, limit))]
    foreign = list(_reference_trees(deployment, supplier or "*", session, limit))
    if as_json:
        click.echo(json.dumps({"trees": ours, "reference": foreign}))
    else:
        _print(ours, foreign)
    context.exit(1 if any(one["problems"] for one in ours) else 0)


def _print(ours: list[dict[str, Any]], foreign: list[dict[str, Any]]) -> None:
    if not ours and not foreign:
        click.echo("nothing found")
    for one in (*ours, *foreign):
        show_fields({name: value for name, value in one.items() if name not in ("first", "problems")})
        if one["first"]:
            show(one["first"], title="First leaves" if one in ours else "Some nodes")
        for problem in one.get("problems", ()):
            click.echo(f"PROBLEM: {problem}")
        click.echo()


def _tree(deployment: Deployment, supplier: str, session: str, limit: int) -> dict[str, Any] | None:
    """Return what is stored of one supplier's tree and what is wrong with it; None where there is nothing."""
    leaves = Leaves(deployment.store, deployment.keys, supplier, session)
    pipeline = deployment.store.node(leaves.leaves_key).pipeline(transaction=True)  # all of one moment
    for ask, key in (
        (pipeline.hgetall, deployment.keys.session(supplier, session)),
        (pipeline.hlen, leaves.leaves_key),
        (pipeline.strlen, leaves.index_key),
        (pipeline.get, leaves.seal_key),
        (pipeline.get, leaves.root_key),
    ):
        ask(key)
    raw, count, length, raw_seal, raw_root = pipeline.execute()
    record = read_record(raw) if raw else None
    if record is None and not (count or length or raw_seal or raw_root):
        return None
    problems: list[str] = []
    seal = _read(Seal.from_bytes, raw_seal, problems)
    root = _read(tree.Root.from_bytes, raw_root, problems)
    freed = bool(record and record.state.is_terminal and not count and not length)
    records: list[bytes] = []
    if not freed:
        records = _records(leaves, count, length, problems)
        problems += _seal_problems(leaves, record, length, seal, root)
    first = _leaf_rows(deployment, leaves, records[:limit])
    problems += [f"leaf {row['path']} is missing" for row in first if not row["bytes"]]
    weight = record.snapshot.cupr if record else 0
    return {
        "supplier": supplier,
        "session": session,
        "state": record.state.value if record else "no record",
        "leaves": count,
        "index_bytes": length,
        "consistent": "leaves freed: the session is over" if freed else "no" if problems else "yes",
        "compute_units_per_relay": weight,
        "compute_units": sum(tree.record_weight(one) for one in records),
        "leaves_of_another_weight": len(tree.other_weight(records, ComputeUnits(weight))),
        "sealed_bytes": seal.length if seal else "not sealed",
        "sealed_leaves": seal.count if seal else "not sealed",
        "root": root.digest.hex() if root else "none",
        "root_compute_units": root.sum if root else "none",
        "root_leaves": root.count if root else "none",
        "ttl_s": int(deployment.store.client.ttl(leaves.leaves_key)),
        "first": first,
        "problems": problems,
    }


def _read(parse: Any, raw: bytes | None, problems: list[str]) -> Any:
    try:
        return None if raw is None else parse(raw)
    except PocketError as error:
        problems.append(str(error))
        return None


def _records(leaves: Leaves, count: int, length: int, problems: list[str]) -> list[bytes]:
    """Return the index's records by path, and say where they do not fit the leaves."""
    if length != tree.RECORD_SIZE * count:
        problems.append(f"{count} leaves need an index of {tree.RECORD_SIZE * count} bytes, it has {length}")
    try:
        records = tree.collapse(leaves.read_index(length - length % tree.RECORD_SIZE))
    except PocketError as error:
        problems.append(str(error))
        return []
    if len(records) != count:
        problems.append(f"{count} leaves, {len(records)} of them in the index")
    return records


def _seal_problems(
    leaves: Leaves, record: SessionRecord | None, length: int, seal: Seal | None, root: tree.Root | None
) -> Iterator[str]:
    if seal is None:
        if root is not None:
            yield "there is a root and no seal"
        return
    if seal.length > length:
        yield f"sealed over {seal.length} bytes of an index that has {length}"
    elif root is not None and record is not None:
        weight = ComputeUnits(record.snapshot.cupr)
        try:
            records = weighed(leaves, tree.collapse(leaves.read_index(seal.length)), weight)
        except PocketError as error:
            yield str(error)
            return
        computed = tree.Root.from_bytes(tree.bulk_root(records))
        if computed != root:
            yield f"the stored root is not that of the leaves: {computed.to_bytes().hex()}"


def _leaf_rows(deployment: Deployment, leaves: Leaves, records: list[bytes]) -> list[dict[str, Any]]:
    pipeline = deployment.store.node(leaves.leaves_key).pipeline(transaction=False)
    for record in records:
        pipeline.hstrlen(leaves.leaves_key, tree.record_path(record))
    sizes = pipeline.execute()
    return [
        {"path": tree.record_path(record).hex(), "compute_units": tree.record_weight(record), "bytes": size}
        for record, size in zip(records, sizes, strict=True)
    ]


def _reference_trees(
    deployment: Deployment, supplier: str, session: str, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield the trees a reference miner keeps of the session: node hashes (spec/smst.md §9)."""
    keys, client = deployment.keys, deployment.store.client
    pattern = keys.smst(supplier, session, "nodes")
    for name in deployment.names(pattern):
        before, _, after = keys.smst("*", session, "nodes").partition("*")
        of = name[len(before) :].removesuffix(after)
        count = client.hlen(name)
        if not count:
            continue
        _, page = client.hscan(name, count=max(limit, 1)) if limit else (0, {})
        yield {
            "supplier": of,
            "session": session,
            "key": name,
            "nodes": count,
            "root": _root_text(client.get(keys.smst(of, session, "root"))),
            "live_root": _root_text(client.get(keys.smst(of, session, "live_root"))),
            "ttl_s": int(client.ttl(name)),
            "first": [
                {"node": printable(node), "bytes": len(value)} for node, value in list(page.items())[:limit]
            ],
        }


def _root_text(raw: bytes | None) -> str:
    if raw is None:
        return "none"
    if len(raw) != ROOT_BYTES:
        return f"{len(raw)} bytes instead of {ROOT_BYTES}"
    root = tree.Root.from_bytes(raw)
    return f"{root.digest.hex()} ({root.count} leaves, {root.sum} compute units)"
