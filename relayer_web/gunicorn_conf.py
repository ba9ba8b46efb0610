"""gunicorn's settings for the relay port, from the file named by `POCKET_RELAYER_CONFIG`.

    POCKET_RELAYER_CONFIG=relayer.yaml gunicorn -c python:relayer_web.gunicorn_conf relayer_web.wsgi:app

Module variables with gunicorn's names are its settings. SIGHUP reads the file again and starts new workers with it
(or with the last good one, when it is not valid); addresses and the number of workers stay.

gRPC is served by processes of its own beside the workers (grpc_processes): they start once the address is bound, are
replaced on SIGHUP when the file is valid, and finish their calls when the master is told to end.

Metric files: unless `PROMETHEUS_MULTIPROC_DIR` is set by whoever started us and serves them, the master makes a
directory and runs the metrics endpoint on `metrics.addr` as a child process.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import importlib  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Final  # noqa: E402

import gevent  # noqa: E402

from operations import logs  # noqa: E402
from operations.config_file import ConfigInvalid  # noqa: E402
from operations.metrics_server import (  # noqa: E402
    DIRECTORY_VARIABLE,
    mark_process_dead,
    prepare_directory,
)
from operations.setting import split_address  # noqa: E402
from relayer_web.config import CONFIG_VARIABLE, RelayerConfig  # noqa: E402
from relayer_web.current_config import current_config, log_warnings, reload_config  # noqa: E402
from relayer_web.grpc_processes import GrpcProcesses  # noqa: E402
from relayer_web.heap import keep_what_is_loaded  # noqa: E402
from relayer_web.open_files import allow_files, connections_allowed, log_too_few_files  # noqa: E402
from relayer_web.side_process import SideProcess  # noqa: E402
from relayer_web.store_warnings import log_store_warnings  # noqa: E402

GRACEFUL_S: Final = 30
IDLE_S: Final = 120
METRICS_END_S: Final = 5.0
DRAIN_CHECK_S: Final = 0.2
STALLED_WORKER_S: Final = 60


def _load() -> RelayerConfig:
    """The file's content; what is wrong with it ends the process in plain words."""
    if not os.environ.get(CONFIG_VARIABLE):
        sys.exit(f"{CONFIG_VARIABLE} must name the relayer's configuration file")
    try:
        return current_config()
    except ConfigInvalid as invalid:
        sys.exit(f"configuration is invalid:\n{invalid}")


_relayer = _load()
logs.configure(_relayer.logging, "relayer")


def _own_metrics_directory() -> str:
    """Return the directory this process has to serve, "" when that is not its business."""
    if not _relayer.metrics.enabled or os.environ.get(DIRECTORY_VARIABLE):
        return ""
    within = _relayer.extensions.state_dir or None
    if within:
        Path(within).mkdir(parents=True, exist_ok=True)
    return str(prepare_directory(tempfile.mkdtemp(prefix="pocket-relayer-metrics-", dir=within)))


def _local(address: str) -> str:
    """The URL authority under which this machine reaches an address listened on."""
    host, port = split_address(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_health = _relayer.health_check
_metrics_directory = _own_metrics_directory()
_metrics_process = (
    SideProcess(
        "operations.metrics_server",
        [
            _relayer.metrics.addr,
            _metrics_directory,
            *([f"http://{_local(_health.addr)}/ready"] if _health.enabled else []),
        ],
    )
    if _metrics_directory
    else None
)
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a line for each odd header of a stranger, past our logs
_grpc_processes = (
    GrpcProcesses(_relayer.extensions.grpc_workers, on_end=mark_process_dead)
    if _relayer.extensions.grpc_workers
    else None
)
allow_files(_relayer.extensions.worker_connections)
# All modules, before the workers are forked (and after the directory of metric files is named): a worker that starts
# late, or again, need only build its front end, and they share the memory.
importlib.import_module("relayer_web.app")

bind = [_relayer.listen_addr, *([_health.addr] if _health.enabled else [])]
workers = _relayer.extensions.worker_count
worker_class = "relayer_web.worker.RelayGeventWorker"
worker_connections = connections_allowed(_relayer.extensions.worker_connections)
timeout = STALLED_WORKER_S
graceful_timeout = GRACEFUL_S
keepalive = IDLE_S
backlog = 2048
control_socket_disable = True
logger_class = "relayer_web.gunicorn_log.FrontEndLogger"
accesslog = None
proc_name = "pocket-relayer"
http_parser = "python"
# Heads have been held to our own limits before gunicorn's parser sees them.
limit_request_line = 0
limit_request_fields = 32768
limit_request_field_size = 0


def on_reload(server: Any) -> None:
    """SIGHUP: the processes started now take the file as it is now, if it is valid."""
    has_changed = reload_config()
    connections = current_config().extensions.worker_connections
    allow_files(connections)
    log_too_few_files(connections)
    server.cfg.set("worker_connections", connections_allowed(connections))
    if has_changed and _grpc_processes is not None:
        _grpc_processes.renew()


def post_fork(server: Any, worker: Any) -> None:
    """gRPC must know about gevent before its first channel."""
    from grpc.experimental.gevent import init_gevent

    init_gevent()


def post_worker_init(worker: Any) -> None:
    """Everything is loaded, nothing is served yet."""
    keep_what_is_loaded()


def when_ready(server: Any) -> None:
    """The addresses are bound: serve gRPC and the metrics, and say what the file could have said better."""
    log_warnings()
    log_too_few_files(_relayer.extensions.worker_connections)
    log_store_warnings(_relayer.redis.url)
    if _metrics_process is not None:
        _metrics_process.start()
    if _grpc_processes is not None:
        _grpc_processes.start()
        gevent.spawn(_drain_with, server, os.getpid())


def _drain_with(server: Any, master: int) -> None:
    """End the gRPC processes with the workers: gunicorn has no hook there, but lets go of its listeners first."""
    while server.LISTENERS:
        gevent.sleep(DRAIN_CHECK_S)
        if os.getpid() != master:
            return
    if _grpc_processes is not None:
        _grpc_processes.drain()


def worker_exit(server: Any, worker: Any) -> None:
    """The last connection is done."""
    front_end = getattr(worker, "front_end", None)
    if front_end is not None:
        front_end.stop()


def child_exit(server: Any, worker: Any) -> None:
    """Forget the live gauges of a worker that ended."""
    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """The master ends."""
    if _grpc_processes is not None:
        _grpc_processes.stop()
    if _metrics_process is not None:
        _metrics_process.stop()
        _metrics_process.wait(METRICS_END_S)
        shutil.rmtree(_metrics_directory, ignore_errors=True)
