"""The processes of `up`, stage by stage: store, chain and backend; then miner; then relayer."""

from __future__ import annotations

import sys
from collections.abc import Callable

from mining_tasks.config import load_miner_config
from relay_cli.serve.miner_processes import MinerNode, miner_processes
from relay_cli.serve.relayer_process import GUNICORN
from relay_cli.supervisor.probes import http_ok, pongs
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.up.layout import Layout
from relay_cli.up.store_server import store_executable
from relayer_web.config import CONFIG_VARIABLE

OWN_COMMAND = (sys.executable, "-m", "relay_cli")
STORE_STAGE, MINER_STAGE, RELAYER_STAGE = 0, 1, 3


def up_processes(layout: Layout) -> list[ProcessSpec]:
    """Return all processes of a layout whose files are written."""
    return [*foundation(layout), *_miner(layout), _relayer(layout)]


def foundation(layout: Layout) -> list[ProcessSpec]:
    """Return store, local chain and test backend: what relayer and miner need."""
    ports = layout.ports
    # The server itself and not the library's wrapper: that one outlives its parent, and leaves the server when killed.
    store = ProcessSpec(
        "store",
        (str(store_executable()), str(layout.store_directory / "valkey.conf")),
        STORE_STAGE,
        pongs(ports.address("store")),
        ports=ports.needed("store"),
        directory=layout.store_directory,
    )
    chain = ProcessSpec(
        "localnet",
        (
            *OWN_COMMAND,
            *("localnet", "--genesis", str(layout.genesis), "--block-time", str(layout.block_time_s)),
            *(
                "--grpc",
                ports.address("grpc"),
                "--rpc",
                ports.address("rpc"),
                "--admin",
                ports.address("admin"),
            ),
        ),
        STORE_STAGE,
        has_block(ports.url("rpc")),
        ports=ports.needed("grpc", "rpc", "admin"),
        restarts=False,  # it keeps nothing on disk: another start would be another chain
    )
    backend = ProcessSpec(
        "backend",
        (
            *OWN_COMMAND,
            *("backend", "--listen", ports.address("backend")),
            *("--grpc-listen", ports.address("backend-grpc")),
        ),
        STORE_STAGE,
        http_ok(f"{ports.url('backend')}/health"),
        ports=ports.needed("backend", "backend-grpc"),
    )
    return [store, chain, backend]


def _miner(layout: Layout) -> list[ProcessSpec]:
    config = load_miner_config(layout.miner_config).config
    node = MinerNode(
        str(layout.miner_config),
        config,
        flower=layout.ports.address("flower"),
        stage=MINER_STAGE,
        metrics_setting="--miner-metrics-port",
        flower_setting="--flower-port",
    )
    return miner_processes(node)


def _relayer(layout: Layout) -> ProcessSpec:
    ports = layout.ports
    return ProcessSpec(
        "relayer",
        GUNICORN,
        RELAYER_STAGE,
        http_ok(f"{ports.url('health')}/ready"),
        {CONFIG_VARIABLE: str(layout.relayer_config)},
        ports.needed("relayer", "health", "relayer-metrics"),
    )


def has_block(rpc_url: str) -> Callable[[], bool]:
    """Return the probe that the chain has made its first block."""
    from pocket_chain.node import CometNode
    from pocket_protocol.errors import PocketError

    node = CometNode(rpc_url, 1.0)

    def probe() -> bool:
        try:
            return node.status().position.height > 0
        except PocketError:
            return False

    return probe
