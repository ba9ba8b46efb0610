"""Where a front end keeps the chain's facts: in its process and in Redis (spec/relayer.md §5).

In Redis they stand in the reference's formats, where both kinds of relayers read them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pocket_chain.fact_cache import MakeFactCache
from pocket_chain.facts import SessionKey, SessionView
from pocket_protocol.pb.pocket.session_pb2 import Session
from relay_store.connection import Store
from relay_store.entity_cache import DEFAULT_LIMIT, Count, EntityCache, Lifetimes, SharedLevel, no_count
from relay_store.go_json import decode_go_json, encode_go_json
from relay_store.keys import Keys
from relay_store.shared_entities import (
    account_level,
    application_level,
    params_at_level,
    service_level,
    shared_params_level,
)

MINUTE_S: Final = 60.0
PINNED_S: Final = 1800.0  # values at a height do not change
HOUR_S: Final = 3600.0
LIVE: Final = Lifetimes(fresh_s=MINUTE_S, stale_s=10 * MINUTE_S)
PINNED: Final = Lifetimes(fresh_s=PINNED_S, stale_s=PINNED_S)
ACCOUNTS: Final = Lifetimes(fresh_s=PINNED_S, stale_s=HOUR_S)


def shared_facts(
    store: Store,
    keys: Keys,
    *,
    block_time_s: Callable[[], float],
    limit: int = DEFAULT_LIMIT,
    monotonic: Callable[[], float] = time.monotonic,
    count: Count = no_count,
) -> MakeFactCache:
    """What makes the caches of a front end. `block_time_s()` turns blocks into life times; `limit` is of each kind."""
    levels: dict[str, SharedLevel[Any, Any]] = {
        "shared_params": shared_params_level(keys),
        "shared_params_at": params_at_level(keys),
        "application": application_level(keys),
        "service": service_level(keys),
        "account": account_level(keys),
        "session": _session(keys, block_time_s),
    }

    def make(kind: str, load: Callable[[Any], Any], *, pinned: bool) -> EntityCache[Any, Any]:
        lifetimes = ACCOUNTS if kind == "account" else PINNED if pinned else LIVE
        return EntityCache(
            kind,
            load,
            replace(lifetimes, limit=limit),
            client=store.client,
            shared=levels.get(kind),
            monotonic=monotonic,
            count=count,
        )

    return make


def _session(keys: Keys, block_time_s: Callable[[], float]) -> SharedLevel[SessionKey, SessionView]:
    def ttl_s(key: SessionKey, view: SessionView) -> float:
        """Until its grace period is over, and a bit: (end + grace + 2 - asked height) blocks."""
        blocks = view.header.session_end_block_height + 2 - key[2] + 1
        return max(blocks, 1) * block_time_s() + 10.0

    return SharedLevel(
        key=lambda key: keys.cached_session(*key),
        encode=lambda view: encode_go_json(view.message),
        decode=lambda key, data: SessionView.of(decode_go_json(Session, data)).checked(key),
        ttl_s=ttl_s,
    )
