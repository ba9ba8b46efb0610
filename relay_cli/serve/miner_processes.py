"""The processes of one miner node: Celery worker, beat, metrics, and Flower where it is wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mining_tasks.config import CONFIG_VARIABLE, MinerConfig
from mining_tasks.wiring import keys_of, open_store, state_directory
from operations.metrics_server import DIRECTORY_VARIABLE, prepare_directory
from pocket_protocol.errors import PocketError
from relay_cli.supervisor.probes import accepts, http_ok
from relay_cli.supervisor.spec import Port, ProcessSpec
from relay_store.nodes import live_nodes

GRACE_S = 40.0  # a worker finishes the tasks it has


@dataclass(frozen=True, slots=True)
class MinerNode:
    """How a node's processes are started. `flower` is host:port, empty for none; `stage` the worker's.

    `metrics_directory` is the node's own; None: in `extensions.state_dir`, which then has to be.
    """

    config_path: str
    config: MinerConfig
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    flower: str = ""
    stage: int = 0
    metrics_setting: str = "metrics.addr"
    flower_setting: str = "--flower"
    metrics_directory: Path | None = None


def miner_processes(node: MinerNode) -> list[ProcessSpec]:
    """Return the processes of a node; empties its directory of metric files."""
    directory = prepare_directory(node.metrics_directory or state_directory(node.config) / "metrics-miner")
    del os.environ[DIRECTORY_VARIABLE]  # of these processes, not of all that are started from here
    environment = {
        **node.environment,
        CONFIG_VARIABLE: node.config_path,
        DIRECTORY_VARIABLE: str(directory),
    }
    celery = (sys.executable, "-m", "celery", "-A", "mining_tasks")
    events = ("-E",) if node.flower else ()
    worker = ProcessSpec(
        "miner",
        (*celery, "worker", "--without-gossip", "--without-mingle", *events),
        node.stage,
        node_is_listed(node.config),
        environment,
        start_timeout_s=60.0,
        stop_timeout_s=GRACE_S,
    )
    beat = ProcessSpec("beat", (*celery, "beat"), node.stage, lambda: True, environment)
    return [worker, beat, *_metrics(node, directory), *_flower(node, celery, environment)]


def node_is_listed(config: MinerConfig) -> Callable[[], bool]:
    """Return the probe that a worker node, which is any of this deployment's, gives signs of life."""
    store = open_store(config, "pocket-supervisor")
    keys = keys_of(config.redis, config.extensions)

    def probe() -> bool:
        try:
            return bool(live_nodes(store, keys))
        except PocketError:
            return False

    return probe


def _metrics(node: MinerNode, directory: Path) -> list[ProcessSpec]:
    if not node.config.metrics.enabled:
        return []
    address = node.config.metrics.addr
    command = (sys.executable, "-m", "operations.metrics_server", address, str(directory))
    port = Port(address, node.metrics_setting)
    return [
        ProcessSpec("miner-metrics", command, node.stage, http_ok(f"http://{address}/health"), ports=(port,))
    ]


def _flower(node: MinerNode, celery: tuple[str, ...], environment: Mapping[str, str]) -> list[ProcessSpec]:
    if not node.flower:
        return []
    host, _, port = node.flower.rpartition(":")
    command = (*celery, "flower", f"--address={host}", f"--port={port}", "--purge_offline_workers=60")
    ports = (Port(node.flower, node.flower_setting),)
    return [ProcessSpec("flower", command, node.stage + 1, accepts(node.flower), environment, ports)]
