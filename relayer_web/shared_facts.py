"""Where a front end keeps the chain's facts: in its process and in Redis (spec/relayer.md §5).

In Redis they stand in the reference's formats, where both kinds of relayers read them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from pocket_chain.fact_cache import MakeFactCache
from pocket_chain.facts import NotItsOwn, SessionKey, SessionView
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.session_pb2 import Session
from pocket_protocol.pb.pocket.shared_pb2 import Params, Service
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import PublicKey
from pocket_protocol.wire import decode, encode
from relay_store.connection import Store
from relay_store.entity_cache import Count, EntityCache, Lifetimes, SharedLevel, no_count
from relay_store.go_json import decode_go_json, encode_go_json
from relay_store.keys import Keys

MINUTE_S: Final = 60.0
PINNED_S: Final = 1800.0  # values at a height do not change
HOUR_S: Final = 3600.0
LIVE: Final = Lifetimes(fresh_s=MINUTE_S, stale_s=10 * MINUTE_S)
PINNED: Final = Lifetimes(fresh_s=PINNED_S, stale_s=PINNED_S)
ACCOUNTS: Final = Lifetimes(fresh_s=PINNED_S, stale_s=HOUR_S)


class UnreadableKey(Malformed):
    """A cached account key that is not 33 bytes."""

    reason = "cached_account_key"
    summary = "not a cached account key"


def shared_facts(
    store: Store,
    keys: Keys,
    *,
    block_time_s: Callable[[], float],
    monotonic: Callable[[], float] = time.monotonic,
    count: Count = no_count,
) -> MakeFactCache:
    """What makes the caches of a front end. `block_time_s()` turns blocks into life times."""
    levels: dict[str, SharedLevel[Any, Any]] = {
        "shared_params": _live_params(keys),
        "shared_params_at": _params_at(keys),
        "application": _proto(Application, "address", keys.application, keys, "application"),
        "service": _proto(Service, "id", keys.service, keys, "service"),
        "account": _account(keys),
        "session": _session(keys, block_time_s),
    }

    def make(kind: str, load: Callable[[Any], Any], *, pinned: bool) -> EntityCache[Any, Any]:
        lifetimes = ACCOUNTS if kind == "account" else PINNED if pinned else LIVE
        return EntityCache(
            kind,
            load,
            lifetimes,
            client=store.client,
            shared=levels.get(kind),
            monotonic=monotonic,
            count=count,
        )

    return make


def _live_params(keys: Keys) -> SharedLevel[None, SharedParams]:
    return SharedLevel(
        key=lambda _: keys.shared_params(),
        encode=lambda params: encode(params.to_proto()),
        decode=lambda _, data: SharedParams.from_proto(decode(Params, data)),
        ttl_s=lambda _, params: MINUTE_S,
        lock_key=lambda _: keys.cache_lock("shared_params"),
    )


def _params_at(keys: Keys) -> SharedLevel[int, SharedParams]:
    return SharedLevel(
        key=keys.shared_params_at,
        encode=lambda params: encode_go_json(params.to_proto(), zeros=True),
        decode=lambda _, data: SharedParams.from_proto(decode_go_json(Params, data)),
        ttl_s=lambda height, params: MINUTE_S,
        lock_key=lambda height: keys.cache_lock("params:shared", str(height)),
    )


def _proto(
    message_type: Any, name_field: str, key: Callable[[str], str], keys: Keys, kind: str
) -> SharedLevel[str, Any]:
    def own(name: str, data: bytes) -> Any:
        message = decode(message_type, data)
        if getattr(message, name_field) != name:
            raise NotItsOwn(kind=kind, name=name)
        return message

    return SharedLevel(
        key=key,
        encode=encode,
        decode=own,
        ttl_s=lambda _, message: 5 * MINUTE_S,
        lock_key=lambda name: keys.cache_lock(kind, name),
    )


def _account(keys: Keys) -> SharedLevel[str, PublicKey]:
    def checked(_: str, data: bytes) -> PublicKey:
        if len(data) != 33:
            raise UnreadableKey(length=len(data))
        return PublicKey(data)

    return SharedLevel(
        key=keys.account,
        encode=bytes,
        decode=checked,
        ttl_s=lambda _, key: 24 * HOUR_S,
        lock_key=lambda address: keys.cache_lock("account", address),
    )


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
