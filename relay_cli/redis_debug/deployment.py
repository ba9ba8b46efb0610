"""The store a debug command looks into, its keys, and the suppliers in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click

from mining_tasks.config import MinerConfig
from mining_tasks.wiring import keys_of
from operations.sections import RedisSection
from relay_cli.either_config import load_either
from relay_store.connection import Store, connect
from relay_store.key_scan import scan_keys, scan_names, scan_stars
from relay_store.keys import Keys
from relay_store.lease import LEASE_TTL_MS

supplier_option = click.option("--supplier", default="", help="Only this operator address.")


@dataclass(frozen=True, slots=True)
class Deployment:
    """An open store, the names of its keys, and the stores of the leases where those are others."""

    store: Store
    keys: Keys
    redlock_urls: tuple[str, ...] = ()
    lease_ttl_ms: int = LEASE_TTL_MS

    def scan(self, pattern: str) -> Iterator[bytes]:
        """As `scan_keys`."""
        return scan_keys(self.store, pattern)

    def names(self, pattern: str) -> list[str]:
        """As `scan_names`."""
        return scan_names(self.store, pattern)

    def named(self, pattern: str) -> list[str]:
        """As `scan_stars`."""
        return scan_stars(self.store, pattern)

    def suppliers(self) -> list[str]:
        """Return every supplier that has a relay stream or sessions, sorted. Raises `StoreUnavailable`."""
        patterns = (self.keys.relay_stream_pattern(), self.keys.sessions("*"))
        return sorted({name for pattern in patterns for name in self.named(pattern)})


def open_deployment(redis_url: str, config: Path | None) -> Deployment:
    """Open the store of a miner.yaml or relayer.yaml, or the one at `redis_url` with default names.

    Raises ConfigInvalid, StoreUrlInvalid.
    """
    if config is None:
        return Deployment(_open(redis_url or RedisSection().url), Keys())
    loaded = load_either(config)
    store, keys = _open(redis_url or loaded.redis.url), keys_of(loaded.redis, loaded.extensions)
    if isinstance(loaded, MinerConfig):
        return Deployment(store, keys, loaded.extensions.redlock_urls, loaded.extensions.lease_ttl_ms)
    return Deployment(store, Keys(replace(keys.namespace, meter_keys=loaded.relay_meter.redis_key_prefix)))


def _open(url: str) -> Store:
    return connect(url, pool_size=4)
