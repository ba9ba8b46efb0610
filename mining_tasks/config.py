"""The miner's configuration file (spec/miner.md §7). `load_miner_config` is the only way in.

What the reference's trees, per-replica leases and worker pools needed tuning for does not exist here: those keys
are accepted, named as superseded and not used (decisions.md E, J).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from operations.config_file import Loaded, load
from operations.overrides import with_overrides
from operations.sections import (
    KeysSection,
    LoggingSection,
    MetricsSection,
    PocketNodeSection,
    RedisSection,
    SharedExtensions,
    cluster_broker_remark,
    service_factor_remarks,
    store_url_remarks,
)
from operations.setting import Remark, duration_s, listen_address, setting, shown
from pocket_protocol.gas import BadGasPrice, GasPrice, parse_gas_price

CONFIG_VARIABLE = "POCKET_MINER_CONFIG"
_CONCURRENCY = "extensions.concurrency sets the number of worker processes"
_INCLUSION = "what a transaction did is always read from the chain; extensions.concurrency bounds the work"


def _gas_price(text: str) -> GasPrice:
    try:
        return parse_gas_price(text)
    except BadGasPrice:
        raise ValueError(f"{shown(text)} is not a gas price (write 0.000001upokt)") from None


@dataclass(frozen=True, slots=True)
class TransactionSection:
    """How claims and proofs are sent (spec/miner.md §4.3)."""

    SUPERSEDED: ClassVar[dict[str, str]] = {
        "disable_pre_proof_claim_verification": "a claim is always read back before its proof is sent",
        "disable_inclusion_reconciler": _INCLUSION,
        "inclusion_reconciler_max_concurrent": _INCLUSION,
        "inclusion_reconciler_per_group_timeout_ms": _INCLUSION,
        "tx_timeout_default_seconds": "a transaction lives until its window's end, within minimum and maximum",
    }

    gas_limit: int = setting(0, minimum=0, doc="0: simulate each transaction")
    gas_price: GasPrice = setting(  # noqa: RUF009
        parse_gas_price("0.000001upokt"), parse=_gas_price, doc="e.g. 0.000001upokt"
    )
    gas_adjustment: float = setting(1.7, minimum=0, blank_is_default=True, doc="simulated gas times this")
    disable_claim_batching: bool = setting(False, doc="one claim per transaction")
    disable_proof_batching: bool = setting(False, doc="one proof per transaction")
    tx_timeout_min_seconds: int = setting(
        120, minimum=1, blank_is_default=True, doc="a transaction lives at least so long"
    )
    tx_timeout_max_seconds: int = setting(
        590, minimum=1, maximum=599, blank_is_default=True, doc="and at most; the chain's limit is 600"
    )
    tx_timeout_clock_skew_buffer_seconds: int = setting(60, minimum=0, doc="taken off before clamping")
    max_rebroadcasts: int = setting(1, minimum=0, maximum=16, doc="0: observe only")
    rebroadcast_safety_blocks: int = setting(1, minimum=0, doc="no new bytes this close to a window's end")

    def remarks(self) -> Iterator[Remark]:
        if self.tx_timeout_min_seconds > self.tx_timeout_max_seconds:
            yield Remark(("tx_timeout_min_seconds",), "must not be above tx_timeout_max_seconds")
        if 0 < self.gas_adjustment < 1:
            yield Remark(("gas_adjustment",), "below 1 every transaction runs out of gas")
        for name in ("disable_claim_batching", "disable_proof_batching"):
            if getattr(self, name):
                yield Remark((name,), "costs one fee per session instead of one per batch", warning=True)


@dataclass(frozen=True, slots=True)
class BalanceMonitorSection:
    """Warnings about operators' balances and suppliers' stakes."""

    enabled: bool = setting(True, doc="look at them")
    check_interval_seconds: int = setting(300, minimum=1, blank_is_default=True, doc="between two looks")
    balance_threshold_upokt: int = setting(1_000_000, minimum=0, doc="below it a warning")
    stake_warning_proof_threshold: int = setting(
        10, minimum=0, doc="missing proofs the stake must survive, else a warning"
    )
    stake_critical_proof_threshold: int = setting(3, minimum=0, doc="the same, else an error")


@dataclass(frozen=True, slots=True)
class BlockHealthMonitorSection:
    """Warns when blocks take longer than they should."""

    enabled: bool = setting(False, doc="warn")
    slowness_threshold: float = setting(1.5, minimum=0, blank_is_default=True, doc="times block_time_seconds")


@dataclass(frozen=True, slots=True)
class MinerMetricsSection(MetricsSection):
    """The miner's endpoint has a default port of its own."""

    addr: str = setting("0.0.0.0:9092", parse=listen_address, doc="where /metrics is served")


@dataclass(frozen=True, slots=True)
class MinerExtensions(SharedExtensions):
    """Settings of our own (decisions.md A-F)."""

    concurrency: int = setting(
        0, minimum=0, maximum=1024, doc="worker processes of this node; 0: one per core"
    )
    mixed_fleet: bool = setting(False, doc="work beside miners of the reference")
    redlock_urls: tuple[str, ...] = setting((), secret=True, doc="N independent stores for the leases")
    lease_ttl_ms: int = setting(3000, minimum=1000, maximum=60000, doc="a supplier's lease")
    lease_renew_ms: int = setting(1000, minimum=100, maximum=20000, doc="how often it is renewed")
    rebalance_interval_seconds: int = setting(5, minimum=1, doc="how often suppliers are shared out anew")
    foreign_miner_check_seconds: int = setting(10, minimum=1, doc="look for miners of the reference")
    batch_linger_ms: int = setting(
        250, minimum=0, maximum=1000, doc="relays of a supplier gather so long between two tasks"
    )
    task_slice_seconds: int = setting(20, minimum=1, maximum=60, doc="longest time of one task")
    visibility_timeout_seconds: int = setting(90, minimum=60, maximum=3600, doc="a lost task's redelivery")
    settle_seconds: float = setting(2.0, minimum=0, maximum=60, doc="wait after the claim window opens")
    max_tx_bytes: int = setting(524_288, minimum=65_536, maximum=1_048_576, doc="a batch is split above")
    claim_unprofitable_sessions: bool = setting(False, doc="send claims worth less than their fees")
    cache_refresh_blocks: int = setting(
        4, minimum=0, maximum=1000, doc="how often relayers' caches are brought up to date; 0: never"
    )

    @property
    def process_count(self) -> int:
        return self.concurrency or len(os.sched_getaffinity(0))

    def remarks(self) -> Iterator[Remark]:
        if self.lease_renew_ms * 2 > self.lease_ttl_ms:
            yield Remark(("lease_renew_ms",), "must be at most half of lease_ttl_ms")
        if self.task_slice_seconds * 2 > self.visibility_timeout_seconds:
            yield Remark(("task_slice_seconds",), "must be at most half of visibility_timeout_seconds")
        if self.redlock_urls and len(self.redlock_urls) % 2 == 0:
            yield Remark(("redlock_urls",), "an even number of stores tolerates no more failures", True)
        for index, url in enumerate(self.redlock_urls):
            yield from store_url_remarks(url, ("redlock_urls", f"[{index}]"))


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """The whole file."""

    SUPERSEDED: ClassVar[dict[str, str]] = {
        "pprof": "no profiler is opened; `py-spy dump --pid PID` shows a running process",
        "deduplication_ttl_blocks": "each relay is one leaf; duplicates are found in the tree itself",
        "ack_batch_size": "entries are acknowledged in the transaction that stores their leaves",
        "session_ttl": "sessions live until they are settled, and their records for seven days more",
        "submission_tracking_ttl": "what was sent stands in the session's record",
        "settlement_monitor": "every settlement is read: the ledger needs it",
        "smst_live_root_checkpoint_interval": "every batch is durable when it is acknowledged",
        "leader_election": "the beat schedule holds its own lease; a replica takes over within seconds",
        "supplier_claiming": "leases follow extensions.lease_ttl_ms, lease_renew_ms, rebalance_interval_seconds",
        "session_lifecycle": _CONCURRENCY,
        "worker_pools": _CONCURRENCY,
        "suppliers": "suppliers follow from the keys and the chain",
    }

    redis: RedisSection = field(default_factory=RedisSection)
    pocket_node: PocketNodeSection = field(default_factory=PocketNodeSection)
    keys: KeysSection = field(default_factory=KeysSection)
    transaction: TransactionSection = field(default_factory=TransactionSection)
    metrics: MinerMetricsSection = field(default_factory=MinerMetricsSection)
    logging: LoggingSection = field(default_factory=LoggingSection)
    known_applications: tuple[str, ...] = setting(
        (), doc="kept fresh in relayers' caches, beside those relays come for"
    )
    batch_size: int = setting(
        1000, minimum=1, maximum=1000, blank_is_default=True, doc="entries read at once"
    )
    hot_reload_enabled: bool = setting(True, doc="follow changes of the key files")
    cache_ttl_s: float = setting(
        7200.0, key="cache_ttl", parse=duration_s, minimum=60, doc="of the service factors told to relayers"
    )
    supplier_reconcile_interval_seconds: int = setting(
        60, minimum=1, blank_is_default=True, doc="how often suppliers' documents are written anew"
    )
    balance_monitor: BalanceMonitorSection = field(default_factory=BalanceMonitorSection)
    block_time_seconds: float = setting(30.0, minimum=0.1, doc="mainnet and testnet 30")
    block_health_monitor: BlockHealthMonitorSection = field(default_factory=BlockHealthMonitorSection)
    default_service_factor: float = setting(
        0.0, minimum=0, doc="limit = application stake x factor; 0: the chain's"
    )
    service_factors: Mapping[str, float] = setting(factory=dict, doc="the same for single services")
    extensions: MinerExtensions = field(default_factory=MinerExtensions)

    def remarks(self) -> Iterator[Remark]:
        if not self.keys.has_source and not self.keys.keyring.backend:
            yield Remark(("keys",), "at least one key source is required: keys_file, keys_dir or mnemonic")
        yield from service_factor_remarks(self.service_factors)
        yield from cluster_broker_remark(self.redis, self.extensions)


def load_miner_config(path: str | Path, *, strict: bool = False) -> Loaded[MinerConfig]:
    """Read the miner's file, and what the command line said over it. Raises ConfigInvalid."""
    loaded = load(path, MinerConfig, strict=strict)
    return dataclasses.replace(loaded, config=with_overrides(loaded.config))
