"""Sections that the relayer's and the miner's files share (spec/relayer.md §6.2, spec/miner.md §6.2, §7)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from operations.config_file import ConfigInvalid, Problem
from operations.setting import Remark, listen_address, setting, url_parts

STORE_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
)
GRPC_PREFIX = re.compile(r"^(?:grpcs?|https?|tcp)://")


@dataclass(frozen=True, slots=True)
class RedisNamespace:
    """Words of the reference's key names; each defaults on its own, so that no segment is ever empty."""

    base_prefix: str = setting("ha", blank_is_default=True, doc="first word of every key")
    cache_prefix: str = setting("cache", blank_is_default=True, doc="entity caches")
    events_prefix: str = setting("events", blank_is_default=True, doc="channels")
    streams_prefix: str = setting("relays", blank_is_default=True, doc="relay streams")
    miner_prefix: str = setting("miner", blank_is_default=True, doc="the reference miner's own keys")
    supplier_prefix: str = setting("supplier", blank_is_default=True, doc="supplier states")
    meter_prefix: str = setting("meter", blank_is_default=True, doc="relay meters")
    params_prefix: str = setting("params", blank_is_default=True, doc="legacy parameters")
    consumer_group_prefix: str = setting("miners", blank_is_default=True, doc="consumer group: <base>-<this>")

    def words(self) -> dict[str, str]:
        """Return the words under the names that the store's `Namespace` has for them."""
        return {
            "base": self.base_prefix,
            "cache": self.cache_prefix,
            "events": self.events_prefix,
            "streams": self.streams_prefix,
            "miner": self.miner_prefix,
            "supplier": self.supplier_prefix,
            "meter": self.meter_prefix,
            "params": self.params_prefix,
            "consumer_group": self.consumer_group_prefix,
        }

    def remarks(self) -> Iterator[Remark]:
        for name in self.__slots__:
            if re.search(r"[\s{}:*]", getattr(self, name)):
                yield Remark((name,), "must be one word without blanks, colons, braces or stars")


@dataclass(frozen=True, slots=True)
class RedisSection:
    """Where the relay data lives (spec/miner.md §6.5 for the URL forms)."""

    SUPERSEDED: ClassVar[dict[str, str]] = {
        "min_idle_conns": "connections open when first needed",
        "conn_max_idle_time_seconds": "a connection stays open until one side closes it",
        "claim_idle_timeout_ms": "beside miners of the reference an entry is taken over after 5 s",
    }

    url: str = setting("redis://localhost:6379", secret=True, blank_is_default=True, doc="the data store")
    pool_size: int = setting(50, minimum=0, blank_is_default=True, doc="connections of one process")
    pool_timeout_seconds: int = setting(4, minimum=0, blank_is_default=True, doc="wait for a free connection")
    namespace: RedisNamespace = field(default_factory=RedisNamespace)
    consumer_name: str = setting("", doc="name of this miner in leases of the reference; a token is appended")
    consumer_group: str = setting("", doc="consumer group of the relay streams; empty: from the namespace")

    @property
    def group(self) -> str:
        """The consumer group, `ha-miners` by default."""
        return self.consumer_group or f"{self.namespace.base_prefix}-{self.namespace.consumer_group_prefix}"

    @property
    def is_cluster(self) -> bool:
        return _scheme(self.url).endswith("-cluster")

    def remarks(self) -> Iterator[Remark]:
        yield from store_url_remarks(self.url, ("url",))


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """One full node: its CometBFT RPC and its gRPC endpoint."""

    query_node_rpc_url: str = setting("", required=True, secret=True, doc="CometBFT RPC, http(s)://host:port")
    query_node_grpc_url: str = setting("", required=True, doc="gRPC, host:port")
    grpc_insecure: bool = setting(False, doc="true: gRPC without TLS")

    @property
    def grpc_target(self) -> str:
        """The gRPC address without its scheme; TLS is decided by `grpc_insecure` alone."""
        return GRPC_PREFIX.sub("", self.query_node_grpc_url).rstrip("/")

    @property
    def rpc_url(self) -> str:
        """The RPC address with an HTTP scheme; `tcp://` is the form node configurations use."""
        return re.sub(r"^tcp://", "http://", self.query_node_rpc_url).rstrip("/")

    def remarks(self) -> Iterator[Remark]:
        parts = url_parts(self.rpc_url)
        usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname
        if self.query_node_rpc_url and not usable:
            yield Remark(("query_node_rpc_url",), "must be http://host:port or https://host:port")
        target = self.grpc_target
        if target and not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", target):
            yield Remark(("query_node_grpc_url",), "must be host:port")
        if self.query_node_grpc_url.startswith(("grpcs://", "https://")) and self.grpc_insecure:
            text = "the address asks for TLS but grpc_insecure is true: the connection is not encrypted"
            yield Remark(("query_node_grpc_url",), text, warning=True)


@dataclass(frozen=True, slots=True)
class PocketNodeSection(NodeAddresses):
    """The node that is asked first; `extensions.fallback_nodes` lists the others."""

    query_timeout_seconds: int = setting(
        5, minimum=1, maximum=60, blank_is_default=True, doc="deadline of one query"
    )
    chain_id: str = setting("pocket", blank_is_default=True, doc="network name, part of what is signed")


@dataclass(frozen=True, slots=True)
class KeyringSection:
    """The Cosmos keyring of the reference; read only to refuse it with a clear text."""

    backend: str = setting("", doc="refused: list the keys in keys_file")
    dir: str = setting("", doc="refused with it")
    app_name: str = setting("pocket", doc="refused with it")
    key_names: tuple[str, ...] = setting((), doc="refused with it")

    def remarks(self) -> Iterator[Remark]:
        if self.backend:
            yield Remark(
                ("backend",),
                "a Cosmos keyring is not read; export each key with `pocketd keys export NAME --unsafe"
                " --unarmored-hex` and list it in keys.keys_file",
            )


@dataclass(frozen=True, slots=True)
class MnemonicSection:
    """Many keys from one phrase: m/44'/118'/0'/0/i for i in from..to (spec/chain.md §2)."""

    file: str = setting("", doc="file that holds nothing but the phrase")
    first_index: int = setting(0, key="from", minimum=0, maximum=2**31 - 1, doc="first index")
    last_index: int = setting(0, key="to", minimum=0, maximum=2**31 - 1, doc="last index, inclusive")
    first_address: str = setting("", doc="address expected at the first index; proves the phrase is right")

    def remarks(self) -> Iterator[Remark]:
        if self.last_index < self.first_index:
            yield Remark(("to",), "must not be below `from`")
        if self.last_index - self.first_index >= 10_000:
            yield Remark(("to",), "a range holds at most 10000 keys")


@dataclass(frozen=True, slots=True)
class KeysSection:
    """Where the suppliers' signing keys come from (spec/miner.md §7.1)."""

    keys_file: str = setting("", doc='YAML file `keys: ["<64 hex>", ...]`')
    keys_dir: str = setting("", doc="directory of files {operator_address, private_key_hex}")
    mnemonic: MnemonicSection = field(default_factory=MnemonicSection)
    keyring: KeyringSection = field(default_factory=KeyringSection)

    @property
    def has_source(self) -> bool:
        return bool(self.keys_file or self.keys_dir or self.mnemonic.file)


@dataclass(frozen=True, slots=True)
class MetricsSection:
    """The Prometheus endpoint, served by a process of its own."""

    enabled: bool = setting(True, doc="serve metrics")
    addr: str = setting("0.0.0.0:9090", parse=listen_address, doc="where /metrics is served")


@dataclass(frozen=True, slots=True)
class LoggingSection:
    """Log lines on stderr."""

    SUPERSEDED: ClassVar[dict[str, str]] = {
        "output": "lines always go to stderr",
        "async": "a line is written when it happens; none is dropped",
        "async_buffer_size": "a line is written when it happens; none is dropped",
        "async_poll_interval": "a line is written when it happens; none is dropped",
        "async_poll_interval_ms": "a line is written when it happens; none is dropped",
    }

    level: Literal["trace", "debug", "info", "warn", "error"] = setting("info", doc="trace is debug")
    format: Literal["json", "text"] = setting("json", doc="of a line")
    enable_caller: bool = setting(False, doc="add file and line of the caller")
    sampling: bool = setting(False, doc="thin out repeated debug and info lines")
    sampling_initial: int = setting(100, minimum=1, doc="lines of one event kept each second")
    sampling_thereafter: int = setting(10, minimum=1, doc="then every n-th of the same second")


@dataclass(frozen=True, slots=True)
class SharedExtensions:
    """Settings of our own that both processes need; the namespace and the broker must be equal in both."""

    namespace: str = setting("pm:", blank_is_default=True, doc="prefix of our own keys")
    broker_url: str = setting("", secret=True, doc="Celery's broker; empty: the data store, next database")
    broker_prefix: str = setting("pm-celery:", blank_is_default=True, doc="prefix of all of Celery's keys")
    fallback_nodes: tuple[NodeAddresses, ...] = setting((), doc="asked when the first node is silent or lags")
    allow_slow_python_crypto: bool = setting(False, doc="sign and verify without libsecp256k1 (tests only)")
    state_dir: str = setting(
        "", doc="directory for metrics files and a miner's locks, one for each node; empty: temporary"
    )
    cache_entries: int = setting(
        4096,
        minimum=64,
        maximum=1_000_000,
        doc="sessions, applications and other facts of the chain, of each kind, that a process remembers",
    )


def broker_url(redis: RedisSection, extensions: SharedExtensions) -> str:
    """Return the broker's URL: the configured one, else the data store's with the next database number.

    The answer has the forms of `redis.url`; a Sentinel URL keeps its `redis-sentinel://` scheme. A Cluster
    has no second database and the broker's library cannot use one: `cluster_broker_remark` refuses it.
    """
    if extensions.broker_url:
        return extensions.broker_url
    parts = urlsplit(redis.url)
    sentinel = parts.scheme.endswith("-sentinel")
    if parts.scheme == "unix" or sentinel:
        pairs = [pair for pair in parts.query.split("&") if pair]
        database = next((int(p[3:]) for p in pairs if re.fullmatch(r"db=\d+", p)), 0)
        kept = [pair for pair in pairs if not pair.startswith("db=")]
        return redis.url.partition("?")[0] + "?" + "&".join([*kept, f"db={database + 1}"])
    pairs = [pair for pair in parts.query.split("&") if pair]
    named = [pair.removeprefix("db=") for pair in pairs if pair.startswith("db=")]
    number = (named or [parts.path.strip("/")])[0]
    database = int(number) if number.isdigit() else 0
    query = "&".join(pair for pair in pairs if not pair.startswith("db="))
    return urlunsplit(parts._replace(path=f"/{database + 1}", query=query))


def store_url_remarks(url: str, path: tuple[str, ...]) -> Iterator[Remark]:
    """Check a store's URL without ever showing it: it may hold a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        yield Remark(path, "is not a URL")
        return
    scheme = parts.scheme
    if scheme not in STORE_SCHEMES:
        yield Remark(path, f"unknown scheme {scheme!r} (valid: {', '.join(STORE_SCHEMES)})")
    elif scheme != "unix" and not parts.netloc.rpartition("@")[2]:
        yield Remark(path, "has no host")


def with_store_url(redis: RedisSection, url: str, source: str) -> RedisSection:
    """Return `redis` with another URL, e.g. from a command line; `source` names it in errors. Raises ConfigInvalid."""
    problems = tuple(Problem(source, 1, "", remark.text) for remark in store_url_remarks(url, ()))
    if problems:
        raise ConfigInvalid(problems)
    return dataclasses.replace(redis, url=url)


def _scheme(url: str) -> str:
    """The scheme of a store's URL, "" for what is none."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def cluster_broker_remark(redis: RedisSection, extensions: SharedExtensions) -> Iterator[Remark]:
    """Relay data may live on a Redis Cluster, Celery's queues may not."""
    if extensions.broker_url:
        scheme = _scheme(extensions.broker_url)
        if scheme.endswith("-cluster"):
            yield Remark(("extensions", "broker_url"), "Celery cannot use a Redis Cluster as its broker")
        elif scheme not in (*STORE_SCHEMES, "sentinel", "redis+socket"):
            yield Remark(("extensions", "broker_url"), f"unknown scheme {scheme!r}")
    elif redis.is_cluster:
        yield Remark(
            ("redis", "url"),
            "Celery cannot use a Redis Cluster as its broker: name a single Redis or a Sentinel in"
            " extensions.broker_url",
        )


def service_factor_remarks(factors: Mapping[str, float]) -> Iterator[Remark]:
    """A factor multiplies an application's stake; negative ones mean nothing."""
    for service, factor in factors.items():
        if factor < 0:
            yield Remark(("service_factors", service), "must not be negative")
