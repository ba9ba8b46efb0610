"""A miner process wired from its configuration: what its tasks work with.

Built in each worker process after the fork: connections, gRPC channels and the curve's blinding are never shared.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mining_tasks.accounts import Accounts
from mining_tasks.accumulate import BACKLOG_SLICE_S, Accumulation, Limits
from mining_tasks.comet_nodes import CometNodes
from mining_tasks.config import MinerConfig
from mining_tasks.held_keys import HeldKeys
from mining_tasks.metrics import MinerMetrics
from mining_tasks.miner_facts import MinerFacts
from operations.sections import RedisSection, SharedExtensions
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_chain.transactions import Transactions
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import SupplierAddress
from relay_store.block_feed import BlockFeed
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.known_entities import APPLICATIONS, SERVICES, KnownEntities
from relay_store.namespace import Namespace
from relay_store.probe import StoreReport, probe


def keys_of(redis: RedisSection, extensions: SharedExtensions) -> Keys:
    """Return the key names of a configuration."""
    return Keys(Namespace(**redis.namespace.words(), own=extensions.namespace))


def open_store(config: MinerConfig, client_name: str) -> Store:
    """Connect to the configured data store. Raises `StoreUrlInvalid`, `StoreUnavailable` (Cluster)."""
    redis = config.redis
    return connect(
        redis.url,
        pool_size=redis.pool_size,
        pool_wait_s=redis.pool_timeout_seconds,
        client_name=client_name,
    )


def curve_of(config: MinerConfig) -> Curve:
    """Load the curve with fresh blinding. Raises `NoCurve`."""
    curve = load_curve(config.extensions.allow_slow_python_crypto)
    curve.randomize(secrets.token_bytes(32))
    return curve


def comet_nodes(config: MinerConfig) -> CometNodes:
    """Return the CometBFT RPC of the configured node and its fallbacks."""
    node = config.pocket_node
    timeout_s = float(node.query_timeout_seconds)
    nodes = (node, *config.extensions.fallback_nodes)
    return CometNodes([CometNode(one.rpc_url, timeout_s, node.chain_id) for one in nodes])


def state_directory(config: MinerConfig) -> Path:
    """Return the directory for files that are of no value after the node."""
    return Path(config.extensions.state_dir or tempfile.gettempdir())


def lock_directory(config: MinerConfig, token: str) -> Path:
    """Return the directory of a node's locks: its own, since another node's process may be stopped in one."""
    return state_directory(config) / f"pocket-miner-locks-{token[:8]}"


@dataclass
class Miner:
    """Everything a task needs. `token` is the node's owner token: every write is fenced by it."""

    config: MinerConfig
    token: str
    store: Store
    keys: Keys
    report: StoreReport
    curve: Curve
    queries: ChainQueries
    node: CometNodes
    transactions: Transactions
    signing_keys: Callable[[], Mapping[SupplierAddress, PrivateKey]]
    facts: MinerFacts
    accounts: Accounts
    accumulation: Accumulation
    metrics: MinerMetrics
    monotonic: Callable[[], float] = time.monotonic
    now_s: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def build_miner(config: MinerConfig, token: str, held: HeldKeys, metrics: MinerMetrics) -> Miner:
    """Wire one process. Raises `NoCurve`, `StoreUnavailable`."""
    curve = curve_of(config)
    keys = keys_of(config.redis, config.extensions)
    store = open_store(config, "pocket-miner")
    report = probe(store)
    queries = ChainQueries.of(config.pocket_node, config.extensions.fallback_nodes)
    node = comet_nodes(config)
    feed = BlockFeed(store.client, height_key=keys.height())
    facts = MinerFacts(
        queries,
        feed,
        metrics.count_cache,
        _noting(store, keys),
        limit=config.extensions.cache_entries,
    )
    return Miner(
        config=config,
        token=token,
        store=store,
        keys=keys,
        report=report,
        curve=curve,
        queries=queries,
        node=node,
        transactions=Transactions(queries.channels, node),
        signing_keys=lambda: held.signing,
        facts=facts,
        accounts=Accounts(queries),
        accumulation=_accumulation(config, token, store, keys, report, facts),
        metrics=metrics,
    )


def _noting(store: Store, keys: Keys) -> Callable[[str, str], None]:
    """What notes the applications and services relays come for, whose caches are then kept fresh."""
    applications, services = (KnownEntities(store, keys, kind) for kind in (APPLICATIONS, SERVICES))

    def met(application: str, service: str) -> None:
        applications.note((application,))
        services.note((service,))

    return met


def _accumulation(
    config: MinerConfig, token: str, store: Store, keys: Keys, report: StoreReport, facts: MinerFacts
) -> Accumulation:
    extensions = config.extensions
    return Accumulation(
        store=store,
        keys=keys,
        token=token,
        lookup=facts,
        lock_dir=lock_directory(config, token),
        limits=Limits(
            batch_entries=config.batch_size,
            linger_s=extensions.batch_linger_ms / 1000,
            slice_s=min(BACKLOG_SLICE_S, float(extensions.task_slice_seconds)),
        ),
        consumer_group=config.redis.consumer_group,
        mixed_fleet=extensions.mixed_fleet,
        xackdel="XACKDEL" in report.commands,
    )
