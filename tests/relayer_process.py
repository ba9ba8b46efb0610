"""A real relayer front end (gunicorn master and workers) on free ports, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_S = 20.0
ECHO_FRONT_END = "tests.echo_front_end:echo_front_end"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class RelayerProcess:
    """The running master and where it listens."""

    process: subprocess.Popen[bytes]
    port: int
    health_port: int
    metrics_port: int
    log: Path

    def connect(self, port: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=10)


@contextmanager
def relayer_process(
    directory: Path,
    *,
    front_end: str = ECHO_FRONT_END,
    settings: str = "",
    extensions: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    metrics: bool = False,
) -> Iterator[RelayerProcess]:
    """Start one, wait until it accepts, end it with SIGTERM. `settings` is YAML added to the file."""
    port, health_port, metrics_port = free_port(), free_port(), free_port()
    extra = {"workers": 1, "grpc_workers": 0, **(extensions or {})}
    config = directory / "relayer.yaml"
    config.write_text(
        f"listen_addr: 127.0.0.1:{port}\n"
        f"health_check: {{addr: '127.0.0.1:{health_port}'}}\n"
        f"metrics: {{enabled: {str(metrics).lower()}, addr: '127.0.0.1:{metrics_port}'}}\n"
        "pocket_node: {query_node_rpc_url: 'http://127.0.0.1:9', query_node_grpc_url: '127.0.0.1:9', chain_id: test}\n"
        f"extensions: {{{', '.join(f'{name}: {value}' for name, value in extra.items())}}}\n"
        + (settings or "services: {svc: {backends: {jsonrpc: {url: 'http://127.0.0.1:9'}}}}\n")
    )
    log = directory / "relayer.log"
    variables = {
        **os.environ,
        "POCKET_RELAYER_CONFIG": str(config),
        "POCKET_RELAYER_FRONT_END": front_end,
        **(environment or {}),
    }
    variables.pop("PROMETHEUS_MULTIPROC_DIR", None)
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "python:relayer_web.gunicorn_conf",
        "relayer_web.wsgi:app",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
    running = RelayerProcess(process, port, health_port, metrics_port, log)
    try:
        _wait_until_it_answers(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(running: RelayerProcess) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            with running.connect(running.health_port) as client:
                client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if client.recv(12) == b"HTTP/1.1 200":
                    return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"the relayer did not start:\n{running.log.read_text()}")
