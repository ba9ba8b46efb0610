"""The whole way of a relay through a real deployment: front end, store, worker, beat, with chain and backend.

The chain makes no block during a load (its blocks are a minute apart), so that all relays of a load fall into one
session; the sealing of sessions is measured apart (`mining`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocket_chain.queries import ChainQueries
from pocket_protocol.curve import load_curve
from relay_cli.relay.client import RPC_TYPES, RelayClient, default_body, json_request
from relay_cli.relay.client_keys import read_client_keys
from relay_cli.relay.load_results import percentile
from relay_cli.relay.load_test import all_suppliers
from relay_cli.relay.relay_session import SessionSource, choose_application
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.up.layout import Layout
from tests.bench.cpu_time import account, idle_percent, spent_ns
from tests.bench.generator import LoadFigures, http_request, send_all
from tests.bench.machine import busy_s, loop_ms
from tests.integration.stage import STILL_S, Deployment, Edit, deployment, wait_until

SERVICE, TRANSPORT, METHOD = "develop-http", "jsonrpc", "eth_blockNumber"
WARM_UP = 300
IDLE_S = 4.0
DRAIN_S = 30.0
PARTS = (
    *("store", "localnet", "backend", "relayer", "miner", "beat"),
    *("miner-metrics", "relayer-metrics"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One load: how it was made, what the client saw, and each part's CPU per relay in microseconds."""

    workers: int
    concurrency: int
    relays: int
    figures: LoadFigures
    cpu_us: Counter[str]
    loop_ms: float
    foreign_cores: float  # how many cores worked for something else meanwhile

    @property
    def per_second(self) -> float:
        return self.relays / self.figures.duration_s

    @property
    def front_us(self) -> float:
        return self.cpu_us["relayer workers"]

    def latency_ms(self, p: int) -> float:
        return 1000 * percentile(sorted(self.figures.latencies_s) or [0.0], p)


class Bench:
    """A running deployment with a gateway's client that signs relays in advance."""

    def __init__(self, running: Deployment) -> None:
        self.running = running
        curve, layout = load_curve(), running.layout
        queries = ChainQueries(layout.run().grpc_address, insecure=True)
        keys = read_client_keys(layout.client_keys)
        addresses = keys.application_addresses(curve)
        position = choose_application(queries, addresses, SERVICE)
        source = SessionSource(queries, addresses[position], SERVICE)
        self._client = RelayClient(source, keys.signing_key(position), curve)
        self._session = source.at(running.admin("status")["height"])

    @property
    def ring_size(self) -> int:
        return len(self._session.ring)

    def requests(self, count: int) -> list[bytes]:
        """Return `count` distinct signed relays as HTTP requests."""
        request = json_request(TRANSPORT, default_body(METHOD))
        host, port = self.running.relayer_address
        headers = {"Content-Type": "application/x-protobuf", "Rpc-Type": str(RPC_TYPES[TRANSPORT])}
        encoded = []
        for number in range(count):
            relay = self._client.sign(self._session, all_suppliers(self._session, number), request)
            encoded.append(http_request(f"/{SERVICE}", f"{host}:{port}", headers, relay.encoded))
        return encoded

    def load(self, requests: list[bytes], concurrency: int) -> Run:
        """Send `requests` and wait until the miner has settled them; account for all of it."""
        running = self.running
        loop_before, before = loop_ms(), account(running)
        started, busy, own = time.monotonic(), busy_s(), time.process_time()
        figures = send_all(running.relayer_address, requests, concurrency)
        wait_until(lambda: not any(running.streams().values()), "the streams to be empty", DRAIN_S)
        spent = spent_ns(before, account(running))
        ours_s = sum(spent.values()) / 1e9 + time.process_time() - own
        foreign_cores = max(0.0, (busy_s() - busy - ours_s) / (time.monotonic() - started))
        spent["client"] = int(figures.cpu_s * 1e9)
        count = len(requests)
        cpu_us = Counter({part: ns / count / 1000 for part, ns in spent.items()})
        workers = running.layout.front_end_workers
        loop = (loop_before + loop_ms()) / 2
        return Run(workers, concurrency, count, figures, cpu_us, loop, foreign_cores)

    def idle(self) -> dict[str, float]:
        return idle_percent(self.running, IDLE_S)


@contextmanager
def bench(
    directory: Path,
    workers: int,
    environment: dict[str, str] | None = None,
    *,
    relayer: Edit = lambda settings: None,
    instead: Callable[[Layout], Sequence[ProcessSpec]] | None = None,
) -> Iterator[Bench]:
    """Start everything but Flower with `workers` front-end processes, warmed up.

    `relayer` changes its settings; the processes of `instead` run in place of the test backend.
    """

    def quiet(settings: dict[str, Any]) -> None:
        settings["logging"]["level"] = "warn"

    def quiet_relayer(settings: dict[str, Any]) -> None:
        quiet(settings)
        relayer(settings)

    with deployment(
        directory,
        PARTS if instead is None else [part for part in PARTS if part != "backend"],
        relayer=quiet_relayer,
        miner=quiet,
        more=instead or (lambda layout: ()),
        environment=environment,
        front_end_workers=workers,
        block_time_s=STILL_S,
    ) as running:
        made = Bench(running)
        made.load(made.requests(WARM_UP), 10)
        yield made
