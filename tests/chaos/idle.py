"""A thousand suppliers with nothing to do: what that costs (design.md §5: less than 5 % of a core)."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.machine import loop_ms
from tests.chaos.scale import (
    Scale,
    Tell,
    Usage,
    await_owned,
    descriptors,
    load_average,
    memory_mib,
    processes_of,
    scaled,
)
from tests.integration.sender import address
from tests.integration.stage import Deployment

BLOCK_S = 6.0
BUDGET_PERCENT = 5
OURS = ("miner parent", "miner workers", "beat", "store")


def idle(directory: Path, suppliers: int, seconds: float, tell: Tell) -> bool:
    """Watch them for `seconds`; there is nothing to fail but getting there."""
    scale = Scale(suppliers, block_s=BLOCK_S, session_blocks=60, window_blocks=60)
    tell(f"{suppliers} idle suppliers, blocks of {BLOCK_S:g} s, load average {load_average()}")
    with scaled(directory, scale) as running:
        addresses = [address(f"supplier{number}") for number in range(1, suppliers + 1)]
        tell(f"all owned after {await_owned(running, addresses, 600):.1f} s")
        time.sleep(10)  # what acquiring left to do
        tell(_cost(running, seconds))
        used = running.store.client.info("memory")["used_memory"]
        tell(f"store: {used / 2**20:.1f} MiB, {running.store.client.dbsize()} keys")
        for name, ids in processes_of(running).items():
            tell(f"{name}: {len(ids)} processes, {memory_mib(ids):.0f} MiB, {descriptors(ids)} files")
        tell(f"load average {load_average()}")
        return True


def _cost(running: Deployment, seconds: float) -> str:
    """What was used in so many seconds."""
    use = Usage(running)
    time.sleep(seconds)
    cpu, elapsed = use.cpu_s(), use.seconds
    percent = {part: 100 * spent / elapsed for part, spent in cpu.items()}
    parts = ", ".join(f"{part} {percent.get(part, 0.0):.2f}" for part in OURS)
    total = sum(percent.get(part, 0.0) for part in OURS)
    return (
        f"{total:.2f} percent of a core ({parts}; budget: {BUDGET_PERCENT}), "
        f"store {use.commands_per_s():.0f} commands a second, fixed loop {loop_ms():.1f} ms"
    )
