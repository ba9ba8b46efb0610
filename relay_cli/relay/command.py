"""`pocket-relay-miner relay MODE`: one relay under the magnifier, or a load test (spec/relayer.md §8)."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from operations import logs
from operations.sections import LoggingSection
from operations.setting import redacted
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.curve import POINT_SIZE, Curve, load_curve
from pocket_protocol.errors import PocketError
from pocket_protocol.types import PublicKey, SupplierAddress
from relay_cli.relay.client import Connection, InnerRequest, RelayClient, default_body, json_request
from relay_cli.relay.client_keys import ClientKeys, client_keys_of_hex, read_client_keys
from relay_cli.relay.diagnostic import Diagnosis, diagnose
from relay_cli.relay.grpc_answer import BLOCK_HEIGHT, native_request
from relay_cli.relay.height_watch import HeightWatch
from relay_cli.relay.http_connection import RelayerConnection
from relay_cli.relay.load_results import LoadResults
from relay_cli.relay.load_test import ChooseSupplier, LoadPlan, LoadTest, all_suppliers, one_supplier
from relay_cli.relay.relay_session import SessionSource, choose_application, latest_height
from relay_cli.relay.simulated_session import KEY_ID_HEADER, SimulatedSessions
from relay_cli.relay.stream_diagnostic import StreamDiagnosis, diagnose_stream, stream_body
from relay_cli.run_directory import DEFAULT_DIRECTORY, NotRunning, read_run

MODES = {  # mode -> default method
    "jsonrpc": "eth_blockNumber",
    "cometbft": "status",
    "websocket": "eth_blockNumber",
    "stream": "eth_blockNumber",
    "grpc": "eth_blockNumber",
}
STREAM_TRANSPORT = "rest"
QUERY_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where the chain and the relayer are, and who signs."""

    node: str
    grpc_tls: bool
    node_rpc: str
    relayer_url: str
    keys: ClientKeys
    service: str


def _service(_: click.Context, __: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise click.BadParameter("1 to 64 of A-Z a-z 0-9 _ - are needed")
    return value


def _mode(_: click.Context, __: click.Parameter, value: str) -> str:
    if value not in MODES:
        raise click.BadParameter(f'invalid mode "{value}". Valid modes: {", ".join(MODES)}')
    return value


def _keyring_options(command: Any) -> Any:
    """Options of the reference that name a key of a Cosmos keyring: known, so that they can be refused clearly."""

    def refuse(_: click.Context, parameter: click.Parameter, value: str) -> None:
        if value:
            text = (
                f"{parameter.opts[0]}: a Cosmos keyring is not read; export the key with `pocketd keys export"
            )
            raise click.UsageError(f"{text} NAME --unsafe --unarmored-hex` and use --keys-file")

    for name in ("--app-key", "--gateway-key", "--keyring-backend", "--keyring-dir"):
        command = click.option(name, default="", hidden=True, expose_value=False, callback=refuse)(command)
    return command


@click.command()
@click.argument("mode", callback=_mode)
@click.option("--service", default="", callback=_service, help="Service id.  [required]")
@click.option("--node", default="", metavar="HOST:PORT", help="gRPC of a full node.  [required]")
@click.option("--grpc-tls", is_flag=True, help="Speak TLS to the node.")
@click.option("--node-rpc", default="", metavar="URL", help="CometBFT RPC, for nodes that hide heights.")
@click.option("--chain-id", default="", help="Accepted; relays do not depend on it.")
@click.option(
    "--relayer-url", default="", metavar="URL", help="Where relays go.  [default: http://localhost:8080]"
)
@click.option(
    "--keys-file", type=click.Path(path_type=Path), help="YAML: applications: [hex], gateway: [hex]."
)
@click.option("--app-priv-key", default="", metavar="HEX", help="Application key; others can see it in `ps`.")
@click.option("--gateway-priv-key", default="", metavar="HEX", help="Gateway key; others can see it in `ps`.")
@_keyring_options
@click.option("--localnet", is_flag=True, help="Fill node, keys and relayer from a running `up`.")
@click.option(
    "--dir", "directory", default=DEFAULT_DIRECTORY, type=click.Path(path_type=Path), help="Of `up`."
)
@click.option("--supplier", default="", help="Operator address.  [default: the session's first]")
@click.option(
    "--all-suppliers", "every_supplier", is_flag=True, help="Load test: the session's suppliers in turn."
)
@click.option(
    "--payload", default="", metavar="JSON", help="Body instead of the mode's default call; grpc: as JSON."
)
@click.option(
    "--path", default="/", show_default=True, help="Path at the service, gRPC method; not for websocket."
)
@click.option("--batches", default=0, type=click.IntRange(0), help="stream: events to ask the service for.")
@click.option("--load-test", is_flag=True, help="Send many relays and report percentiles.")
@click.option("-n", "--count", default=1, type=click.IntRange(0, 1_000_000), help="Relays of a load test.")
@click.option("--concurrency", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--rps", default=0.0, type=click.FloatRange(0, 10_000), help="Relays a second; 0: no limit.")
@click.option(
    "--timeout", default=120, show_default=True, type=click.IntRange(1, 3600), help="Seconds a relay."
)
@click.option("--simulate", is_flag=True, help="A simulated relay: needs keys pinned in the relayer's file.")
@click.option("--sim-key-id", default="", metavar="ID", help="Name of the pinned identity.")
@click.option("--sim-app-pubkey", default="", metavar="HEX", help="Pinned key.  [default: the application's]")
@click.option(
    "--sim-gateway-pubkeys", default="", metavar="HEX,HEX", help="Pinned keys.  [default: the gateway's]"
)
@click.option("--verbose", is_flag=True, help="Say on standard error what is asked and sent.")
@click.option("--json", "--output-json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def relay(context: click.Context, mode: str, as_json: bool, **options: Any) -> None:
    """Send signed relays as a gateway would, and verify who answered.

    MODE is jsonrpc, cometbft, websocket, stream or grpc. Session, suppliers and ring are read from the chain; the
    answer's signature and payload are checked against the supplier's account, those of a stream batch by batch.

    \b
    Example:
      pocket-relay-miner relay jsonrpc --localnet --service develop-http
      pocket-relay-miner relay jsonrpc --localnet --service develop-http --load-test -n 1000 --all-suppliers
      pocket-relay-miner relay websocket --localnet --service develop-http
      pocket-relay-miner relay stream --localnet --service develop-http --path /stream/sse --batches 3
      pocket-relay-miner relay grpc --localnet --service develop-http
      pocket-relay-miner relay jsonrpc --service eth --node grpc.example:9090 --keys-file keys.yaml \\
          --relayer-url https://relayer.example

    Exit code 0: every relay was served, signed and without error. 1: one was not.
    """
    _check_options(context, mode, options)
    if options["verbose"]:
        logs.configure(LoggingSection(level="debug", format="text"), "relay")
    try:
        target = _target(options)
        ok = _run(mode, target, as_json, options)
    except (PocketError, NotRunning) as error:
        raise click.ClickException(str(error)) from None
    context.exit(0 if ok else 1)


def _check_options(context: click.Context, mode: str, options: dict[str, Any]) -> None:
    given = context.get_parameter_source
    if mode == "stream" and options["load_test"]:
        raise click.UsageError("load test mode is not supported for streaming relays")
    if mode == "stream" and options["count"] > 1:
        raise click.UsageError("-n/--count does not apply to stream mode")
    if mode != "stream" and options["batches"]:
        raise click.UsageError("--batches only applies to stream mode")
    if not options["load_test"]:
        if options["count"] > 1:
            raise click.UsageError("-n/--count > 1 requires --load-test")
        if options["rps"]:
            raise click.UsageError("--rps requires --load-test")
        if given("concurrency") is click.core.ParameterSource.COMMANDLINE and options["concurrency"] > 1:
            raise click.UsageError("--concurrency requires --load-test")
    if options["every_supplier"] and options["supplier"]:
        raise click.UsageError("--supplier and --all-suppliers exclude each other")
    if options["keys_file"] and (options["app_priv_key"] or options["gateway_priv_key"]):
        raise click.UsageError("choose a single key source: --keys-file or --app-priv-key")
    if options["app_priv_key"] or options["gateway_priv_key"]:
        click.echo("warning: keys on the command line are visible to others; use --keys-file", err=True)
    if options["simulate"] and not options["supplier"]:
        raise click.UsageError("--simulate requires --supplier")
    if options["simulate"] and not options["sim_key_id"]:
        raise click.UsageError("--simulate requires --sim-key-id")
    if not options["service"]:
        raise click.UsageError("--service is required")


def _target(options: dict[str, Any]) -> Target:
    """Put the options together with what a running `up` says. Raises UsageError, NotRunning, PocketError."""
    run = read_run(options["directory"]) if options["localnet"] else None
    node = options["node"] or (run.grpc_address if run else "")
    if not node:
        raise click.UsageError("--node is required (or use --localnet)")
    if options["keys_file"]:
        keys = read_client_keys(options["keys_file"])
    elif options["app_priv_key"]:
        keys = client_keys_of_hex(options["app_priv_key"], options["gateway_priv_key"])
    elif run:
        keys = read_client_keys(run.client_keys_file)
    else:
        raise click.UsageError("an application key is required: --keys-file or --app-priv-key")
    return Target(
        node=node,
        grpc_tls=options["grpc_tls"],
        node_rpc=options["node_rpc"] or (run.rpc_url if run else ""),
        relayer_url=options["relayer_url"] or (run.relayer_url if run else "http://localhost:8080"),
        keys=keys,
        service=options["service"],
    )


def _run(mode: str, target: Target, as_json: bool, options: dict[str, Any]) -> bool:
    curve = load_curve()
    request = _request(mode, options)
    choose = all_suppliers if options["every_supplier"] else one_supplier(options["supplier"])
    with ExitStack() as stack:
        queries = ChainQueries(target.node, not target.grpc_tls, QUERY_TIMEOUT_S)
        stack.callback(queries.channels.close)
        node = CometNode(target.node_rpc) if target.node_rpc else None
        client = (_simulating_client if options["simulate"] else _client)(target, queries, curve, options)
        connection = _connection(mode, target, client, options["timeout"])
        if not options["load_test"]:
            return _send_one(client, connection, request, choose, latest_height(queries, node), as_json, mode)
        watch = stack.enter_context(HeightWatch(lambda: latest_height(queries, node)))
        plan = LoadPlan(
            request=request,
            relayer_url=target.relayer_url,
            choose_supplier=choose,
            count=options["count"],
            concurrency=options["concurrency"],
            per_second=options["rps"],
            timeout_s=options["timeout"],
        )
        return _send_many(LoadTest(client, plan, lambda: watch.height), as_json, options["count"])


def _client(target: Target, queries: ChainQueries, curve: Curve, _: dict[str, Any]) -> RelayClient:
    """Return a client for the first application of ours that is staked for the service."""
    addresses = target.keys.application_addresses(curve)
    position = choose_application(queries, addresses, target.service)
    source = SessionSource(queries, addresses[position], target.service)
    return RelayClient(source, target.keys.signing_key(position), curve)


def _simulating_client(
    target: Target, queries: ChainQueries, curve: Curve, options: dict[str, Any]
) -> RelayClient:
    """Return a client of simulated relays: keys pinned by the relayer, no session of the chain."""
    keys = target.keys
    application = _public_keys(options["sim_app_pubkey"]) or [keys.applications[0].public_key(curve)]
    gateways = _public_keys(options["sim_gateway_pubkeys"])
    if not gateways and keys.gateway:
        gateways = [keys.gateway.public_key(curve)]
    if not gateways:
        raise click.UsageError("--simulate requires a gateway key or --sim-gateway-pubkeys")
    source = SimulatedSessions(
        target.service, SupplierAddress(options["supplier"]), [*application, *gateways], queries.public_key
    )
    headers = {KEY_ID_HEADER: options["sim_key_id"]}
    return RelayClient(source, keys.signing_key(0), curve, headers)


def _public_keys(text: str) -> list[PublicKey]:
    """Read public keys, hex, separated by commas. Raises UsageError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        keys = [PublicKey(bytes.fromhex(part)) for part in parts]
    except ValueError:
        keys = [PublicKey(b"")]
    if any(len(key) != POINT_SIZE for key in keys):
        raise click.UsageError("a public key is 66 hex digits")
    return keys


def _request(mode: str, options: dict[str, Any]) -> InnerRequest:
    """Return what the service is asked. Raises UsageError."""
    if mode == "grpc" and not options["payload"]:
        return InnerRequest(mode, native_request(BLOCK_HEIGHT if options["path"] == "/" else options["path"]))
    body = options["payload"].encode() or default_body(MODES[mode])
    if mode != "stream":
        return json_request(mode, body, options["path"])
    try:
        return json_request(STREAM_TRANSPORT, stream_body(body, options["batches"]), options["path"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _connection(mode: str, target: Target, client: RelayClient, timeout_s: float) -> Connection:
    """Return a connection to the relayer, not open yet. Raises UsageError for a URL that is none."""
    url = target.relayer_url
    try:
        return client.connect(url, mode, timeout_s)
    except ValueError as error:
        raise click.UsageError(f"--relayer-url {redacted(url)}: {error}") from None


def _send_one(
    client: RelayClient,
    connection: Connection,
    request: InnerRequest,
    choose: ChooseSupplier,
    height: int,
    as_json: bool,
    mode: str,
) -> bool:
    diagnosis: Diagnosis | StreamDiagnosis
    try:
        if mode == "stream" and isinstance(connection, RelayerConnection):
            diagnosis = diagnose_stream(client, connection, request, choose, height)
        else:
            diagnosis = diagnose(client, connection, request, choose, height)
    finally:
        connection.close()
    for note in diagnosis.notes:
        click.echo(f"warning: {note}", err=True)
    click.echo(json.dumps(diagnosis.to_json()) if as_json else "\n".join(diagnosis.lines()))
    return diagnosis.ok


def _send_many(test: LoadTest, as_json: bool, count: int) -> bool:
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("relays", total=count, failed=0)

        def show(results: LoadResults) -> None:
            progress.update(task, completed=results.total, failed=results.failed)

        results = test.run(show)
    click.echo(json.dumps(results.to_json()) if as_json else "\n".join(results.lines()))
    return not results.failed and results.total == count
