"""The relayer's configuration file (spec/relayer.md §6). `load_relayer_config` is the only way in.

Differences from the reference, all on the safe side: validation is eager unless a service says otherwise
(decisions.md D3), the profiler is never opened, `IPv4:port` works as a backend address, and a body limit is a
positive number.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

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
)
from operations.setting import Remark, duration_s, listen_address, setting
from relayer_web.config_backends import TRANSPORTS, BackendConfig, backend_type_remark
from relayer_web.config_simulation import SimulationSection
from relayer_web.config_tracing import TracingSection

CONFIG_VARIABLE = "POCKET_RELAYER_CONFIG"
DEFAULT_TIMEOUT_PROFILE = "fast"
DEFAULT_MAX_BODY_BYTES = 10_485_760
_NOT_A_PROFILER = "no profiler is opened; `py-spy dump --pid PID` shows a running process"


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """One service: how its relays are checked and where they go. Empty values mean the global one."""

    validation_mode: Literal["eager", "optimistic"] | None = setting(
        None, doc="empty: default_validation_mode"
    )
    timeout_profile: str = setting(
        DEFAULT_TIMEOUT_PROFILE, blank_is_default=True, doc="one of timeout_profiles"
    )
    pool_profile: str = setting("", doc="empty: http_transport")
    max_body_size_bytes: int = setting(0, minimum=0, doc="0: default_max_body_size_bytes")
    default_backend: Literal["jsonrpc", "rest", "websocket", "grpc", "cometbft"] = setting(
        "jsonrpc", doc="backend of relays without an Rpc-Type"
    )
    backends: Mapping[str, BackendConfig] = setting(factory=dict, doc="by transport")

    def remarks(self) -> Iterator[Remark]:
        if not self.backends:
            yield Remark(("backends",), "is required: at least one backend type must be configured")
            return
        for transport, backend in self.backends.items():
            if transport not in TRANSPORTS:
                yield backend_type_remark(transport)
            else:
                yield from backend.remarks_as(transport)
        if self.default_backend not in self.backends:
            text = f"no backend for the default type {self.default_backend}: relays without Rpc-Type get 503"
            yield Remark(("default_backend",), text, warning=True)


@dataclass(frozen=True, slots=True)
class TimeoutProfile:
    """Time-outs towards backends. A profile in the file replaces the whole default one of that name."""

    SUPERSEDED: ClassVar[dict[str, str]] = {"name": "the key of the profile is its name"}

    request_timeout_seconds: int = setting(0, minimum=0, doc="0: default_request_timeout_seconds")
    response_header_timeout_seconds: int = setting(0, minimum=0, doc="0: none")
    dial_timeout_seconds: int = setting(0, minimum=0, doc="0: http_transport")
    tls_handshake_timeout_seconds: int = setting(0, minimum=0, doc="0: http_transport")


@dataclass(frozen=True, slots=True)
class PoolProfile:
    """Connections to the backends of one service; 0 inherits http_transport."""

    SUPERSEDED: ClassVar[dict[str, str]] = {"name": "the key of the profile is its name"}

    max_conns_per_host: int = setting(0, minimum=0, doc="0: http_transport")
    max_idle_conns_per_host: int = setting(0, minimum=0, doc="0: http_transport")
    idle_conn_timeout_seconds: int = setting(0, minimum=0, doc="0: http_transport")


@dataclass(frozen=True, slots=True)
class HttpTransportSection:
    """HTTP connections to backends; 0 means the default."""

    SUPERSEDED: ClassVar[dict[str, str]] = {
        "max_idle_conns": "max_idle_conns_per_host bounds them",
        "response_header_timeout_seconds": "each timeout profile has its own",
        "expect_continue_timeout_seconds": "no request to a backend waits for 100 Continue",
        "disable_compression": "backends are always asked for plain answers",
    }

    max_idle_conns_per_host: int = setting(
        100, minimum=0, blank_is_default=True, doc="kept open while unused, per process"
    )
    max_conns_per_host: int = setting(
        500, minimum=0, blank_is_default=True, doc="open at a time, per process; more requests wait"
    )
    idle_conn_timeout_seconds: int = setting(
        90, minimum=0, blank_is_default=True, doc="an unused connection's end"
    )
    dial_timeout_seconds: int = setting(5, minimum=0, blank_is_default=True, doc="to connect")
    tls_handshake_timeout_seconds: int = setting(10, minimum=0, blank_is_default=True, doc="after connecting")
    tcp_keep_alive_seconds: int = setting(
        30, minimum=0, blank_is_default=True, doc="idle time before TCP asks"
    )


@dataclass(frozen=True, slots=True)
class HealthCheckSection:
    """The relayer's own health endpoints."""

    enabled: bool = setting(True, doc="serve them")
    addr: str = setting("0.0.0.0:8081", parse=listen_address, doc="where; no relays are taken there")


@dataclass(frozen=True, slots=True)
class CacheWarmupSection:
    """What is asked of the chain before the first relay needs it."""

    enabled: bool = setting(True, doc="ask before the first relay, and at each session's first block")
    known_applications: tuple[str, ...] = setting(
        (), doc="beside those relayers have served in the last week"
    )
    warmup_concurrency: int = setting(10, minimum=1, blank_is_default=True, doc="applications at a time")
    warmup_timeout_seconds: int = setting(
        5, minimum=1, blank_is_default=True, doc="an application that takes longer is logged"
    )


@dataclass(frozen=True, slots=True)
class RelayMeterSection:
    """Metering of each application's stake (spec/relayer.md §3)."""

    enabled: bool = setting(True, doc="charge each session's budget")
    redis_key_prefix: str = setting("ha", blank_is_default=True, doc="first word of the meter's keys")
    fail_behavior: Literal["open", "closed"] = setting("open", doc="when a price cannot be known")
    cache_ttl_s: float = setting(7200.0, key="cache_ttl", parse=duration_s, minimum=60, doc="life of a meter")


@dataclass(frozen=True, slots=True)
class ResponseCompressionSection:
    """gzip of answers to gateways that accept it."""

    enabled: bool = setting(False, doc="compress")
    min_size_bytes: int = setting(1024, minimum=0, doc="smaller answers stay plain")


@dataclass(frozen=True, slots=True)
class RelayerExtensions(SharedExtensions):
    """Settings of our own (decisions.md D)."""

    workers: int = setting(0, minimum=0, maximum=1024, doc="front-end processes; 0: one per core")
    worker_connections: int = setting(
        2000, minimum=1, doc="connections of one front-end process; fewer when open files are too few"
    )
    grpc_workers: int = setting(1, minimum=0, maximum=256, doc="gRPC processes; 0: no gRPC")
    grpc_threads: int = setting(128, minimum=1, maximum=1024, doc="relays a gRPC process works on at once")
    grpc_listen_addr: str = setting(
        "", doc="also reach the gRPC processes here; empty: by the relay port only"
    )
    strict_signatures: bool = setting(False, doc="refuse unusual ring signature bytes the chain accepts")
    max_ring_size: int = setting(32, minimum=2, maximum=1024, doc="largest ring verified")
    refuse_placeholder_rings: bool = setting(False, doc="refuse relays of applications without gateways")
    require_signed_handshakes: bool = setting(
        False, doc="refuse WebSockets whose handshake carries no valid signature of its session"
    )
    curve_tables: bool = setting(
        False, doc="tables for the keys of busy rings: a signature costs a quarter less, a ring some 6 MB"
    )
    curve_table_memory_mb: int = setting(128, minimum=20, doc="memory of all tables of one process")
    curve_table_after_relays: int = setting(2000, minimum=1, doc="verified relays before a ring gets tables")
    optimistic_queue_relays: int = setting(
        2000, minimum=0, doc="answered and not yet verified, of one process; 0: all are verified first"
    )
    optimistic_queue_mb: int = setting(64, minimum=1, doc="requests of those relays together")
    optimistic_distrust_seconds: int = setting(
        60, minimum=0, doc="applications and peers with a bad relay are verified first for this long"
    )
    max_header_count: int = setting(100, minimum=10, maximum=10000, doc="of a request and of an inner one")
    max_header_bytes: int = setting(65536, minimum=1024, maximum=1 << 20, doc="all header fields together")
    max_url_bytes: int = setting(8192, minimum=256, maximum=1 << 20, doc="request target")
    max_websocket_frame_bytes: int = setting(
        15_728_640, minimum=1024, maximum=268_435_456, doc="one message, either direction"
    )
    max_websocket_connections: int = setting(
        0, minimum=0, doc="of one front-end process; 0: three quarters of its connections"
    )
    client_timeout_seconds: int = setting(30, minimum=1, doc="to send the head, and the body, of a request")
    mining_margin_blocks: int = setting(0, minimum=0, doc="stop mining this long before the claim window")
    block_time_seconds: float = setting(0.0, minimum=0, doc="0: measured from the last blocks")
    height_stale_blocks: int = setting(5, minimum=1, doc="block times until the height counts as old")
    store_wait_ms: int = setting(1000, minimum=10, maximum=1000, doc="wait for the store before refusing")
    store_memory_limit_ratio: float = setting(0.85, minimum=0.1, maximum=1.0, doc="admission stops above")
    ticket_interval_ms: int = setting(
        30, minimum=20, maximum=50, doc="how often busy suppliers are announced"
    )
    group_commit_commands: int = setting(512, minimum=1, maximum=10000, doc="store commands sent together")
    tracing: TracingSection = field(default_factory=TracingSection)

    def websockets_of(self, connections: int) -> int:
        """How many of a process's connections may be WebSockets: idle ones leave room for relays over HTTP."""
        return self.max_websocket_connections or max(1, connections * 3 // 4)

    @property
    def worker_count(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))


def _default_timeouts() -> dict[str, TimeoutProfile]:
    return {"fast": TimeoutProfile(30, 30, 5, 10), "streaming": TimeoutProfile(600, 0, 10, 15)}


def _default_pools() -> dict[str, PoolProfile]:
    return {
        "low": PoolProfile(10, 5, 90),
        "medium": PoolProfile(100, 20, 90),
        "high": PoolProfile(250, 50, 90),
    }


@dataclass(frozen=True, slots=True)
class RelayerConfig:
    """The whole file. Values of one service are read through the methods, which fill in the defaults."""

    SUPERSEDED: ClassVar[dict[str, str]] = {
        "pprof": _NOT_A_PROFILER,
        "grace_period_extra_blocks": "the chain's grace period decides alone; a later relay is never paid",
        "supplier_cache": "supplier states are always cached and re-read; there is nothing to choose",
    }

    listen_addr: str = setting("0.0.0.0:8080", parse=listen_address, doc="where relays arrive")
    redis: RedisSection = field(default_factory=RedisSection)
    pocket_node: PocketNodeSection = field(default_factory=PocketNodeSection)
    keys: KeysSection = field(default_factory=KeysSection)
    services: Mapping[str, ServiceConfig] = setting(factory=dict, doc="by service id")
    default_validation_mode: Literal["eager", "optimistic"] = setting(
        "eager", doc="optimistic: answered first, then verified, charged and mined"
    )
    default_request_timeout_seconds: int = setting(
        30, minimum=0, blank_is_default=True, doc="a whole request to a backend, retries included"
    )
    default_max_body_size_bytes: int = setting(
        DEFAULT_MAX_BODY_BYTES, minimum=0, blank_is_default=True, doc="of a relay request"
    )
    metrics: MetricsSection = field(default_factory=MetricsSection)
    health_check: HealthCheckSection = field(default_factory=HealthCheckSection)
    cache_warmup: CacheWarmupSection = field(default_factory=CacheWarmupSection)
    relay_meter: RelayMeterSection = field(default_factory=RelayMeterSection)
    http_transport: HttpTransportSection = field(default_factory=HttpTransportSection)
    response_compression: ResponseCompressionSection = field(default_factory=ResponseCompressionSection)
    timeout_profiles: Mapping[str, TimeoutProfile] = setting(factory=_default_timeouts, merge=True)
    pool_profiles: Mapping[str, PoolProfile] = setting(factory=_default_pools, merge=True)
    logging: LoggingSection = field(default_factory=LoggingSection)
    simulation: SimulationSection = field(default_factory=SimulationSection)
    extensions: RelayerExtensions = field(default_factory=RelayerExtensions)

    def validation_mode(self, service_id: str) -> str:
        return self.services[service_id].validation_mode or self.default_validation_mode

    def max_body_bytes(self, service_id: str) -> int:
        return self.services[service_id].max_body_size_bytes or self.default_max_body_size_bytes

    @property
    def largest_body_bytes(self) -> int:
        """The largest body any service allows: where the server stops reading."""
        return max([self.default_max_body_size_bytes, *map(self.max_body_bytes, self.services)])

    def timeouts(self, service_id: str) -> TimeoutProfile:
        """Return the service's time-outs, gaps filled; a response-header time-out of 0 stays "none"."""
        profile = self.timeout_profiles[self.services[service_id].timeout_profile]
        shared = self.http_transport
        return TimeoutProfile(
            profile.request_timeout_seconds or self.default_request_timeout_seconds,
            profile.response_header_timeout_seconds,
            profile.dial_timeout_seconds or shared.dial_timeout_seconds,
            profile.tls_handshake_timeout_seconds or shared.tls_handshake_timeout_seconds,
        )

    def pool(self, service_id: str) -> PoolProfile:
        """Return the service's connection limits, gaps filled from http_transport."""
        profile = self.pool_profiles.get(self.services[service_id].pool_profile, PoolProfile())
        shared = self.http_transport
        return PoolProfile(
            profile.max_conns_per_host or shared.max_conns_per_host,
            profile.max_idle_conns_per_host or shared.max_idle_conns_per_host,
            profile.idle_conn_timeout_seconds or shared.idle_conn_timeout_seconds,
        )

    def remarks(self) -> Iterator[Remark]:
        if not self.services:
            yield Remark(("services",), "at least one service must be configured")
        for service_id, service in self.services.items():
            yield from self._service_remarks(service_id, service)
        if not self.keys.has_source and not self.keys.keyring.backend:
            text = "no key source (keys_file, keys_dir or mnemonic): every relay is refused"
            yield Remark(("keys",), text, warning=True)
        yield from cluster_broker_remark(self.redis, self.extensions)

    def _service_remarks(self, service_id: str, service: ServiceConfig) -> Iterator[Remark]:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,42}", service_id):
            yield Remark(("services", service_id), "a service id is 1 to 42 of A-Z a-z 0-9 _ -")
        if service.timeout_profile not in self.timeout_profiles:
            text = f"service {service_id} references undefined timeout profile {service.timeout_profile}"
            yield Remark(("services", service_id, "timeout_profile"), text)
        if service.pool_profile and service.pool_profile not in self.pool_profiles:
            text = f"service {service_id} references undefined pool profile {service.pool_profile}"
            yield Remark(("services", service_id, "pool_profile"), text)


def load_relayer_config(path: str | Path, *, strict: bool = False) -> Loaded[RelayerConfig]:
    """Read the relayer's file, and what the command line said over it. Raises ConfigInvalid."""
    loaded = load(path, RelayerConfig, strict=strict)
    return dataclasses.replace(loaded, config=with_overrides(loaded.config))
