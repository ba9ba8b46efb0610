"""What the scale runs have in common: a miner with many suppliers, and what it uses of the machine."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localnet.default_genesis import Options, default_chain, write_default_chain
from relay_cli.up.layout import SERVICES, Layout
from tests.bench.cpu_time import Account, account, children_of, spent_ns
from tests.integration.sender import curve
from tests.integration.stage import Deployment, deployment, wait_until

MINER_PARTS = ("store", "localnet", "miner", "beat")
THRESHOLD_UPOKT = 250_000  # three relays of the first service must be proved


@dataclass(frozen=True, slots=True)
class Scale:
    """The chain of a scale run. The two windows are of equal length."""

    suppliers: int
    block_s: float
    session_blocks: int
    window_blocks: int
    threshold_upokt: int = THRESHOLD_UPOKT
    cache_entries: int | None = None  # the product's default

    def options(self) -> Options:
        return Options(
            num_suppliers=self.suppliers,
            services=SERVICES,
            num_blocks_per_session=self.session_blocks,
            claim_window_close_offset_blocks=self.window_blocks,
            proof_window_close_offset_blocks=self.window_blocks,
            proof_requirement_threshold_upokt=self.threshold_upokt,
            num_suppliers_per_session=max(15, self.suppliers),
        )

    def unbonding(self) -> dict[str, int]:
        """Parameters that must be longer than the windows."""
        actors = ("application", "supplier", "gateway")
        return {f"{actor}_unbonding_period_sessions": 2 * self.window_blocks for actor in actors}

    def write(self, layout: Layout) -> None:
        chain = default_chain(curve(), self.options())
        chain.document["params"]["shared"] |= self.unbonding()
        for supplier in chain.document[
            "suppliers"
        ]:  # hundreds of suppliers are in each answer about a session
            for service in supplier["services"]:
                service["endpoints"] = service["endpoints"][:1]
        write_default_chain(layout.directory, chain)


@contextmanager
def scaled(directory: Path, scale: Scale, parts: tuple[str, ...] = MINER_PARTS) -> Iterator[Deployment]:
    """Run a miner (and more) for a chain of this scale."""

    def both(settings: dict[str, Any]) -> None:
        if scale.cache_entries is not None:
            settings["extensions"]["cache_entries"] = scale.cache_entries

    def miner(settings: dict[str, Any]) -> None:
        settings["transaction"]["tx_timeout_max_seconds"] = 120
        settings["supplier_reconcile_interval_seconds"] = 60
        settings["extensions"]["claim_unprofitable_sessions"] = True
        settings["logging"]["format"] = "json"
        both(settings)

    with deployment(
        directory,
        parts,
        miner=miner,
        relayer=both,
        prepare=scale.write,
        localnet_flags=("--journal", str(directory / "journal.jsonl")),
        suppliers=scale.suppliers,
        block_time_s=scale.block_s,
        blocks_per_session=scale.session_blocks,
    ) as running:
        yield running


def await_owned(running: Deployment, suppliers: list[str], timeout_s: float) -> float:
    """Wait until every supplier has an owner and is known to relayers; return the seconds it took."""
    started, keys, client = time.monotonic(), running.keys, running.store.client

    def owned() -> bool:
        pipeline = client.pipeline(transaction=False)
        for supplier in suppliers:
            pipeline.exists(keys.lease(supplier), keys.supplier(supplier))
        return all(count == 2 for count in pipeline.execute())

    wait_until(owned, "all suppliers to be owned", timeout_s)
    return time.monotonic() - started


@dataclass
class Usage:
    """CPU of each part, and of the store's commands, over a stretch of time."""

    running: Deployment
    before: Account = field(init=False)
    commands: int = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.before, self.commands = account(self.running), self._commands()
        self.started = time.monotonic()

    def _commands(self) -> int:
        return int(self.running.store.client.info("stats")["total_commands_processed"])

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def cpu_s(self) -> Counter[str]:
        """CPU seconds of each part so far."""
        spent = spent_ns(self.before, account(self.running))
        return Counter({part: ns / 1e9 for part, ns in spent.items()})  # type: ignore[misc]

    def commands_per_s(self) -> float:
        return (self._commands() - self.commands) / self.seconds


def processes_of(running: Deployment) -> dict[str, list[int]]:
    """The process ids of each part, children included."""
    found: dict[str, list[int]] = {}

    def add(name: str, process_id: int) -> None:
        found.setdefault(name, []).append(process_id)
        for child in children_of(process_id):
            add(name, child)

    for child in running.supervisor.children:
        if child.process_id is not None:
            add(child.spec.name, child.process_id)
    return found


def memory_mib(process_ids: list[int]) -> float:
    """Resident memory of processes, pages they share counted by shares (PSS)."""
    total = 0
    for process_id in process_ids:
        for line in _lines(f"/proc/{process_id}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def descriptors(process_ids: list[int]) -> int:
    """Open files of processes."""
    total = 0
    for process_id in process_ids:
        try:
            total += len(list(Path(f"/proc/{process_id}/fd").iterdir()))
        except OSError:
            continue
    return total


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def load_average() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


Tell = Callable[[str], None]
