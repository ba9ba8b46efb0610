"""The files of one `up`: genesis and keys, relayer.yaml, miner.yaml and the store's configuration.

Written anew at each start. The local chain keeps nothing on disk, so what an earlier run left in the store would
belong to a chain that is gone: it is removed.
"""

from __future__ import annotations

import shutil
from typing import Any

import yaml

from localnet.default_genesis import Options, default_chain, write_default_chain
from pocket_protocol.curve import Curve
from relay_cli.up.layout import PROOF_THRESHOLD_UPOKT, SERVICES, Layout

STORE_MEMORY = "512mb"


def write_files(layout: Layout, curve: Curve) -> None:
    """Make the directory ready for a start. Raises OSError."""
    layout.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in (layout.store_directory, layout.logs, layout.state_directory):
        shutil.rmtree(stale, ignore_errors=True)
        stale.mkdir(mode=0o700)
    options = Options(
        chain_id=layout.chain_id,
        num_suppliers=layout.suppliers,
        services=SERVICES,
        supplier_endpoint=layout.ports.url("relayer"),
        proof_requirement_threshold_upokt=PROOF_THRESHOLD_UPOKT,
        num_blocks_per_session=layout.blocks_per_session,
    )
    write_default_chain(layout.directory, default_chain(curve, options))
    _write(layout.relayer_config.name, relayer_settings(layout), layout)
    _write(layout.miner_config.name, miner_settings(layout), layout)
    (layout.store_directory / "valkey.conf").write_text(store_settings(layout))


def relayer_settings(layout: Layout) -> dict[str, Any]:
    """Return the content of relayer.yaml."""
    ports = layout.ports
    backend = {"url": ports.url("backend")}
    socket_backend = {"url": f"{ports.url('backend').replace('http', 'ws', 1)}/ws"}
    grpc_backend = {"url": f"grpc://{ports.address('backend-grpc')}"}
    http_backends = dict.fromkeys(("jsonrpc", "rest", "cometbft"), backend)
    return {
        "listen_addr": ports.address("relayer"),
        **_shared(layout, "relayer-metrics"),
        "services": {
            "develop-http": {
                "default_backend": "jsonrpc",
                "backends": {**http_backends, "websocket": socket_backend, "grpc": grpc_backend},
            },
            "develop-rest": {
                "default_backend": "rest",
                "backends": {**http_backends, "websocket": socket_backend, "grpc": grpc_backend},
            },
        },
        "default_validation_mode": "eager",
        "health_check": {"enabled": True, "addr": ports.address("health")},
        "extensions": {
            **_shared_extensions(layout, "relayer"),
            "workers": layout.front_end_workers,
            "block_time_seconds": layout.block_time_s,
        },
    }


def miner_settings(layout: Layout) -> dict[str, Any]:
    """Return the content of miner.yaml; transactions live no longer than the short windows of this chain."""
    window_s = max(round(8 * layout.block_time_s), 1)
    return {
        **_shared(layout, "miner-metrics"),
        "block_time_seconds": layout.block_time_s,
        "supplier_reconcile_interval_seconds": 5,
        "transaction": {
            "gas_price": "0.000001upokt",
            "tx_timeout_min_seconds": min(4, window_s),
            "tx_timeout_max_seconds": max(window_s, 4),
            "tx_timeout_clock_skew_buffer_seconds": 0,
        },
        "extensions": {
            **_shared_extensions(layout, "miner"),
            "concurrency": layout.mining_processes,
        },
    }


def store_settings(layout: Layout) -> str:
    """Return the store's configuration: nothing evicted, at most the last second lost, reachable from here only."""
    host, _, port = layout.ports.address("store").rpartition(":")
    settings = {
        "bind": host,
        "port": port,
        "protected-mode": "yes",
        "daemonize": "no",
        "dir": f'"{layout.store_directory}"',
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory": STORE_MEMORY,
        "maxmemory-policy": "noeviction",
        "loglevel": "notice",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _shared(layout: Layout, metrics_role: str) -> dict[str, Any]:
    ports = layout.ports
    return {
        "redis": {"url": layout.store_url},
        "pocket_node": {
            "query_node_rpc_url": ports.url("rpc"),
            "query_node_grpc_url": ports.address("grpc"),
            "grpc_insecure": True,
            "chain_id": layout.chain_id,
        },
        "keys": {"keys_file": str(layout.supplier_keys)},
        "metrics": {"enabled": True, "addr": ports.address(metrics_role)},
        "logging": {"level": "info", "format": "text"},
    }


def _shared_extensions(layout: Layout, role: str) -> dict[str, Any]:
    return {"broker_url": layout.broker_url, "state_dir": str(layout.state_directory / role)}


def _write(name: str, settings: dict[str, Any], layout: Layout) -> None:
    heading = f"# Written by `pocket-relay-miner up`, anew at each start. Check: pocket-relay-miner validate {name.partition('.')[0]} {name}\n"
    (layout.directory / name).write_text(heading + yaml.safe_dump(settings, sort_keys=False))
