"""Which suppliers a node should own: a pure share-out (decisions.md E, spec/miner.md §1.6).

Every node computes its own share from what it sees; leases make it true. The newest are given up first, since trees
and caches of older ones are warm, but not while a take-over is at work on them: windows close while suppliers go from
hand to hand. What was given up is not taken back at once. But when no other node wants it (the others hold other
keys, or died just then), it is taken back after a moment and kept for a while.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

SETTLED_S: Final = 5.0  # what was acquired less long ago is first brought up to date, not handed on
UNTAKEN_S: Final = 2.0  # given up and free for so long: nobody else takes it
KEPT_S: Final = 60.0  # and then it is not given up again for so long


@dataclass(frozen=True, slots=True)
class View:
    """What a node sees. Times are on its monotonic clock."""

    wanted: Collection[str]  # suppliers whose keys it holds
    owned: Mapping[str, float]  # supplier -> when it was acquired
    free_since: Mapping[str, float]  # suppliers without a lease -> since when
    given_up: Mapping[str, float]  # supplier -> when
    live_nodes: int
    now: float
    taken_back: Mapping[str, float] = field(
        default_factory=dict
    )  # supplier -> when, since nobody else took it


@dataclass(frozen=True, slots=True)
class Moves:
    """What to do now."""

    release: tuple[str, ...] = ()
    acquire: tuple[str, ...] = ()


def fair_share(suppliers: int, nodes: int) -> int:
    """Return how many suppliers each node should own at most: ceil(suppliers / nodes)."""
    return -(-suppliers // max(nodes, 1))


def share_out(view: View, *, cool_down_s: float, orphan_s: float, may_release: bool) -> Moves:
    """Return the moves of one node.

    Suppliers no longer wanted are released. Above its share a node releases the newest; below it, it takes free
    ones; beyond it, only those that nobody took for `orphan_s`. `may_release` is false between rebalances.
    `cool_down_s` keeps what was given up for others, as long as they may want it.
    """
    unwanted = tuple(supplier for supplier in view.owned if supplier not in view.wanted)
    kept = [supplier for supplier in view.owned if supplier in view.wanted]
    fair = fair_share(len(view.wanted), view.live_nodes)
    excess = len(kept) - fair
    if excess > 0 and may_release:
        newest_first = sorted(kept, key=lambda supplier: (view.owned[supplier], supplier), reverse=True)
        movable = [
            one
            for one in newest_first
            if _ago(view, view.taken_back, one) >= KEPT_S and _ago(view, view.owned, one) >= SETTLED_S
        ]
        if movable:
            return Moves((*unwanted, *movable[:excess]))
    free = [
        supplier
        for supplier in sorted(view.free_since, key=lambda one: (view.free_since[one], one))
        if supplier in view.wanted
        and supplier not in view.owned
        and (
            _ago(view, view.given_up, supplier) >= cool_down_s
            or view.now - view.free_since[supplier] >= UNTAKEN_S
        )
    ]
    room = max(fair - len(kept), 0)
    orphans = tuple(one for one in free[room:] if view.now - view.free_since[one] >= orphan_s)
    return Moves(unwanted, (*free[:room], *orphans))


def _ago(view: View, moments: Mapping[str, float], supplier: str) -> float:
    return view.now - moments.get(supplier, float("-inf"))
