"""Sections both files share."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from operations.config_file import ConfigInvalid, bind
from operations.sections import (
    KeysSection,
    LoggingSection,
    NodeAddresses,
    RedisSection,
    SharedExtensions,
    broker_url,
    cluster_broker_remark,
    with_store_url,
)
from operations.setting import redacted


@dataclass(frozen=True, slots=True)
class File:
    redis: RedisSection = field(default_factory=RedisSection)
    keys: KeysSection = field(default_factory=KeysSection)
    logging: LoggingSection = field(default_factory=LoggingSection)
    extensions: SharedExtensions = field(default_factory=SharedExtensions)


def test_zero_and_empty_mean_the_default() -> None:
    text = "redis: {pool_size: 0, url: '', namespace: {base_prefix: '', cache_prefix: c}}"
    redis = bind(text, File).config.redis
    assert (redis.pool_size, redis.url, redis.namespace.base_prefix) == (50, "redis://localhost:6379", "ha")
    assert redis.namespace.cache_prefix == "c"
    assert redis.group == "ha-miners"
    assert bind("redis: {consumer_group: g}", File).config.redis.group == "g"


@pytest.mark.parametrize("url", ["http://:hunter2@h", "redis://:hunter2@", "hunter2", "redis://[hunter2"])
def test_a_bad_store_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        bind(f"redis: {{url: '{url}'}}", File)
    assert "redis.url" in str(caught.value) and "hunter2" not in str(caught.value)
    with pytest.raises(ConfigInvalid, match="--redis-url"):
        with_store_url(RedisSection(), url, "--redis-url")


@pytest.mark.parametrize("prefix", ["a b", "a:b", "{a}", "*"])
def test_namespace_words_are_single_words(prefix: str) -> None:
    with pytest.raises(ConfigInvalid, match="one word"):
        bind(f"redis: {{namespace: {{miner_prefix: '{prefix}'}}}}", File)


@pytest.mark.parametrize(
    ("store", "broker"),
    [
        ("redis://h:1", "redis://h:1/1"),
        ("redis://:p@h:1/4", "redis://:p@h:1/5"),
        ("rediss://h/0?x=1", "rediss://h/1?x=1"),
        ("redis://h?db=4", "redis://h/5"),
        ("unix:///s?db=2", "unix:///s?db=3"),
        ("redis-sentinel://:p@a:1,b:2/m?db=3", "redis-sentinel://:p@a:1,b:2/m?db=4"),
        ("redis-sentinel://a/m", "redis-sentinel://a/m?db=1"),
    ],
)
def test_the_broker_has_a_database_of_its_own(store: str, broker: str) -> None:
    assert broker_url(RedisSection(url=store), SharedExtensions()) == broker
    assert broker_url(RedisSection(url=store), SharedExtensions(broker_url="redis://b")) == "redis://b"


@pytest.mark.parametrize(
    ("rpc", "grpc", "expected"),
    [
        ("tcp://h:26657", "https://h:9090", ("http://h:26657", "h:9090")),
        ("https://h/", "grpc://[::1]:9", ("https://h", "[::1]:9")),
    ],
)
def test_node_addresses_lose_their_schemes(rpc: str, grpc: str, expected: tuple[str, str]) -> None:
    node = NodeAddresses(rpc, grpc)
    assert (node.rpc_url, node.grpc_target) == expected
    assert not [remark for remark in node.remarks() if not remark.warning]


def test_node_addresses_are_checked() -> None:
    remarks = list(NodeAddresses("ftp://h", "h").remarks())
    assert [remark.path for remark in remarks] == [("query_node_rpc_url",), ("query_node_grpc_url",)]
    assert next(iter(NodeAddresses("http://h", "https://h:1", True).remarks())).warning


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999", "http://h:x", "http://:80"])
def test_what_is_no_address_is_a_finding_not_a_crash(url: str) -> None:
    paths = [remark.path for remark in NodeAddresses(url, "h:1").remarks()]
    assert paths == [("query_node_rpc_url",)]


def test_a_store_that_is_no_url_is_a_finding_not_a_crash() -> None:
    store = RedisSection(url="redis-cluster://[::1")
    assert [remark.path for remark in store.remarks()] == [("url",)]
    for url in ("redis://[::1", "http://h", "redis-cluster://h"):
        remarks = list(cluster_broker_remark(RedisSection(), SharedExtensions(broker_url=url)))
        assert [remark.path for remark in remarks] == [("extensions", "broker_url")]
    assert list(cluster_broker_remark(store, SharedExtensions())) == []


def test_a_cosmos_keyring_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigInvalid, match="keys_file"):
        bind("keys: {keyring: {backend: test}}", File)


def test_a_mnemonic_range_is_checked() -> None:
    with pytest.raises(ConfigInvalid, match="below `from`"):
        bind("keys: {mnemonic: {file: f, from: 2, to: 1}}", File)
    with pytest.raises(ConfigInvalid, match="at most 10000"):
        bind("keys: {mnemonic: {file: f, from: 0, to: 10000}}", File)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hush@h:1/2", "redis://:***@h:1/2"),
        ("https://u@h/p?key=hush", "https://***@h/p?***"),
        ("http://h", "http://h"),
        ("http://[bad", "<unreadable URL>"),
    ],
)
def test_redaction(url: str, shown: str) -> None:
    assert redacted(url) == shown
