"""`pocket-relay-miner localnet`: run a local Pocket chain."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click
import structlog

from localnet.chain import LocalChain
from localnet.default_genesis import Options, default_chain, write_default_chain
from localnet.fixture import Fixture
from localnet.genesis import Genesis, load_genesis, read_genesis
from localnet.node import Addresses, LocalNode, PortTaken
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.errors import PocketError

_FLAGS = {"grpc": "--grpc", "rpc": "--rpc", "admin": "--admin"}

_HELP = """Run a local Pocket chain in this process, for demos, tests and development.

It makes blocks, sessions, claims, proofs and settlements as the real chain does, refuses what the real chain
refuses with its codes and texts, and serves what a relay miner asks of a node: gRPC queries and transactions,
CometBFT's RPC and its WebSocket. It keeps nothing on disk.

\b
A first try:
  pocket-relay-miner localnet --write-genesis my-chain      # genesis.yaml and key files
  pocket-relay-miner localnet --genesis my-chain/genesis.yaml
  curl http://127.0.0.1:26657/status                         # or look at http://127.0.0.1:26680/

Without --genesis it starts the default chain: two services, two applications behind one gateway, two
suppliers, sessions of 10 blocks. Its keys are derived from role names, so they are public.

The admin address lets you pause and step the chain, make the node lag, slow or refusing, change parameters
and stakes, and read what was claimed and paid: open it in a browser for the list of calls.
"""


@click.command("localnet", help=_HELP)
@click.option(
    "--genesis", type=click.Path(dir_okay=False, path_type=Path), help="YAML genesis, or a genesis.json."
)
@click.option(
    "--write-genesis",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the default genesis and its key files into this directory, and exit.",
)
@click.option(
    "--block-time",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds between blocks; 0: only when the admin side steps.",
)
@click.option("--grpc", default="127.0.0.1:9090", show_default=True, help="Address of the gRPC server.")
@click.option(
    "--rpc", default="127.0.0.1:26657", show_default=True, help="Address of the CometBFT RPC and WebSocket."
)
@click.option(
    "--admin", default="127.0.0.1:26680", show_default=True, help="Address of the admin side and status page."
)
@click.option(
    "--fixture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML or JSON with block hashes, times and session ids of another chain, to replay its traffic.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append a JSON line per block, transaction and event to this file.",
)
@click.option(
    "--minimum-gas-price",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="uPOKT per gas that CheckTx asks for.",
)
def localnet(
    genesis: Path | None,
    write_genesis: Path | None,
    block_time: float,
    grpc: str,
    rpc: str,
    admin: str,
    fixture: Path | None,
    journal: Path | None,
    minimum_gas_price: float,
) -> None:
    curve = load_curve()
    if write_genesis:
        _write(write_genesis, curve)
        return
    try:
        chain = LocalChain(
            _genesis(genesis, curve),
            curve,
            fixture=Fixture.load(fixture) if fixture else None,
            minimum_gas_price_upokt=minimum_gas_price,
        )
        node = LocalNode(
            chain,
            Addresses(grpc=grpc, rpc=rpc, admin=admin),
            block_time_s=block_time,
            journal=journal,
        )
    except PortTaken as error:
        raise click.ClickException(f"{error}; choose another with {_FLAGS[error.which]}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except (PocketError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _run(node)


def _genesis(path: Path | None, curve: Curve) -> Genesis:
    return load_genesis(path, curve) if path else read_genesis(default_chain(curve).document, curve)


def _write(directory: Path, curve: Curve) -> None:
    chain = default_chain(curve, Options())
    try:
        write_default_chain(directory, chain)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    for name in ("genesis.yaml", "supplier-keys.yaml", "client-keys.yaml"):
        click.echo(f"wrote {directory / name}")


def _run(node: LocalNode) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    log = structlog.get_logger()
    with node:
        click.echo(f"localnet ready: grpc {node.grpc.address} rpc {node.rpc_url} admin {node.admin_url}")
        sys.stdout.flush()
        stopping.wait()
    log.info("localnet stopped", height=node.chain.height)
