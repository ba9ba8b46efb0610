"""`pocket-relay-miner doctor`: what would keep this machine from mining, asked of system, store, node and keys."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import structlog

from mining_tasks.config import CONFIG_VARIABLE, MinerConfig, load_miner_config
from mining_tasks.wiring import open_store
from operations.config_file import ConfigInvalid
from pocket_chain.keyring import Keyring
from pocket_chain.node import CometNode
from pocket_chain.node_errors import EntityNotFound
from pocket_chain.queries import ChainQueries
from pocket_protocol.coin import upokt_of
from pocket_protocol.curve import load_curve
from pocket_protocol.errors import PocketError
from relay_cli.validate.command import EXISTING, config_file_of
from relay_store.probe import memory_use, probe

ENOUGH_DESCRIPTORS = 8192
TOLERATED_SKEW_S = 10.0
OLD_BLOCK_BLOCKS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. `level` is ok, warning or error."""

    level: str
    text: str


@click.command()
@click.option("--config", type=EXISTING, help=f"The miner's file; else {CONFIG_VARIABLE} names it.")
@click.pass_context
def doctor(context: click.Context, config: Path | None) -> None:
    """Ask the system, the store, the node and the chain whether mining would work here.

    \b
    Example:
      pocket-relay-miner doctor --config miner.yaml

    Exit code 0: no errors (there may be warnings). 1: something has to be put right.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        loaded = load_miner_config(config_file_of(config, CONFIG_VARIABLE)).config
    except ConfigInvalid as invalid:
        raise click.ClickException(f"configuration is invalid:\n{invalid}") from None
    findings = list(examine(loaded))
    for finding in findings:
        click.echo(f"{finding.level:<8} {finding.text}")
    context.exit(1 if any(finding.level == "error" for finding in findings) else 0)


def examine(config: MinerConfig) -> Iterator[Finding]:
    """Yield what is found, check by check; a check that fails is a finding itself."""
    for what, check in (("system", _system), ("store", _store), ("node", _node), ("keys", _keys)):
        try:
            yield from check(config)
        except PocketError as error:
            yield Finding("error", f"{what}: {error}")


def _system(config: MinerConfig) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= ENOUGH_DESCRIPTORS
    text = f"system: {soft} open files allowed, at most {hard}"
    yield Finding(
        "ok" if enough else "warning", text + ("" if enough else f": raise the limit to {ENOUGH_DESCRIPTORS}")
    )
    yield Finding(
        "ok", f"system: curve backend {load_curve(config.extensions.allow_slow_python_crypto).name}"
    )


def _store(config: MinerConfig) -> Iterator[Finding]:
    store = open_store(config, "pocket-doctor")
    try:
        report, memory = probe(store), memory_use(store)
    finally:
        store.close()
    yield Finding("ok", f"store: {report.server}, {memory.share:.0%} of its memory limit used")
    for warning in report.warnings:
        yield Finding("warning", f"store: {warning}")
    if not memory.admits:
        yield Finding("error", "store: too full, no relay is admitted")


def _node(config: MinerConfig) -> Iterator[Finding]:
    section = config.pocket_node
    node = CometNode(section.rpc_url, float(section.query_timeout_seconds), section.chain_id)
    status = node.status()
    age_s = time.time() - status.position.time_ns / 1e9
    yield Finding("ok", f"node: {status.network} at height {status.position.height}, block {age_s:.0f} s old")
    if status.catching_up:
        yield Finding("error", "node: is catching up, its answers are about the past")
    if age_s > OLD_BLOCK_BLOCKS * config.block_time_seconds + TOLERATED_SKEW_S:
        yield Finding("error", f"node: no block for {age_s:.0f} s: it stands still, or this clock is fast")
    elif age_s < -TOLERATED_SKEW_S:
        yield Finding("error", f"node: the last block is {-age_s:.0f} s in the future: this clock is slow")


def _keys(config: MinerConfig) -> Iterator[Finding]:
    addresses = sorted(Keyring(config.keys, load_curve()).addresses)
    yield Finding("ok", f"keys: {len(addresses)} supplier key(s)")
    queries = ChainQueries.of(config.pocket_node, config.extensions.fallback_nodes)
    try:
        fee_upokt = int(upokt_of(queries.proof_params().proof_submission_fee))
        for address in addresses:
            yield from _supplier(queries, address, config, fee_upokt)
    finally:
        queries.channels.close()


def _supplier(queries: ChainQueries, address: str, config: MinerConfig, fee_upokt: int) -> Iterator[Finding]:
    try:
        services = {service.service_id for service in queries.supplier(address).services}
    except EntityNotFound:
        yield Finding("warning", f"keys: {address} is not staked; its key is held ready")
        return
    yield Finding("ok", f"keys: {address} is staked for {', '.join(sorted(services)) or 'nothing'}")
    balance = int(queries.balance(address))
    wanted = max(fee_upokt, config.balance_monitor.balance_threshold_upokt)
    if balance < wanted:
        level = "error" if balance < fee_upokt else "warning"
        yield Finding(level, f"keys: {address} has {balance:,} uPOKT; a proof costs {fee_upokt:,}")
