"""The directory of a run: one holder at a time, and where everything listens."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mining_tasks.config import load_miner_config
from operations.config_file import load
from pocket_protocol.curve import load_curve
from relay_cli.run_directory import AlreadyRunning, NotRunning, owned, read_run, write_run
from relay_cli.up.files import write_files
from relay_cli.up.layout import Layout
from relay_cli.up.ports import ROLES, choose_ports
from relayer_web.config import RelayerConfig


def layout(directory: Path) -> Layout:
    return Layout(directory, choose_ports({}, anywhere=False))


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        owned(tmp_path / "run"),
        pytest.raises(
            AlreadyRunning, match=f"in use by process {os.getpid()}: stop it, or choose another --dir"
        ),
        owned(tmp_path / "run"),
    ):
        pass
    with owned(tmp_path / "run"):
        pass


def test_a_stale_address_file_is_not_believed(tmp_path: Path) -> None:
    write_run(tmp_path, layout(tmp_path).run())
    assert read_run(tmp_path) == layout(tmp_path).run()
    with owned(tmp_path), pytest.raises(NotRunning, match="start `pocket-relay-miner up` first"):
        read_run(tmp_path)


def test_ports_are_defaults_unless_given_and_move_only_when_allowed() -> None:
    defaults = {role: default for role, (default, _) in ROLES.items()}
    assert choose_ports({}, anywhere=False).numbers == defaults
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = int(listener.getsockname()[1])
        assert choose_ports({"store": taken}, anywhere=True).numbers["store"] == taken, "what was said stays"
    moved = choose_ports({}, anywhere=True)
    assert len(set(moved.numbers.values())) == len(ROLES)
    assert moved.needed("store")[0].setting == "--store-port"


def test_the_files_of_a_run_are_valid_and_keys_are_private(tmp_path: Path) -> None:
    run = layout(tmp_path / "run")
    write_files(run, load_curve())
    assert load(run.relayer_config, RelayerConfig, strict=True).warnings == ()
    config = load_miner_config(run.miner_config, strict=True).config
    assert config.redis.url.endswith("/0") and config.extensions.broker_url.endswith("/1")
    for keys in (run.supplier_keys, run.client_keys):
        assert keys.stat().st_mode & 0o777 == 0o600
    assert run.directory.stat().st_mode & 0o777 == 0o700
    (run.store_directory / "appendonly.aof").write_text("of a chain that is gone")
    write_files(run, load_curve())
    assert [path.name for path in run.store_directory.iterdir()] == ["valkey.conf"]
    settings = (run.store_directory / "valkey.conf").read_text()
    for line in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "bind 127.0.0.1"):
        assert line in settings
