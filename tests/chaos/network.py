"""Everything that runs in one chaos run: two of each of our processes, and what they stand on (docs/chaos.md).

gateway ─▶ relayer-1, relayer-2 ──┐                      ┌── node 1 ─┐
           miner-1,   miner-2   ──┼─▶ proxy ─▶ store(s)  ├── node 2 ─┼── one chain
           beat-1,    beat-2    ──┘        └─▶ ──────────┘   node 3 ─┘ (asked by the watcher alone)
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from localnet.default_genesis import Options, default_chain, write_default_chain
from mining_tasks.config import load_miner_config
from operations.metrics_server import DIRECTORY_VARIABLE, prepare_directory
from relay_cli.serve.miner_processes import MinerNode, miner_processes
from relay_cli.serve.relayer_process import GUNICORN
from relay_cli.supervisor.child import Child
from relay_cli.supervisor.probes import accepts, http_ok
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.supervisor.supervisor import Supervisor
from relay_cli.up.files import miner_settings, relayer_settings, write_files
from relay_cli.up.layout import SERVICES, Layout
from relay_cli.up.processes import foundation, has_block
from relay_store.keys import Keys
from relayer_web.config import CONFIG_VARIABLE
from tests.chaos.stores import Stores, store_roles
from tests.integration.sender import curve
from tests.integration.stage import Deployment, free_ports

MINERS, BEATS, RELAYERS = ("miner-1", "miner-2"), ("beat-1", "beat-2"), ("relayer-1", "relayer-2")
NODES = (1, 2, 3)
WATCHER = 3
PROXIED = ("data", "broker-proxy", "node-1-grpc", "node-1-rpc", "node-2-grpc", "node-2-rpc")
MORE_ROLES = (
    *PROXIED,
    *("control", "grpc-2", "rpc-2", "admin-2", "grpc-3", "rpc-3", "admin-3"),
    *("relayer-2", "health-2"),
)
QUERY_TIMEOUT_S = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a run is and how fast its chain. The windows are of equal length."""

    scenario: str = "standard"
    suppliers: int = 8
    block_s: float = 0.5
    session_blocks: int = 20
    window_blocks: int = 40

    @property
    def session_s(self) -> float:
        return self.block_s * self.session_blocks


@dataclass
class Network:
    """A running one."""

    shape: Shape
    layout: Layout
    stores: Stores
    supervisors: tuple[Supervisor, Supervisor]
    told: list[str] = field(default_factory=list)  # what the supervisors said
    keys: Keys = field(default_factory=Keys)

    @property
    def control(self) -> str:
        return self.layout.ports.address("control")

    @property
    def journal(self) -> Path:
        return self.layout.directory / "journal.jsonl"

    @property
    def relayer_ports(self) -> list[int]:
        return [self.layout.ports.numbers[name] for name in ("relayer", "relayer-2")]

    def child(self, name: str) -> Child:
        return next(child for one in self.supervisors for child in one.children if child.spec.name == name)

    def has(self, name: str) -> bool:
        return any(child.spec.name == name for one in self.supervisors for child in one.children)

    def process_id(self, name: str) -> int | None:
        """The process id, None while it does not run."""
        return self.child(name).process_id

    def deployment(self, store: Any) -> Deployment:
        """The product's processes, as measurements want them."""
        return Deployment(self.layout, self.supervisors[1], store)

    def admin_url(self, node: int) -> str:
        return self.layout.ports.url("admin" if node == 1 else f"admin-{node}")

    @property
    def watcher_rpc_url(self) -> str:
        return self.layout.ports.url(f"rpc-{WATCHER}")

    @property
    def watcher_grpc_address(self) -> str:
        return self.layout.ports.address(f"grpc-{WATCHER}")


@contextmanager
def network(directory: Path, shape: Shape) -> Iterator[Network]:
    """Start one, and stop it at the end. Raises `StartFailed`, `PortTaken`."""
    layout = Layout(
        directory,
        free_ports(*MORE_ROLES, *store_roles(shape.scenario)),
        suppliers=shape.suppliers,
        block_time_s=shape.block_s,
        blocks_per_session=shape.session_blocks,
    )
    write_files(layout, curve())
    _write_genesis(layout, shape)
    stores = Stores(shape.scenario, layout)
    told: list[str] = []
    below = Supervisor([*stores.specs(), *_foundation(layout)], layout.logs, told.append)
    below.start()
    try:
        stores.unite()
        above = Supervisor(_product(layout, stores), layout.logs, told.append)
        above.start()
        try:
            yield Network(shape, layout, stores, (below, above), told)
        finally:
            above.stop()
    finally:
        below.stop()


def _write_genesis(layout: Layout, shape: Shape) -> None:
    options = Options(
        num_suppliers=shape.suppliers,
        services=SERVICES,
        num_blocks_per_session=shape.session_blocks,
        claim_window_close_offset_blocks=shape.window_blocks,
        proof_window_close_offset_blocks=shape.window_blocks,
    )
    chain = default_chain(curve(), options)
    for actor in ("application", "supplier", "gateway"):  # longer than the windows
        name = f"{actor}_unbonding_period_sessions"
        chain.document["params"]["shared"][name] = 2 * shape.window_blocks
    write_default_chain(layout.directory, chain)


def _foundation(layout: Layout) -> list[ProcessSpec]:
    ports = layout.ports
    nodes = [
        ",".join(ports.address(role if node == 1 else f"{role}-{node}") for role in ("grpc", "rpc", "admin"))
        for node in NODES
    ]
    journal = str(layout.directory / "journal.jsonl")
    chain = ProcessSpec(
        "localnet",
        (*_module("chain_process"), str(layout.genesis), str(layout.block_time_s), journal, *nodes),
        0,
        has_block(ports.url(f"rpc-{WATCHER}")),
        restarts=False,
    )
    targets = {"data": "store", "broker-proxy": "store"}
    for number in ("1", "2"):
        for kind in ("grpc", "rpc"):
            targets[f"node-{number}-{kind}"] = kind if number == "1" else f"{kind}-{number}"
    routes = [f"{name}={ports.address(name)},{ports.address(target)}" for name, target in targets.items()]
    proxy = ProcessSpec(
        "proxy",
        (*_module("proxy"), ports.address("control"), *routes),
        0,
        accepts(ports.address("data")),
    )
    backend = next(spec for spec in foundation(layout) if spec.name == "backend")
    return [chain, proxy, backend]


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.chaos.{name}")


def _product(layout: Layout, stores: Stores) -> list[ProcessSpec]:
    specs = []
    for number in (1, 2):
        specs += _miner(layout, stores, number)
        specs.append(_relayer(layout, stores, number))
    return specs


def _miner(layout: Layout, stores: Stores, number: int) -> list[ProcessSpec]:
    settings = miner_settings(layout)
    _point_to(settings, layout, stores, f"miner-{number}")
    settings["extensions"]["redlock_urls"] = stores.lock_urls
    settings["extensions"]["claim_unprofitable_sessions"] = True  # ten relays cost as much as they earn here
    settings["metrics"]["enabled"] = False
    settings["transaction"]["tx_timeout_max_seconds"] = 60
    path = _write(layout, f"miner-{number}.yaml", settings)
    node = MinerNode(str(path), load_miner_config(path).config, stage=1)
    return [
        dataclasses.replace(spec, name=f"{spec.name}-{number}")
        for spec in miner_processes(node)
        if spec.name in ("miner", "beat")
    ]


def _relayer(layout: Layout, stores: Stores, number: int) -> ProcessSpec:
    settings, ports = relayer_settings(layout), layout.ports
    _point_to(settings, layout, stores, f"relayer-{number}")
    health = "health" if number == 1 else "health-2"
    settings["listen_addr"] = ports.address("relayer" if number == 1 else "relayer-2")
    settings["health_check"]["addr"] = ports.address(health)
    settings["metrics"]["enabled"] = False
    for service in settings["services"].values():
        for backend in service[
            "backends"
        ].values():  # else each killed backend is half a minute without relays
            backend["recovery_timeout_seconds"] = 1
    path = _write(layout, f"relayer-{number}.yaml", settings)
    ready = http_ok(f"{ports.url(health)}/ready")
    metrics = prepare_directory(metrics_directory(layout, f"relayer-{number}"))
    del os.environ[DIRECTORY_VARIABLE]
    environment = {CONFIG_VARIABLE: str(path), DIRECTORY_VARIABLE: str(metrics)}
    return ProcessSpec(f"relayer-{number}", GUNICORN, 3, ready, environment)


def metrics_directory(layout: Layout, name: str) -> Path:
    """Where a relayer's processes leave their counts, those that were killed included."""
    return layout.state_directory / name / "metrics"


def _point_to(settings: dict[str, Any], layout: Layout, stores: Stores, name: str) -> None:
    """Have a process use the stores and the nodes through the proxy."""
    nodes = [
        {
            "query_node_rpc_url": layout.ports.url(f"node-{number}-rpc"),
            "query_node_grpc_url": layout.ports.address(f"node-{number}-grpc"),
            "grpc_insecure": True,
        }
        for number in (1, 2)
    ]
    settings["redis"]["url"] = stores.data_url
    settings["pocket_node"] |= nodes[0] | {"query_timeout_seconds": QUERY_TIMEOUT_S}
    settings["logging"]["format"] = "json"
    settings["extensions"] |= {
        "broker_url": stores.broker_url,
        "fallback_nodes": nodes[1:],
        "state_dir": str(layout.state_directory / name),
    }


def _write(layout: Layout, name: str, settings: dict[str, Any]) -> Path:
    path = layout.directory / name
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path
