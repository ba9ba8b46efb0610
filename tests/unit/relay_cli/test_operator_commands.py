"""validate, keys, doctor and redis-debug as an operator calls them, against a real chain and a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from localnet.chain import LocalChain
from localnet.default_genesis import default_chain, write_default_chain
from localnet.genesis import read_genesis
from localnet.node import LocalNode
from mining_tasks.foreign_miners import ForeignMiners
from pocket_protocol.curve import load_curve
from relay_cli.main import COMMANDS, cli
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.session_state import SessionSnapshot
from relay_store.version import DATA_VERSION
from tests.recorded import needs_recordings
from tests.reference_dumps import load_dump, recorded_claims
from tests.stores import private_server


@dataclass
class Place:
    """A directory with keys and both configuration files, and the chain they name."""

    directory: Path
    node: LocalNode
    suppliers: list[str]

    def write(self, name: str, **changes: Any) -> Path:
        path = self.directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
        return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    curve = load_curve()
    chain = LocalChain(read_genesis(default_chain(curve).document, curve), curve)
    chain.step(2)
    with LocalNode(chain) as running:
        yield running


@pytest.fixture
def place(node: LocalNode, store: Store, tmp_path: Path) -> Place:
    chain = default_chain(load_curve())
    write_default_chain(tmp_path, chain)
    host, port = store.url.hosts[0]
    shared = {
        "redis": {"url": f"redis://{host}:{port}/0"},
        "pocket_node": {
            "query_node_rpc_url": node.rpc_url,
            "query_node_grpc_url": node.grpc.address,
            "grpc_insecure": True,
        },
        "keys": {"keys_file": str(tmp_path / "supplier-keys.yaml")},
    }
    backend = {"url": "http://127.0.0.1:1"}
    backends = {
        "jsonrpc": backend,
        "rest": backend,
        "grpc": {"url": "127.0.0.1:1"},
        "websocket": {"url": "ws://h:1"},
    }
    services = {name: {"backends": dict(backends)} for name in ("develop-http", "develop-rest")}
    (tmp_path / "relayer.yaml").write_text(
        yaml.safe_dump({**shared, "services": services, "listen_addr": "127.0.0.1:1"})
    )
    (tmp_path / "miner.yaml").write_text(yaml.safe_dump(shared))
    return Place(tmp_path, node, [chain.addresses[name] for name in chain.supplier_names])


def test_every_command_loads_and_has_an_example() -> None:
    for name, command in COMMANDS.items():
        help_text = command.load().help or ""
        assert "Example:" in help_text or "A first try:" in help_text, name
    assert run("no-such-command").exit_code == 2


def test_a_sound_file_would_start(place: Place) -> None:
    for kind in ("relayer", "miner"):
        file = place.directory / f"{kind}.yaml"
        for arguments in (("validate", kind, file), (kind, "validate", "--config", file)):
            result = run(*arguments)
            assert (result.exit_code, result.stdout) == (0, f"config OK: {file} would start\n")


def test_every_problem_is_shown_with_its_line_and_strict_counts_warnings(place: Place) -> None:
    file = place.write("miner", batch_size="many", worker_pools={}, unheard_of=1, block_time_seconds=0)
    result = run("validate", "miner", file)
    assert result.exit_code == 1
    assert "config is INVALID: 2 problem(s)" in result.stderr
    for text in ("error: ", "batch_size", "block_time_seconds", "warning: ", "unheard_of: unknown key"):
        assert text in result.stdout
    file = place.write("miner", batch_size=1, block_time_seconds=1)
    assert run("validate", "miner", file).exit_code == 0
    assert run("validate", "miner", file, "--strict").exit_code == 1


def test_check_stake_compares_backends_with_the_chain(place: Place) -> None:
    file = place.directory / "relayer.yaml"
    result = run("validate", "relayer", file, "--check-stake")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("stake check OK")
    services = yaml.safe_load(file.read_text())["services"]
    del services["develop-rest"]["backends"]["rest"]
    services["surplus"] = {"backends": {"jsonrpc": {"url": "http://h:1"}}}
    place.write("relayer", services=services)
    result = run("relayer", "validate", "--config", file, "--check-stake")
    assert result.exit_code == 1
    for supplier in place.suppliers:
        text = f"ERROR  staked but no backend: supplier={supplier} service=develop-rest transport=rest"
        assert text in result.stdout
    assert (
        "info   backend configured, not staked (surplus): service=surplus transport=jsonrpc" in result.stdout
    )
    assert "stake check FAILED: 2 unserved staked pair(s)" in result.stdout


def test_check_stake_knows_suppliers_that_are_not_staked_and_nodes_that_are_away(place: Place) -> None:
    (place.directory / "supplier-keys.yaml").write_text(f"keys: ['{'11' * 32}']")
    file = place.directory / "relayer.yaml"
    result = run("validate", "relayer", file, "--check-stake")
    assert result.exit_code == 0 and "info   supplier not staked on-chain" in result.stdout
    result = run("validate", "relayer", file, "--check-stake", "--node", "127.0.0.1:1")
    assert result.exit_code == 1 and "the chain cannot be asked" in result.stderr


def test_keys_are_listed_by_address_and_never_shown(place: Place) -> None:
    keys_file = place.directory / "supplier-keys.yaml"
    secrets = yaml.safe_load(keys_file.read_text())["keys"]
    for arguments in (("--keys-file", keys_file), ("--config", place.directory / "miner.yaml")):
        result = run("keys", *arguments, "--json")
        assert json.loads(result.stdout) == sorted(place.suppliers)
        assert not any(secret in result.output for secret in secrets)
    keys_file.write_text(f"keys: ['{secrets[0][:-2]}']")
    result = run("keys", "--keys-file", keys_file)
    assert result.exit_code == 1 and secrets[0][:-2] not in result.output


def test_the_doctor_finds_nothing_wrong_where_nothing_is(place: Place) -> None:
    place.write("miner", block_time_seconds=30)
    result = run("doctor", "--config", place.directory / "miner.yaml")
    assert result.exit_code == 0, result.output
    for text in (
        "open files",
        "store: valkey",
        "node: pocket at height",
        "2 supplier key(s)",
        "is staked for develop-http",
    ):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("section", "values", "text"),
    [
        ("redis", {"url": "redis://127.0.0.1:1/0"}, "error    store:"),
        ("pocket_node", {"query_node_rpc_url": "http://127.0.0.1:1"}, "error    node:"),
        ("pocket_node", {"query_node_grpc_url": "127.0.0.1:1"}, "error    keys:"),
        (
            "pocket_node",
            {"chain_id": "elsewhere"},
            "error    node: the node is on another network",
        ),
        ("keys", {"keys_file": "/nowhere"}, "error    keys: /nowhere"),
    ],
)
def test_the_doctor_goes_on_after_each_error(
    place: Place, section: str, values: dict[str, str], text: str
) -> None:
    settings = yaml.safe_load((place.directory / "miner.yaml").read_text())
    file = place.write("miner", **{section: {**settings[section], **values}})
    result = run("doctor", "--config", file)
    assert result.exit_code == 1
    assert text in result.stdout and result.stdout.splitlines()[0].startswith("ok       system")


def test_the_doctor_warns_of_a_store_that_may_lose_relays(place: Place, tmp_path: Path) -> None:
    with private_server(tmp_path / "store", appendonly="no", maxmemory="64mb") as server:
        with connect(server.connection_url).client as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        result = run("doctor", "--config", place.write("miner", redis={"url": server.connection_url}))
    assert result.exit_code == 0, result.output
    warnings = [line for line in result.stdout.splitlines() if line.startswith("warning  store:")]
    assert len(warnings) == 2
    assert "set noeviction" in warnings[0] and "appendonly is off" in warnings[1]


def test_redis_debug_shows_sessions_streams_and_dead_letters(place: Place, store: Store) -> None:
    keys, (first, second) = Keys(), place.suppliers
    snapshot = SessionSnapshot("a" * 64, first, "app", "develop-http", 1, 10)
    store.client.hset(keys.session(first, snapshot.session_id), mapping={**snapshot.to_fields(), "leaves": 7})
    store.client.zadd(keys.sessions(first), {snapshot.session_id: 10})
    store.client.xadd(keys.relay_stream(second), {"data": b"x"})
    store.client.xgroup_create(keys.relay_stream(second), keys.consumer_group(), id="0")
    store.client.xadd(
        keys.dead(second), {"id": "1-1", "reason": "poison", "detail": "d", "length": 1, "body": b"x"}
    )
    config = ("redis-debug", "--config", place.directory / "relayer.yaml")
    rows = json.loads(run(*config, "sessions", "--json").stdout)
    assert [(row["supplier"], row["leaves"], row["state"], row["heights"]) for row in rows] == [
        (first, 7, "active", "1-10")
    ]
    assert json.loads(run(*config, "sessions", "--json", "--state", "proved").stdout) == []
    rows = {row["supplier"]: row for row in json.loads(run(*config, "streams", "--json").stdout)}
    assert (rows[first]["entries"], rows[second]["entries"]) == (0, 1)
    assert rows[second]["groups"] == "ha-miners (0 consumers)"
    text = run(*config, "dead", "--supplier", second).stdout
    assert second in text and "poison" in text and "1 row(s)" in text


def test_redis_debug_puts_dead_letters_back(place: Place, store: Store) -> None:
    keys, (first, second) = Keys(), place.suppliers
    for supplier, reason, length in (
        *((first, "kills worker", 1) for _ in range(150)),
        (first, "poison", 1),
        (first, "poison", 9),
        (second, "poison", 1),
    ):
        letter = {"id": "1-1", "reason": reason, "detail": "", "length": length, "body": b"x", "session": ""}
        store.client.xadd(keys.dead(supplier), letter)
        store.client.hincrby(keys.totals(supplier), "dead", 1)
    for supplier in place.suppliers:
        store.client.xgroup_create(keys.relay_stream(supplier), "ha-miners", id="0", mkstream=True)
    requeue = ("redis-debug", "--config", place.directory / "miner.yaml", "requeue", "--json")

    def left() -> list[int]:
        streams = (keys.relay_stream(first), keys.relay_stream(second), keys.dead(first), keys.dead(second))
        return [store.client.xlen(stream) for stream in streams]

    tried = run(*requeue, "--reason", "kills worker", "--dry-run")
    assert (tried.exit_code, len(json.loads(tried.stdout)), left()) == (0, 150, [0, 0, 152, 1])
    done = run(*requeue, "--reason", "kills worker")
    assert (done.exit_code, left()) == (0, [150, 0, 2, 1])
    of_second = (*requeue, "--supplier", second)
    (one,) = json.loads(run(*of_second, "--dry-run").stdout)
    assert run(*of_second, "--letter", one["letter"]).exit_code == 0 and left() == [150, 1, 2, 0]
    rest = run(*requeue)
    assert (rest.exit_code, left()) == (1, [151, 1, 1, 0])
    assert [row["result"] for row in json.loads(rest.stdout)] == [
        "requeued",
        "its body was too long to be kept",
    ]
    assert store.client.hget(keys.totals(first), "dead") == b"1"


def test_redis_debug_ledger_adds_up_or_says_where_it_does_not(place: Place, store: Store) -> None:
    keys, supplier = Keys(), place.suppliers[0]
    snapshot = SessionSnapshot("a" * 64, supplier, "app", "develop-http", 1, 10, cupr=10)
    books = {
        "state": "proved",
        "leaves": 7,
        "claim_relays": 7,
        "claim_compute_units": 70,
        "claimed_upokt": 700,
    }
    settled = {"settlement_outcome": "settled_proven", "settled_upokt": 700}
    session = keys.session(supplier, snapshot.session_id)
    store.client.hset(session, mapping={**snapshot.to_fields(), **books, **settled})
    store.client.zadd(keys.sessions(supplier), {snapshot.session_id: 10})
    store.client.hset(keys.totals(supplier), mapping={"leaves": 7})
    store.client.xadd(keys.relay_stream(supplier), {"data": b"x"})
    command = ("redis-debug", "--config", place.directory / "miner.yaml", "ledger")
    result = run(*command, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0 and document["problems"] == []
    totals = document["totals"]
    assert (totals["wal"], totals["pending"], totals["leaves"], totals["settled_upokt"]) == (8, 1, 7, 700)
    store.client.hset(session, "leaves", 8)
    result = run(*command)
    assert result.exit_code == 1 and "8 leaves, 7 relays claimed" in result.stdout


@needs_recordings
def test_redis_debug_takes_over_what_a_reference_miner_left(place: Place, store: Store) -> None:
    load_dump(store, "2x-height-704")
    command = ("redis-debug", "--config", place.directory / "miner.yaml", "import-sessions")
    refused = run(*command)
    assert refused.exit_code == 1 and "a reference miner that lives holds the supplier" in refused.stderr
    for key in store.client.scan_iter("ha:miner:instance:*"):
        store.client.delete(key)
    tried = run(*command, "--dry-run", "--json")
    assert tried.exit_code == 0 and not list(store.client.scan_iter("pm:*"))
    store.client.set(Keys().version(), DATA_VERSION + 1)
    assert "data format is not known" in run(*command).stderr
    store.client.delete(Keys().version())
    assert run(*command, "--json").stdout == tried.stdout
    rows = [row for row in json.loads(tried.stdout) if row["result"] == "imported"]
    roots = {(row["supplier"], row["session"]): bytes.fromhex(row["root"]) for row in rows}
    assert roots == recorded_claims(703) and len(roots) == 7
    one = rows[0]["supplier"]
    ForeignMiners(store, Keys(), "miner-alive").show()
    store.client.set(Keys().miner_claim(one), "miner-alive")
    beside = run(*command, "--json")
    assert beside.exit_code == 1 and one in beside.stderr and "miner-alive" in beside.stderr
    taken = {row["supplier"] for row in json.loads(beside.stdout)}
    assert taken == {row["supplier"] for row in json.loads(tried.stdout)} - {one}
    store.client.delete(Keys().miner_claim(one))
    again = run(*command, "--supplier", one).stdout
    assert again.count("already ours") == sum(row["supplier"] == one for row in rows)
    nodes = Keys().smst(rows[0]["supplier"], rows[0]["session"], "nodes")
    store.client.delete(nodes)
    for key in store.client.scan_iter("pm:*"):
        store.client.delete(key)
    damaged = run(*command)
    assert damaged.exit_code == 1 and "a node of the tree is missing" in damaged.stdout


def test_redis_debug_says_what_it_cannot_reach(tmp_path: Path) -> None:
    assert "unknown scheme" in run("redis-debug", "--redis", "ftp://x", "sessions").stderr
    result = run("redis-debug", "--redis", "redis://127.0.0.1:1/0", "sessions")
    assert result.exit_code == 1 and "Error:" in result.stderr


def test_relayer_and_miner_refuse_to_start_from_a_bad_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, variable in (("relayer", "POCKET_RELAYER_CONFIG"), ("miner", "POCKET_MINER_CONFIG")):
        monkeypatch.delenv(variable, raising=False)
        assert "--config is required" in run(kind).stderr
        file = place.write(kind, redis={"url": "ftp://user:hush@h"})
        result = run(kind, "--config", file)
        assert result.exit_code == 1
        assert "redis.url: unknown scheme 'ftp'" in result.stderr and "hush" not in result.output
