"""Nodes that share a machine share no directory of metric files: the second would empty the first's."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mining_tasks.config import MinerConfig
from operations.metrics_server import DIRECTORY_VARIABLE
from relay_cli.serve import miner
from relay_cli.serve.miner_processes import MinerNode
from relay_cli.supervisor.spec import ProcessSpec


class Supervisor:
    """Writes a metric file as a worker would, then runs another node, then looks at its own."""

    inner: ClassVar[Any] = None
    directories: ClassVar[list[Path]] = []
    survived: ClassVar[bool] = False

    def __init__(self, specs: Iterable[ProcessSpec], *_: Any) -> None:
        (worker,) = [spec for spec in specs if spec.name == "miner"]
        self.directory = Path(worker.environment[DIRECTORY_VARIABLE])

    def start(self, stop: threading.Event) -> None:
        Supervisor.directories.append(self.directory)
        (self.directory / "counter_1.db").touch()
        if Supervisor.inner is not None:
            inner, Supervisor.inner = Supervisor.inner, None
            miner.run_node(inner)
            Supervisor.survived = (self.directory / "counter_1.db").exists()
        stop.set()

    def stop(self) -> None: ...


def test_two_nodes_of_one_machine_keep_their_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miner, "Supervisor", Supervisor)
    monkeypatch.setattr(Supervisor, "directories", [])
    node = MinerNode("miner.yaml", MinerConfig())
    Supervisor.inner = node
    miner.run_node(node)
    assert Supervisor.survived
    assert len(set(Supervisor.directories)) == 2
    assert not any(directory.exists() for directory in Supervisor.directories)


def test_a_state_directory_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(miner, "Supervisor", Supervisor)
    monkeypatch.setattr(Supervisor, "directories", [])
    config = MinerConfig()
    config = replace(config, extensions=replace(config.extensions, state_dir=str(tmp_path)))
    miner.run_node(MinerNode("miner.yaml", config))
    assert Supervisor.directories == [tmp_path / "metrics-miner"]
