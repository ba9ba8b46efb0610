"""A running local network: files, processes, and where they are. What `up` and `demo` have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pocket_protocol.curve import Curve
from relay_cli.run_directory import Run, owned, remove_run, write_run
from relay_cli.supervisor.supervisor import Supervisor
from relay_cli.up.files import write_files
from relay_cli.up.layout import Layout
from relay_cli.up.processes import up_processes


@dataclass(frozen=True, slots=True)
class Network:
    """What runs, and who watches it."""

    layout: Layout
    run: Run
    supervisor: Supervisor


@contextmanager
def running(
    layout: Layout, curve: Curve, tell: Callable[[str], None], stop: threading.Event
) -> Iterator[Network]:
    """Start a network, yield it when all is ready, stop it at the end; `stop` also ends an unfinished start.

    Raises `AlreadyRunning`, `PortTaken`, `StartFailed`, OSError; nothing is left running then.
    """
    with owned(layout.directory):
        write_files(layout, curve)
        supervisor = Supervisor(up_processes(layout), layout.logs, tell)
        try:
            supervisor.start(stop)
            write_run(layout.directory, layout.run())
            yield Network(layout, layout.run(), supervisor)
        finally:
            remove_run(layout.directory)
            supervisor.stop()


def addresses(run: Run) -> list[tuple[str, str]]:
    """Return (what, where) of everything a user may open."""
    return [
        ("relays", run.relayer_url),
        ("relayer status", f"{run.relayer_health_url}/status"),
        ("relayer metrics", run.relayer_metrics_url),
        ("miner metrics", run.miner_metrics_url),
        ("Flower (tasks)", run.flower_url),
        ("local chain (admin)", run.admin_url),
        ("local chain (RPC)", run.rpc_url),
        ("local chain (gRPC)", run.grpc_address),
        ("test backend", run.backend_url),
        ("store", run.store_url),
    ]
