"""What goes wrong when: a schedule drawn from a seed, the same for the same seed and numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `seconds` after the load began, of `kind` against `target`, for `lasts_s` (0: at once)."""

    seconds: float
    kind: str
    target: str = ""
    lasts_s: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.seconds:7.1f} s", self.kind, self.target]
        parts += [f"for {self.lasts_s:.1f} s"] if self.lasts_s else []
        parts += [f"by {self.amount:g}"] if self.amount else []
        return "  ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, what it can be done to, for how long and how strongly."""

    name: str
    targets: tuple[str, ...] = ("",)
    lasts_s: tuple[float, float] = (0.0, 0.0)
    amounts: tuple[float, ...] = (0.0,)


NODES = ("node 1", "node 2", "both nodes")
# Longer than a lease lives (3 s), and longer than a task may be away from its broker's sight.
PAUSE_S = (4.0, 8.0)

PROCESS_KINDS = (
    Kind("kill parent", ("miner-1", "miner-2")),
    Kind("kill child", ("miner-1", "miner-2")),
    Kind("kill beat", ("beat-1", "beat-2")),
    Kind("kill master", ("relayer-1", "relayer-2")),
    Kind("kill front-end worker", ("relayer-1", "relayer-2")),
    Kind("kill gRPC process", ("relayer-1", "relayer-2")),
    Kind("pause parent", ("miner-1", "miner-2"), PAUSE_S),
    Kind("pause beat", ("beat-1", "beat-2"), PAUSE_S),
    Kind("kill backend", ("backend",)),
)
NODE_KINDS = (
    Kind("node down", NODES, (2.0, 5.0)),
    Kind("node holds", NODES, (2.0, 5.0)),
    Kind("node lags", NODES, (3.0, 6.0), (2, 5, 12)),
    Kind("node slow", NODES, (3.0, 6.0), (0.3, 1.5)),
    Kind("node refuses", NODES, (2.0, 5.0)),
    Kind("node loses answers", NODES, (0.0, 0.0), (1, 3)),
    Kind("node silent", NODES, (4.0, 8.0)),
    Kind("mempool lost", ("chain",)),
    Kind("mempool held", ("chain",), (1.0, 3.0)),
    Kind("chain stands still", ("chain",), (2.0, 4.0)),
    Kind("chain's clock off", ("chain",), (4.0, 8.0), (-30.0, 30.0)),
)
STORE_KINDS = (
    Kind("kill store", ("store",)),
    Kind("pause store", ("store",), (1.0, 3.0)),
    Kind("store nearly full", ("store",), (2.0, 4.0)),
    Kind("store full", ("store",), (2.0, 4.0)),
    Kind("cut connections", ("data", "broker", "node-1", "node-2")),
    Kind("hold connections", ("data", "broker"), (1.0, 3.0)),
)
SENTINEL_KINDS = (
    Kind("fail over", ("store",), (3.0, 5.0)),
    Kind("fail over, then kill", ("store",), (3.0, 5.0)),
    Kind("kill replica", ("store",)),
    Kind("kill sentinel", ("sentinel-1", "sentinel-2", "sentinel-3")),
)
CLUSTER_KINDS = (
    Kind("kill store", ("store-1", "store-2", "store-3")),
    Kind("pause store", ("store-1", "store-2", "store-3"), (1.0, 3.0)),
    Kind("kill broker", ("broker",)),
    Kind("pause broker", ("broker",), (1.0, 3.0)),
)
REDLOCK_KINDS = (
    *STORE_KINDS,
    Kind("kill lock store", ("lock-1", "lock-2", "lock-3")),
    Kind("pause lock store", ("lock-1", "lock-2", "lock-3"), (4.0, 8.0)),
)
KINDS = {
    "standard": (*PROCESS_KINDS, *NODE_KINDS, *STORE_KINDS),
    "sentinel": (*PROCESS_KINDS, *SENTINEL_KINDS),
    "cluster": (*PROCESS_KINDS, *CLUSTER_KINDS),
    "redlock": (*PROCESS_KINDS, *REDLOCK_KINDS),
}
LEAST_KINDS_BETWEEN = 3  # failovers need time to be over
SPREAD_FROM = 2 * LEAST_KINDS_BETWEEN  # with fewer kinds they come as they come


def draw(scenario: str, seed: int, faults: int, seconds: float, only: Sequence[str] = ()) -> list[Fault]:
    """Return `faults` faults over `seconds`: each kind once before any comes again, at uneven distances.

    `only` names the kinds to draw from; all of the scenario's when empty.
    """
    generator = random.Random(f"{scenario} {seed}")
    pause_s = seconds / faults
    kinds = _rounds([kind for kind in KINDS[scenario] if not only or kind.name in only], generator)
    return [
        _fault(next(kinds), (number + generator.uniform(0.1, 0.9)) * pause_s, generator)
        for number in range(faults)
    ]


def _rounds(kinds: Sequence[Kind], generator: random.Random) -> Iterator[Kind]:
    """Yield all kinds in a new order again and again, never the same within a few."""
    last: list[Kind] = []
    while True:
        turn = generator.sample(kinds, len(kinds))
        while len(kinds) > SPREAD_FROM and any(kind in last for kind in turn[: LEAST_KINDS_BETWEEN - 1]):
            turn = generator.sample(kinds, len(kinds))
        last = turn[-LEAST_KINDS_BETWEEN + 1 :]
        yield from turn


def _fault(kind: Kind, seconds: float, generator: random.Random) -> Fault:
    return Fault(
        round(seconds, 1),
        kind.name,
        generator.choice(kind.targets),
        round(generator.uniform(*kind.lasts_s), 1),
        generator.choice(kind.amounts),
    )
