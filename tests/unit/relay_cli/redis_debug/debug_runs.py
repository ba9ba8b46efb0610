"""Calls `redis-debug` as an operator does, on the store of a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mining_tasks.accumulate import Accumulation, Limits, accumulate
from mining_tasks.seal import seal_session
from relay_cli.main import cli
from relay_store.connection import Store
from relay_store.lease import StoreLease
from tests.mined_relays import KEYS, SUPPLIER, KnownSessions, header_of, publish_relays

SID = header_of(1).session_id
SESSION_KEY = KEYS.session(SUPPLIER, SID)
TOKEN = "abcdef1234567890"
NODE = f"miner-host-7-{TOKEN[:8]}"


def url_of(store: Store) -> str:
    host, port = store.url.hosts[0]
    return f"redis-cluster://{host}:{port}" if store.is_cluster else f"redis://{host}:{port}/0"


def debug(store: Store, *arguments: object, answer: str | None = None) -> Result:
    """Run a subcommand; `answer` is what is typed. A traceback is a failure of the test."""
    words = ["redis-debug", "--redis", url_of(store), *map(str, arguments)]
    result = CliRunner().invoke(cli, words, input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def read(store: Store, *arguments: object) -> Any:
    """Run a subcommand with --json and return its document."""
    result = debug(store, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def mine(store: Store, lock_dir: Path, relays: int, *, sealed: bool = False) -> None:
    """Have a node accumulate relays of session 1, and seal it."""
    StoreLease(store).acquire(KEYS.supplier_lease(SUPPLIER), TOKEN)
    limits = Limits(batch_entries=50, first_read_entries=50, linger_s=0.0, slice_s=30.0)
    node = Accumulation(store, KEYS, TOKEN, KnownSessions.of(1), lock_dir, limits)
    publish_relays(store, 1, range(relays))
    accumulate(SUPPLIER, node)
    if sealed:
        seal_session(SUPPLIER, SID, node)
