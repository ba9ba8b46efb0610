"""What a thousand idle WebSockets and two hundred streams cost, and what they do to the relays beside them."""

from __future__ import annotations

import base64
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pocket_protocol import relay as relay_protocol
from relay_cli.relay.load_results import percentile
from relay_cli.supervisor.probes import http_ok
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.up.layout import Layout
from relay_cli.up.processes import foundation
from tests.bench.cpu_time import account, spent_ns
from tests.bench.crowd import EVENTS_PATH, Crowd, Opening, Seen
from tests.bench.generator import http_request
from tests.bench.relay_path import SERVICE, Bench, Run, bench
from tests.integration.sender import JSON_CALL, Sender, json_call

ECHO = "develop-rest"
WEBSOCKETS, STREAMS, WORKERS = 1_000, 200, 2
GIANT_BYTES = 15 * 1024 * 1024 - 2_000
LOADS = ((1, 400), (10, 2_000))  # connections, relays
REPEATS = 5
WATCHED_S = 30.0  # longer than a round of pings
SAMPLE_S = 0.05


@dataclass
class Condition:
    """What stands open, what it costs while nothing else is asked, and how relays beside it fared."""

    name: str
    resident_kib: int = 0
    shared_out_kib: int = 0  # proportional share (PSS)
    peak_kib: int = 0  # resident, while relays flowed
    idle_percent: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)


def memory_kib(process_ids: Sequence[int]) -> tuple[int, int]:
    """Resident memory of processes, and their proportional share of it."""
    sums = {"Rss:": 0, "Pss:": 0}
    for process_id in process_ids:
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
            name, value, *_ = line.split()
            if name in sums:
                sums[name] += int(value)
    return sums["Rss:"], sums["Pss:"]


def crowded(directory: Path, tell: Callable[[str], None]) -> list[Condition]:
    """Measure every condition; one after the other, each on top of the one before."""
    with (
        bench(directory, WORKERS, relayer=_backends, instead=_backend) as running,
        Crowd(running.running.relayer_address) as crowd,
    ):
        one = _Crowded(running, crowd, tell)
        found = [one.measure("nothing else", Seen())]
        for name, open_it in (
            (f"{WEBSOCKETS:,} idle WebSockets", one.open_websockets),
            (f"and {STREAMS} streams", one.open_streams),
            ("and 15 MiB messages, and clients that do not read", one.open_giants),
        ):
            found.append(one.measure(name, open_it()))
        return found


class _Crowded:
    def __init__(self, running: Bench, crowd: Crowd, tell: Callable[[str], None]) -> None:
        self._bench, self._crowd, self._tell = running, crowd, tell
        deployment = running.running
        height = deployment.admin("status")["height"]
        self._sender = Sender(deployment.layout.ports.address("grpc"), [SERVICE, ECHO], height)

    def measure(self, name: str, opened: Seen) -> Condition:
        deployment = self._bench.running
        workers = deployment.front_end_workers()
        made = Condition(name, seen=opened)
        self._crowd.seen()
        before, started = account(deployment), time.monotonic_ns()
        time.sleep(WATCHED_S)
        spent, elapsed = spent_ns(before, account(deployment)), time.monotonic_ns() - started
        made.idle_percent = {part: 100 * ns / elapsed for part, ns in spent.items()}
        made.resident_kib, made.shared_out_kib = memory_kib(workers)
        with _peak(workers) as peak:
            for concurrency, relays in LOADS:
                tried = [self._bench.load(self._bench.requests(relays), concurrency) for _ in range(REPEATS)]
                made.runs.append(min(tried, key=lambda run: run.foreign_cores))
        made.peak_kib = peak[0]
        after = self._crowd.seen()
        made.seen = replace(
            opened,
            event_delays_s=after.event_delays_s,
            giant_answers_s=after.giant_answers_s,
            counts=opened.counts + after.counts,
        )
        self._tell(
            f"{name}: {made.resident_kib / 1024:.0f} MiB, "
            + ", ".join(f"p99 {run.latency_ms(99):.1f} ms at {run.concurrency}" for run in made.runs)
            + f", {dict(made.seen.counts)}"
        )
        return made

    def open_websockets(self) -> Seen:
        return self._crowd.open_websockets([self._opening(SERVICE, JSON_CALL) for _ in range(WEBSOCKETS)])

    def open_streams(self) -> Seen:
        host, port = self._bench.running.relayer_address
        headers = {"Content-Type": "application/x-protobuf", "Rpc-Type": "3"}
        bodies = [
            relay_protocol.encode_request(self._sender.request(SERVICE, inner=json_call(EVENTS_PATH)))
            for _ in range(STREAMS)
        ]
        requests = [http_request(f"/{SERVICE}", f"{host}:{port}", headers, body) for body in bodies]
        return self._crowd.open_streams(requests)

    def open_giants(self) -> Seen:
        self._crowd.add_giant(self._opening(ECHO, bytes(GIANT_BYTES)))
        self._crowd.add_deaf(self._opening(ECHO, bytes(GIANT_BYTES)))
        return Seen()

    def _opening(self, service: str, payload: bytes) -> Opening:
        """A handshake signed as gateways do (spec/gateway.md §2.4), and a relay."""
        meta = self._sender.request(service, payload=b"").meta
        header = meta.session_header
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            "Rpc-Type": "2",
            "Target-Service-Id": service,
            "App-Address": header.application_address,
            "Pocket-Session-Id": header.session_id,
            "Pocket-Session-Start-Height": str(header.session_start_block_height),
            "Pocket-Session-End-Height": str(header.session_end_block_height),
            "Pocket-Supplier-Address": meta.supplier_operator_address,
            "Pocket-Signature": base64.b64encode(meta.signature).decode(),
        }
        lines = ["GET / HTTP/1.1", "Host: relayer", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return head, relay_protocol.encode_request(self._sender.request(service, payload=payload))


@contextmanager
def _peak(process_ids: Sequence[int]) -> Iterator[list[int]]:
    """Look at resident memory all the time; the list's one number is the most there was, in KiB."""
    most, ending = [0], threading.Event()

    def look() -> None:
        while not ending.wait(SAMPLE_S):
            most[0] = max(most[0], sum(map(_resident_kib, process_ids)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ending.set()
        thread.join()


def _resident_kib(process_id: int) -> int:
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * 4


def _backends(settings: dict[str, Any]) -> None:
    """Streams live long, handshakes must be signed, and the second service's WebSockets echo."""
    settings["extensions"]["require_signed_handshakes"] = True
    services = settings["services"]
    services[SERVICE]["timeout_profile"] = "streaming"
    services[ECHO]["backends"]["websocket"]["url"] += "/echo"


def _backend(layout: Layout) -> list[ProcessSpec]:
    spec = next(spec for spec in foundation(layout) if spec.name == "backend")
    command = (sys.executable, "-m", "tests.bench.crowd_backend", layout.ports.address("backend"))
    return [replace(spec, command=command, ready=http_ok(f"{layout.ports.url('backend')}/health"))]


def delays_ms(seconds: Sequence[float]) -> list[str]:
    """p50, p95 and p99."""
    return [f"{1000 * percentile(sorted(seconds), p):.1f}" if seconds else "" for p in (50, 95, 99)]
