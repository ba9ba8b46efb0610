"""The store a debug command looks into, and the suppliers in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mining_tasks.wiring import keys_of
from operations.config_file import ConfigInvalid
from operations.sections import RedisSection, SharedExtensions
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.store_errors import store_errors

SCAN_COUNT = 1000


@dataclass(frozen=True, slots=True)
class Deployment:
    """An open store and the names of its keys."""

    store: Store
    keys: Keys

    def suppliers(self) -> list[str]:
        """Return every supplier that has a relay stream or sessions, sorted. Raises `StoreUnavailable`."""
        found: set[str] = set()
        for pattern in (self.keys.relay_stream_pattern(), self.keys.sessions("*")):
            before, _, after = pattern.partition("*")
            with store_errors():
                for master in self.store.masters():
                    for key in master.scan_iter(pattern, count=SCAN_COUNT):
                        found.add(key.decode()[len(before) :].removesuffix(after))
        return sorted(found)


def open_deployment(redis_url: str, config: Path | None) -> Deployment:
    """Open the store of a miner.yaml or relayer.yaml, or the one at `redis_url` with default names.

    Raises ConfigInvalid, StoreUrlInvalid.
    """
    redis, extensions = _sections(config) if config else (RedisSection(), SharedExtensions())
    return Deployment(connect(redis_url or redis.url, pool_size=4), keys_of(redis, extensions))


def _sections(path: Path) -> tuple[RedisSection, Any]:
    from mining_tasks.config import load_miner_config
    from relayer_web.config import load_relayer_config

    try:
        miner = load_miner_config(path).config
        return miner.redis, miner.extensions
    except ConfigInvalid as as_miner:
        try:
            relayer = load_relayer_config(path).config
        except ConfigInvalid:
            raise as_miner from None
        return relayer.redis, relayer.extensions
