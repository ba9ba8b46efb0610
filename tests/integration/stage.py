"""Whole deployments for tests: the processes of `up` on free ports, under the product's own supervisor.

A deployment is started once for many tests and always stopped; its logs stay in the test's directory, and the
last lines of a process that fails are in the error.
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pocket_protocol.curve import load_curve
from pocket_protocol.stream_entry import StreamEntry, decode_stream_entry
from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_cli.supervisor.probes import pongs
from relay_cli.supervisor.spec import PortTaken, ProcessSpec
from relay_cli.supervisor.supervisor import Supervisor
from relay_cli.up.files import write_files
from relay_cli.up.layout import Layout
from relay_cli.up.ports import HOST, ROLES, Ports
from relay_cli.up.processes import up_processes
from relay_store.block_feed import BlockPublisher
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from tests.stores import is_free

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# Below those the kernel gives to outgoing connections, and none that another process of the same tests may choose.
PORTS = range(15_000 + _WORKER, 32_000, _WORKERS)
FOUNDATION = ("store", "localnet", "backend")
RELAYER = (*FOUNDATION, "relayer")
STILL_S = 60.0  # a block time no test waits for: blocks come from `admin("step")` alone
PATIENCE_S = 20.0

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Edit = Callable[[dict[str, Any]], None]


def wait_until(
    condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S, *, every_s: float = 0.02
) -> Any:
    """Poll until `condition` gives something true, and return that. One that costs much is asked less often."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(every_s)


def free_ports(*more: str) -> Ports:
    """Return a free port for every role of `up`, and for those named."""
    chosen: dict[str, int] = {}
    for role in (*ROLES, *more):
        chosen[role] = next(port for port in _candidates() if port not in chosen.values() and is_free(port))
    return Ports(chosen)


def _candidates() -> Iterator[int]:
    generator = random.SystemRandom()
    while True:
        yield generator.choice(PORTS)


def litter(directory: Path) -> list[Path]:
    """Files that Celery and Flower leave in their working directory when they are let."""
    return [
        path for pattern in ("celerybeat*", "flower*", "*.pid", "*.db") for path in directory.glob(pattern)
    ]


def get_json(url: str) -> Any:
    with _DIRECT.open(url, timeout=10) as answer:
        return json.load(answer)


def edit_yaml(path: Path, edit: Edit) -> None:
    """Change a YAML file through a function on its content."""
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@dataclass
class Deployment:
    """What runs, and how a test looks at it."""

    layout: Layout
    supervisor: Supervisor
    store: Store
    keys: Keys = field(default_factory=Keys)
    told: list[str] = field(default_factory=list)  # what the supervisor said
    _chains: int = 0

    @property
    def relayer_address(self) -> tuple[str, int]:
        return HOST, self.layout.ports.numbers["relayer"]

    def admin(self, call: str, **body: Any) -> Any:
        """Do an admin call of the local chain: POST with a body or to a verb, GET for `status`, `ledger`, `params`."""
        url = f"{self.layout.ports.url('admin')}/{call}"
        if call in ("status", "ledger", "params"):
            return get_json(url)
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
        with _DIRECT.open(request, timeout=10) as answer:
            return json.load(answer)

    def step_to(self, height: int) -> None:
        """Make blocks up to `height`, and have the relayer know it."""
        missing = height - self.admin("status")["height"]
        if missing > 0:
            self.admin("step", blocks=missing)
        self.tell_height(height)

    def tell_height(self, height: int) -> None:
        """Have the relayer believe in a height, also in a lower one than before: as if of another chain each time."""

        def told() -> bool:
            if self.relayer_height() == height:
                return True
            self._chains += 1
            BlockPublisher(
                self.store.client,
                height_key=self.keys.height(),
                channel=self.keys.blocks_channel(),
                chain_id=f"chain {self._chains}",
            ).publish(BlockPosition(Height(height), BlockHash(bytes(32)), time.time_ns()))
            return self.relayer_height() == height

        wait_until(told, f"the relayer to see height {height}")

    def relayer_height(self) -> int:
        return int(get_json(f"{self.layout.ports.url('relayer')}/health")["block_height"])

    def entries(self, supplier: str) -> list[StreamEntry]:
        """What stands in a supplier's stream."""
        stream = self.store.client.xrange(self.keys.relay_stream(supplier))
        return [decode_stream_entry(fields[b"data"]) for _, fields in stream]

    def streams(self) -> dict[bytes, int]:
        """Each stream's length."""
        client = self.store.client
        return {
            key: client.xlen(key) for key in client.scan_iter("ha:relays:*") if client.type(key) == b"stream"
        }

    def charges(self) -> dict[bytes, int]:
        """What every session was charged, by meter key. A counter at 0 is what a refund leaves: no charge."""
        client = self.store.client
        keys = list(client.scan_iter("ha:meter:*:consumed"))
        consumed = client.mget(keys) if keys else []
        return {key: int(value) for key, value in zip(keys, consumed, strict=True) if value and int(value)}

    def is_store_up(self) -> bool:
        return pongs(self.layout.ports.address("store"))()

    def process_id(self, name: str) -> int:
        process_id = self.supervisor.child(name).process_id
        assert process_id is not None, f"{name} is not running"
        return process_id

    def children_of(self, name: str, containing: str) -> list[int]:
        """The direct child processes of a process of ours whose command line contains a text."""
        parent = self.process_id(name)
        numbers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(number) for number in numbers if containing.encode() in command_line(number)]

    def front_end_workers(self) -> list[int]:
        return self.children_of("relayer", "gunicorn")


def command_line(process_id: str) -> bytes:
    """A process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def deployment(
    directory: Path,
    parts: Sequence[str] | None = None,
    *,
    relayer: Edit = lambda settings: None,
    miner: Edit = lambda settings: None,
    prepare: Callable[[Layout], None] = lambda layout: None,
    more: Callable[[Layout], Sequence[ProcessSpec]] = lambda layout: (),
    localnet_flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    roles: Sequence[str] = (),
    **layout: Any,
) -> Iterator[Deployment]:
    """Run the named processes of `up` (all of them by default).

    `relayer` and `miner` change the settings, `prepare` any file of the layout, before anything starts; `more`
    gives processes to run beside those of `up`, whose ports are named by `roles`.
    """
    while True:
        made = Layout(directory, free_ports(*roles), **layout)
        write_files(made, load_curve())
        edit_yaml(made.relayer_config, relayer)
        edit_yaml(made.miner_config, miner)
        prepare(made)
        specs = [
            _changed(spec, localnet_flags, environment or {})
            for spec in up_processes(made)
            if parts is None or spec.name in parts
        ]
        specs += more(made)
        told: list[str] = []
        supervisor = Supervisor(specs, made.logs, told.append)
        try:
            supervisor.start()
        except PortTaken:
            continue  # taken since it was chosen
        break
    store = connect(made.store_url)
    try:
        yield Deployment(made, supervisor, store, told=told)
    finally:
        store.close()
        supervisor.stop()


def _changed(spec: ProcessSpec, localnet_flags: Sequence[str], environment: Mapping[str, str]) -> ProcessSpec:
    flags = tuple(localnet_flags) if spec.name == "localnet" else ()
    return replace(spec, command=(*spec.command, *flags), environment={**spec.environment, **environment})
