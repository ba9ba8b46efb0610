"""The miner's file (spec/miner.md §7), and ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from mining_tasks.config import MinerConfig, load_miner_config
from operations.config_file import ConfigInvalid, bind
from operations.overrides import Overrides
from pocket_protocol.gas import GasPrice
from tests import recorded

HEAD = "pocket_node: {query_node_rpc_url: 'http://h:1', query_node_grpc_url: 'h:2'}\nkeys: {keys_file: k}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        bind(text, MinerConfig)
    return [f"{problem.key}: {problem.text}" for problem in caught.value.problems]


@recorded.needs_recordings
def test_the_captured_file_loads() -> None:
    loaded = load_miner_config(recorded.path("localnet/miner1.yaml"))
    assert loaded.config.block_time_seconds == 2
    assert loaded.config.transaction.gas_price == GasPrice(10**12)
    assert (loaded.config.transaction.gas_adjustment, loaded.config.transaction.tx_timeout_min_seconds) == (
        2.5,
        6,
    )
    assert [warning.key for warning in loaded.warnings] == [
        "redis.claim_idle_timeout_ms", "settlement_monitor", "session_lifecycle", "worker_pools",
        "leader_election", "deduplication_ttl_blocks",
        "transaction.tx_timeout_default_seconds", "pprof", "logging.async", "logging.async_buffer_size",
        "logging.output",
    ]  # fmt: skip


def test_the_shipped_example_loads_without_a_word() -> None:
    example = Path(__file__).parents[3] / "deploy" / "config" / "miner.yaml"
    assert load_miner_config(example, strict=True).warnings == ()


def test_defaults_are_the_references() -> None:
    c = bind(HEAD, MinerConfig).config
    t = c.transaction
    assert (c.metrics.addr, c.batch_size, c.block_time_seconds, c.cache_ttl_s) == (
        "0.0.0.0:9092",
        1000,
        30,
        7200,
    )
    assert (t.gas_limit, t.gas_price, t.gas_adjustment) == (0, GasPrice(10**12), 1.7)
    assert (t.tx_timeout_min_seconds, t.tx_timeout_max_seconds) == (120, 590)
    assert (t.tx_timeout_clock_skew_buffer_seconds, t.max_rebroadcasts, t.rebroadcast_safety_blocks) == (
        60,
        1,
        1,
    )
    assert (c.pocket_node.chain_id, c.pocket_node.query_timeout_seconds) == ("pocket", 5)
    b = c.balance_monitor
    assert (b.enabled, b.check_interval_seconds, b.balance_threshold_upokt) == (True, 300, 1_000_000)
    assert (b.stake_warning_proof_threshold, b.stake_critical_proof_threshold) == (10, 3)
    assert c.supplier_reconcile_interval_seconds == 60
    assert (c.redis.group, c.extensions.namespace) == ("ha-miners", "pm:")
    assert (c.extensions.lease_ttl_ms, c.extensions.lease_renew_ms, c.extensions.mixed_fleet) == (
        3000,
        1000,
        False,
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD.replace("keys_file: k", ""), "keys: at least one key source is required"),
        (
            HEAD.replace("keys_file: k", "keyring: {backend: file}"),
            "keys.keyring.backend: a Cosmos keyring is not",
        ),
        (HEAD + "transaction: {gas_price: 1pokt}", "transaction.gas_price: '1pokt' is not a gas price"),
        (HEAD + "transaction: {gas_adjustment: 0.5}", "runs out of gas"),
        (HEAD + "transaction: {tx_timeout_max_seconds: 600}", "must be at most 599"),
        (
            HEAD + "transaction: {tx_timeout_min_seconds: 200, tx_timeout_max_seconds: 100}",
            "must not be above",
        ),
        (HEAD + "cache_ttl: 7200", "(did you mean 7200s?)"),
        (HEAD + "service_factors: {a: -1}", "service_factors.a: must not be negative"),
        (
            HEAD + "extensions: {lease_ttl_ms: 1500, lease_renew_ms: 1000}",
            "must be at most half of lease_ttl_ms",
        ),
        (
            HEAD + "extensions: {task_slice_seconds: 60, visibility_timeout_seconds: 60}",
            "at most half of visib",
        ),
        (
            HEAD + "extensions: {redlock_urls: ['http://:hush@x']}",
            "extensions.redlock_urls[0]: unknown scheme",
        ),
        (HEAD + "redis: {url: 'redis-cluster://a'}", "extensions.broker_url"),
        (HEAD + "block_time_seconds: 0", "must be at least 0.1"),
        (HEAD + "supplier_reconcile_interval_seconds: -1", "must be at least 1"),  # T18
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    found = problems(text)
    assert any(problem in one for one in found), found
    assert not any("hush" in one for one in found)


def test_every_retired_setting_says_what_replaces_it() -> None:
    retired = [
        "deduplication_ttl_blocks: 10", "ack_batch_size: 50", "session_ttl: 24h", "suppliers: [{x: 1}]",
        "smst_live_root_checkpoint_interval: 1", "leader_election: {leader_ttl_seconds: 30}",
        "supplier_claiming: {claim_ttl_seconds: 90}", "session_lifecycle: {}", "worker_pools: {}",
        "transaction: {disable_inclusion_reconciler: true, disable_pre_proof_claim_verification: true}",
        "redis: {min_idle_conns: 1, conn_max_idle_time_seconds: 9, claim_idle_timeout_ms: 9}",
        "submission_tracking_ttl: 24h", "settlement_monitor: {enabled: true}",
    ]  # fmt: skip
    loaded = bind(HEAD + "\n".join(retired), MinerConfig)
    assert len(loaded.warnings) == 16
    assert all(warning.text.startswith("is not used: ") for warning in loaded.warnings)


def test_even_redlock_counts_and_unbatched_transactions_are_warned_about() -> None:
    text = (
        HEAD
        + "extensions: {redlock_urls: ['redis://a', 'redis://b']}\ntransaction: {disable_proof_batching: true}"
    )
    assert [warning.key for warning in bind(text, MinerConfig).warnings] == [
        "extensions.redlock_urls",
        "transaction.disable_proof_batching",
    ]


def test_the_command_line_overrides_store_group_and_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.yaml").write_text(HEAD)
    said = Overrides("redis://x/3", "g", "n", "keys.yaml", "keys.d")
    for variable, value in said.environment().items():
        monkeypatch.setenv(variable, value)
    config = load_miner_config(tmp_path / "m.yaml").config
    assert (config.redis.url, config.redis.group, config.redis.consumer_name) == ("redis://x/3", "g", "n")
    assert (config.keys.keys_file, config.keys.keys_dir) == ("keys.yaml", "keys.d")
    assert "redis://x" not in repr(said)
