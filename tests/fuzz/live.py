"""Mutated connections against a running relayer: real processes, real sockets, all on this machine.

Every connection has to be answered or ended in time, whether its client hangs up or stays; the same processes serve
afterwards, no larger than before; nothing is charged and nothing mined, for no relay in the seeds is soundly signed.
"""

from __future__ import annotations

import platform
import random
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.campaign import SAY_EVERY_S, Outcome
from tests.fuzz.judge import MAX_GROWTH_KB, Find, keep, resident_kb
from tests.fuzz.live_seeds import SERVICE, TRANSPORTS
from tests.fuzz.mutation import mutated_inputs
from tests.fuzz.target import Target
from tests.fuzz.targets.messages import plain
from tests.fuzz.worker import Order
from tests.integration.raw_http import exchange
from tests.integration.sender import Sender, check_good
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment

CLIENT_TIMEOUT_S = 1
PATIENCE_S = (
    15.0  # the client's time-out, what a closing connection waits for, and a machine busy with others
)
CLIENTS = 32
HEIGHT = 5
STAYS = 0.1  # share of clients that do not hang up
MAX_BYTES = 16_384
FIRST_LOOK_AT = 0.5  # a gRPC process takes some 40 MiB in its first 12,000 connections and no more after them
ENDED = "ended without an answer"


@dataclass
class Inputs:
    """Mutated inputs for many threads, until there were enough or it is time."""

    source: Iterator[bytes]
    most: int
    deadline: float
    given: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> bytes | None:
        with self._lock:
            if self.given >= self.most or time.monotonic() > self.deadline:
                return None
            self.given += 1
            return next(self.source)


@dataclass
class Tally:
    """What became of the connections, kept by all clients together."""

    directory: Path
    count: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    finds: dict[str, Find] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: str, took_s: float) -> None:
        with self._lock:
            self.count += 1
            self.answers[answer] += 1
            self.slowest_s = max(self.slowest_s, took_s)

    def found(self, kind: str, text: str, data: bytes = b"") -> None:
        with self._lock:
            if kind not in self.finds:
                self.finds[kind] = Find(kind, "", text, keep(self.directory, data))


class Client:
    """One of the clients that talk at the same time; each connection comes from another local address."""

    def __init__(self, number: int, seed: int, address: tuple[str, int], tally: Tally) -> None:
        self._chance = random.Random(f"{seed} {number}")
        self._number = number
        self._address = address
        self._tally = tally
        self._connections = 0

    def run(self, inputs: Inputs) -> None:
        while (data := inputs.next()) is not None:
            started = time.monotonic()
            try:
                answer = self._talk(data)
            except TimeoutError:
                self._tally.found("no answer and no end", f"in {PATIENCE_S:g} s", data)
                answer = "none"
            except OSError as error:
                self._tally.found("no connection", str(error), data)
                answer = "none"
            self._tally.note(answer, time.monotonic() - started)

    def _talk(self, data: bytes) -> str:
        self._connections += 1
        source = (f"127.{1 + self._number}.{self._connections // 250 % 250}.{1 + self._connections % 250}", 0)
        with socket.create_connection(self._address, PATIENCE_S, source) as connection:
            stays = self._chance.random() < STAYS
            cut = self._chance.randint(0, len(data))
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data[:cut])
                connection.sendall(data[cut:])
                if not stays:
                    connection.shutdown(socket.SHUT_WR)
            return kind_of(self._read(connection, stays))

    def _read(self, connection: socket.socket, stays: bool) -> bytes:
        """Read to the end, or to the first bytes of an answer for a client that stays."""
        deadline = time.monotonic() + PATIENCE_S
        received = b""
        while not (stays and received):
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                chunk = connection.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            received = received[:64] + chunk[:64]
        return received


def kind_of(answer: bytes) -> str:
    if answer.startswith(b"HTTP/1.1 "):
        return answer[:12].decode("latin-1")
    return "HTTP/2" if answer else ENDED


@contextmanager
def relayer(directory: Path) -> Iterator[Deployment]:
    """A relayer with two workers, a store, a chain that stands still and the test backend."""

    def configure(settings: dict[str, Any]) -> None:
        settings["extensions"]["client_timeout_seconds"] = CLIENT_TIMEOUT_S

    with deployment(directory, RELAYER, relayer=configure, block_time_s=STILL_S) as running:
        running.step_to(HEIGHT)
        yield running


def run_live(
    name: str, *, inputs: int, seed: int, seconds: float, directory: Path, say: Callable[[str], None]
) -> Outcome:
    """Run one of `TRANSPORTS` against a relayer of its own."""
    own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=directory))
    tally = Tally(own)
    transport = TRANSPORTS[name]
    with relayer(own / "stage") as running:
        sender = Sender(running.layout.ports.address("grpc"), (SERVICE,), HEIGHT)
        check_good(exchange(running.relayer_address, sender.post(SERVICE)))
        seeds = transport.seeds(sender)
        target = Target(lambda: seeds, plain(bool), transport.words, MAX_BYTES)
        before, processes = books(running), serving_processes(running)
        started = time.monotonic()
        todo = Inputs(mutated_inputs(target, seed), inputs, started + seconds if seconds else float("inf"))
        first = send_all(todo, seed, running, tally, lambda text: say(f"{name}: {text}"))
        elapsed_s = time.monotonic() - started
        last = memory_kb(processes)
        if books(running) != before:
            tally.found("charged or mined", f"{before} became {books(running)}")
        if serving_processes(running) != processes:
            tally.found("process ended", f"{processes} became {serving_processes(running)}")
        judge_memory(first, last, tally)
        judge_health(running, sender, tally)
    for answer, number in tally.answers.most_common(8):
        say(f"{name}: {number:,} × {answer}")
    served = tally.count - tally.answers[ENDED] - tally.answers["none"]
    order = Order(name, "mutation", inputs, seed, seconds, str(own))
    finds = tuple(tally.finds.values())
    return Outcome(
        order,
        tally.count,
        served,
        elapsed_s,
        tally.slowest_s,
        sum(first.values()),
        sum(last.values()),
        finds,
        python=platform.python_version(),
    )


def send_all(
    todo: Inputs, seed: int, running: Deployment, tally: Tally, say: Callable[[str], None]
) -> dict[int, int]:
    """Have all clients talk to the end; returns the processes' memory half-way."""
    clients = [Client(number, seed, running.relayer_address, tally) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, args=(todo,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    first: dict[int, int] = {}
    said = time.monotonic()
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(0.2)
        if not first and tally.count >= FIRST_LOOK_AT * todo.most:
            first = memory_kb(serving_processes(running))
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            sizes = ", ".join(f"{kb // 1024}" for kb in memory_kb(serving_processes(running)).values())
            say(f"{tally.count:,} connections, processes of {sizes} MiB")
    return first or memory_kb(serving_processes(running))


def serving_processes(running: Deployment) -> list[int]:
    """The workers of the relay port, and the gRPC processes behind it."""
    return sorted([*running.front_end_workers(), *running.children_of("relayer", "relayer_web.grpc_server")])


def memory_kb(processes: list[int]) -> dict[int, int]:
    return {process: resident_kb(process) for process in processes}


def books(running: Deployment) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """What was charged and what was mined."""
    return running.charges(), running.streams()


def judge_memory(first: dict[int, int], last: dict[int, int], tally: Tally) -> None:
    for process, kb in last.items():
        if kb - first.get(process, kb) > MAX_GROWTH_KB:
            tally.found("growth", f"process {process}: {first[process]} KiB, then {kb} KiB")


def judge_health(running: Deployment, sender: Sender, tally: Tally) -> None:
    """The same deployment serves the next relay, and has nothing to say about those before."""
    log = running.supervisor.child("relayer").log_path.read_text(errors="replace")
    if "Traceback" in log:
        tally.found("traceback", log[log.index("Traceback") :][:2000])
    if running.told:
        tally.found("supervisor", "; ".join(running.told))
    try:
        check_good(exchange(running.relayer_address, sender.post(SERVICE)))
    except AssertionError as error:
        tally.found("does not serve any more", str(error))
