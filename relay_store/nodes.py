"""The worker nodes that live (decisions.md A): suppliers are shared out among them."""

from __future__ import annotations

from typing import Final

from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.scripts import run_script
from relay_store.store_errors import store_errors

LIVE_WITHIN_MS: Final = 5000  # for people; suppliers are shared out among nodes whose leases would still hold
FORGET_AFTER_MS: Final = 3_600_000


def heartbeat(store: Store, keys: OwnKeys, node: str) -> None:
    """Note that `node` lives now, by the store's clock. Raises `StoreUnavailable`."""
    run_script(store, "node_heartbeat", (keys.nodes(),), node, FORGET_AFTER_MS)


def live_nodes(store: Store, keys: OwnKeys, *, within_ms: int = LIVE_WITHIN_MS) -> list[str]:
    """Return the names of the nodes heard of within `within_ms`, sorted."""
    names = run_script(store, "nodes_live", (keys.nodes(),), within_ms)
    return sorted(name.decode() for name in names)


def silences_ms(store: Store, keys: OwnKeys) -> dict[str, int]:
    """Return for each node that is remembered how long ago it was heard of, by the store's clock."""
    with store_errors():
        heard = store.client.zrange(keys.nodes(), 0, -1, withscores=True)
        seconds, microseconds = store.node(keys.nodes()).time()
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    return {name.decode(): max(now_ms - int(at_ms), 0) for name, at_ms in heard}


def leave(store: Store, keys: OwnKeys, node: str) -> None:
    """Forget `node`: it stops in an orderly way."""
    with store_errors():
        store.client.zrem(keys.nodes(), node)
