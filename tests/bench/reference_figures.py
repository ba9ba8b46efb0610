"""Recorded figures of the Go implementation on a machine of this kind (design.md §5, spec/live.md §4), numbers only.

Two cores for chain, store, backend, relayer, miner and generator; eager validation; gateway ring of 2; distinct
presigned relays; quiet machine; medians of five runs.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class ReferenceRow(NamedTuple):
    """What was recorded at one concurrency: relays a second, latencies, relayer CPU per relay."""

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    front_us: float


RELAYS: Final = {
    1: ReferenceRow(269, 3.8, 5.1, 6.7, 3180),
    10: ReferenceRow(328, 24.0, 67, 93, 2480),
    100: ReferenceRow(651, 139, 286, 348, 2300),
}
STORE_US: Final = "150-450"
MINER_US: Final = "280-330"
RING_VERIFY_US: Final = 1450
RING_SIGN_US: Final = 3000

# What ours may cost (design.md §5): a relay's CPU in µs, of a whole thing in ms.
FRONT_BUDGET_US: Final = 550
STORE_BUDGET_US: Final = 40
WORKER_BUDGET_US: Final = 30
SEAL_BUDGET_MS: Final = 200
PROOF_BUDGET_MS: Final = 1000
STORED_BEYOND_BYTES: Final = 350
