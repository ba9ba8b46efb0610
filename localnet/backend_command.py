"""`pocket-relay-miner backend`: run the backend that answers relays in demos and tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import click
import structlog
import yaml

from localnet.backend.behaviour import Settings
from localnet.backend.server import BackendServer
from localnet.http_server import AddressTaken
from pocket_protocol.errors import PocketError

_HELP = """Run the test backend: the service that a relay miner sends relays to.

It answers JSON-RPC on any path with what it was asked, REST under /rest/, server-sent events under
/stream/sse and lines under /stream/ndjson, WebSocket messages under /ws. Under /test/ it misbehaves on
request: status/<code>, empty, redirect, slow/<ms>, gzip, gzip-bare, big/<bytes>, echo, close, received,
settings.
With --grpc-listen it also serves demo.DemoService over gRPC.

\b
A first try:
  pocket-relay-miner backend --listen 127.0.0.1:8545
  curl -d '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}' -H 'Content-Type: application/json' 127.0.0.1:8545
  curl 127.0.0.1:8545/counters
"""


@click.command("backend", help=_HELP)
@click.option("--listen", default="127.0.0.1:8545", show_default=True, help="Address of the HTTP server.")
@click.option("--grpc-listen", default="", help="Address of the gRPC server.  [default: none]")
@click.option(
    "--id",
    "backend_id",
    default=lambda: os.environ.get("BACKEND_ID", "unknown"),
    help="Name in its answers; BACKEND_ID otherwise.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML: error_rate, error_code, error_codes, delay_ms, broken_compression, fat_payload_bytes.",
)
@click.option("--delay-ms", type=click.FloatRange(min=0), help="Wait before each JSON-RPC answer.")
@click.option(
    "--error-rate", type=click.FloatRange(0, 1), help="Share of JSON-RPC requests answered with an error."
)
@click.option("--fat-payload-bytes", type=click.IntRange(min=0), help="Filler in each JSON-RPC answer.")
def backend(
    listen: str,
    grpc_listen: str,
    backend_id: str,
    config: Path | None,
    delay_ms: float | None,
    error_rate: float | None,
    fat_payload_bytes: int | None,
) -> None:
    flags = {"delay_ms": delay_ms, "error_rate": error_rate, "fat_payload_bytes": fat_payload_bytes}
    try:
        content = yaml.safe_load(config.read_text()) if config else {}
        settings = Settings(backend_id=backend_id).changed(content or {})
        settings = settings.changed({name: value for name, value in flags.items() if value is not None})
        server = BackendServer(listen, settings, grpc_listen)
    except AddressTaken as error:
        raise click.ClickException(f"{error}; choose another with --listen or --grpc-listen") from error
    except (PocketError, OSError, yaml.YAMLError, AttributeError) as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _run(server)


def _run(server: BackendServer) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with server:
        also = f", gRPC on {server.grpc_address}" if server.grpc_address else ""
        click.echo(f"backend ready: {server.url}{also}")
        sys.stdout.flush()
        stopping.wait()
    structlog.get_logger().info("backend stopped", requests=server.backend.counters.to_json()["total"])
