"""The store a debug command looks into, its keys, and the suppliers in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mining_tasks.wiring import keys_of
from operations.config_file import ConfigInvalid
from operations.sections import RedisSection
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.store_errors import store_errors

SCAN_COUNT = 1000


@dataclass(frozen=True, slots=True)
class Deployment:
    """An open store, the names of its keys, and the stores of the leases where those are others."""

    store: Store
    keys: Keys
    redlock_urls: tuple[str, ...] = ()

    def scan(self, pattern: str) -> Iterator[str]:
        """Yield the keys of every master that match, in no order, each once. Raises `StoreUnavailable`."""
        seen: set[bytes] = set()
        with store_errors():
            for master in self.store.masters():
                for key in master.scan_iter(pattern, count=SCAN_COUNT):
                    if key not in seen:
                        seen.add(key)
                        yield key.decode("utf-8", "surrogateescape")

    def named(self, pattern: str) -> list[str]:
        """Return, sorted, what stands for the only `*` of `pattern` in keys. Raises `StoreUnavailable`."""
        before, _, after = pattern.partition("*")
        return sorted(key[len(before) :].removesuffix(after) for key in self.scan(pattern))

    def suppliers(self) -> list[str]:
        """Return every supplier that has a relay stream or sessions, sorted. Raises `StoreUnavailable`."""
        patterns = (self.keys.relay_stream_pattern(), self.keys.sessions("*"))
        return sorted({name for pattern in patterns for name in self.named(pattern)})


def open_deployment(redis_url: str, config: Path | None) -> Deployment:
    """Open the store of a miner.yaml or relayer.yaml, or the one at `redis_url` with default names.

    Raises ConfigInvalid, StoreUrlInvalid.
    """
    redis, keys, redlock_urls = _named_in(config) if config else (RedisSection(), Keys(), ())
    return Deployment(connect(redis_url or redis.url, pool_size=4), keys, redlock_urls)


def _named_in(path: Path) -> tuple[RedisSection, Keys, tuple[str, ...]]:
    from mining_tasks.config import load_miner_config
    from relayer_web.config import load_relayer_config

    try:
        miner = load_miner_config(path).config
    except ConfigInvalid as as_miner:
        try:
            relayer = load_relayer_config(path).config
        except ConfigInvalid:
            raise as_miner from None
        words = keys_of(relayer.redis, relayer.extensions).namespace
        keys = Keys(replace(words, meter_keys=relayer.relay_meter.redis_key_prefix))
        return relayer.redis, keys, ()
    return miner.redis, keys_of(miner.redis, miner.extensions), miner.extensions.redlock_urls
