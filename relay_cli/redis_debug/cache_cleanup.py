"""All caches emptied while relayers and miners run (spec/miner.md §9.2).

State is never touched: of `ha:supplier:*` only documents that every reader treats as absent go, each under a
comparison with what was judged, so that one that was healed meanwhile stays. Messages go out after all deletions;
before, a relayer could fill its cache again from what is about to go.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pocket_protocol.errors import PocketError
from relay_cli.redis_debug.deployment import Deployment
from relay_cli.tables import printable
from relay_store.registry import decode_supplier_state
from relay_store.scripts import run_script

BATCH: Final = 500
CONTAMINATED_SUPPLIERS: Final = "supplier (contaminated)"
CLEARED_TYPES: Final = ("application", "service", "supplier", "account", "shared_params", "proof_params")
CLEAR_ALL: Final = b"{}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go: cache keys, and suppliers whose document is contaminated."""

    cache_keys: tuple[bytes, ...]
    suppliers: tuple[str, ...]
    groups: dict[str, int]

    def __len__(self) -> int:
        return len(self.cache_keys) + len(self.suppliers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What went, what was healed meanwhile and stays, and where it was told."""

    deleted: int
    healed: tuple[str, ...]
    channels: tuple[str, ...]


def plan_cleanup(deployment: Deployment) -> Plan:
    """Look at every master. Raises `StoreUnavailable`."""
    keys = deployment.keys
    prefix, lock = keys.cache_pattern().removesuffix("*"), keys.cache_lock("")
    found = deployment.scan(keys.cache_pattern())
    cached = tuple(sorted(key for key in found if not key.startswith(lock.encode())))
    suppliers = tuple(
        name for name in deployment.named(keys.supplier_pattern()) if _contaminated(deployment, name)
    )
    groups = Counter(printable(key[len(prefix) :].partition(b":")[0]) for key in cached)
    if suppliers:
        groups[CONTAMINATED_SUPPLIERS] = len(suppliers)
    return Plan(cached, suppliers, dict(sorted(groups.items())))


def clean_up(deployment: Deployment, plan: Plan) -> Outcome:
    """Carry a plan out, and tell every process to forget what it has; also when there was nothing to delete."""
    client, keys = deployment.store.client, deployment.keys
    deleted = 0
    for start in range(0, len(plan.cache_keys), BATCH):
        pipeline = client.pipeline(transaction=False)
        for key in plan.cache_keys[start : start + BATCH]:
            pipeline.unlink(key)
        deleted += sum(pipeline.execute())
    healed = tuple(name for name in plan.suppliers if not _delete_contaminated(deployment, name))
    channels = (*map(keys.invalidation_channel, CLEARED_TYPES), keys.supplier_params_channel())
    for channel in channels:
        client.publish(channel, CLEAR_ALL)
    return Outcome(deleted + len(plan.suppliers) - len(healed), healed, channels)


def _contaminated(deployment: Deployment, supplier: str) -> bytes | None:
    """Return a supplier's document if it is contaminated; one that cannot be read is kept."""
    document: bytes | None = deployment.store.client.get(deployment.keys.supplier(supplier))
    try:
        return document if document and decode_supplier_state(document).is_contaminated else None
    except PocketError:
        return None


def _delete_contaminated(deployment: Deployment, supplier: str) -> bool:
    """Delete a contaminated document; False when it is healed or gone. Judged again if it changes meanwhile."""
    key = deployment.keys.supplier(supplier)
    while document := _contaminated(deployment, supplier):
        if run_script(deployment.store, "lease_release", (key,), document):  # DEL if it is still that value
            return True
    return False
