"""A relayer's processes: told to end, killed, reloaded; what its clients see of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.integration.relay_port import SETTINGS, Client, relay
from tests.integration.stage import wait_until
from tests.relayer_process import RelayerProcess, relayer_process


def test_relays_on_their_way_are_finished_when_the_process_is_told_to_end(tmp_path: Path) -> None:
    with relayer_process(tmp_path, settings=SETTINGS) as running:
        with Client(running) as idle, Client(running) as busy:
            assert idle.ask(relay()).status == 200
            busy.send(relay(b"slow"))
            with Client(running) as probe:  # a later request on the same process: the slow one was taken
                assert probe.ask(relay()).status == 200
            running.process.send_signal(signal.SIGTERM)
            reply = busy.reply()
            assert (reply.status, reply.json["body"]) == (200, "slow")
            assert idle.is_closed()
            assert busy.is_closed()
        assert running.process.wait(15) == 0


def test_who_is_connected_and_not_accepted_yet_is_served_when_the_process_is_told_to_end(
    tmp_path: Path,
) -> None:
    """Closing the listener would reset them after they have sent their relay."""
    with relayer_process(tmp_path, settings=SETTINGS, extensions={"workers": 2}) as running:
        master = running.process.pid
        children = Path(f"/proc/{master}/task/{master}/children")
        wait_until(lambda: len(children.read_text().split()) == 2, "the second worker")
        workers = [int(pid) for pid in children.read_text().split()]
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        waiting = [Client(running) for _ in range(20)]
        for client in waiting:
            client.send(relay())
        running.process.send_signal(signal.SIGTERM)
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
            os.kill(worker, signal.SIGCONT)
        for client in waiting:
            with client:
                assert client.reply().status == 200
                assert client.is_closed()
        assert running.process.wait(15) == 0


def test_the_processes_beside_the_workers_do_not_hold_the_addresses(tmp_path: Path) -> None:
    """Else clients would still be connected when nobody serves them any more, until the last such process has ended."""
    with relayer_process(
        tmp_path, settings=SETTINGS, metrics=True, extensions={"grpc_workers": 1}
    ) as running:
        table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ports = {f"{port:04X}" for port in (running.port, running.health_port)}
        listeners = {
            f"socket:[{row[9]}]" for row in table if row[3] == "0A" and row[1].split(":")[1] in ports
        }
        assert len(listeners) == 2

        def holds(process_id: int) -> bool:
            links = {str(path.readlink()) for path in Path(f"/proc/{process_id}/fd").iterdir()}
            return bool(listeners & links)

        master = running.process.pid
        children = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
        assert [holds(child) for child in children].count(True) == 1  # the worker
        assert len(children) == 3


def test_a_killed_worker_costs_neither_address_nor_metrics(tmp_path: Path) -> None:
    with relayer_process(tmp_path, settings=SETTINGS, metrics=True) as running:
        with Client(running) as client:
            first = client.ask(relay()).json["pid"]
        os.kill(first, signal.SIGKILL)
        with Client(running, running.health_port) as client:  # waits in the master's backlog
            assert client.ask(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").body == b"OK"
        with Client(running) as client:
            assert client.ask(relay()).json["pid"] != first
        assert _metrics_status(running) == 200


def test_a_killed_metrics_process_is_started_again(tmp_path: Path) -> None:
    with relayer_process(tmp_path, settings=SETTINGS, metrics=True) as running:
        assert _metrics_status(running) == 200
        children = (
            Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        )
        names = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
        (metrics,) = [int(child) for child, name in names.items() if b"metrics_server" in name]
        os.kill(metrics, signal.SIGKILL)
        assert _metrics_status(running) == 200


def test_a_reload_takes_the_file_as_it_is_unless_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "relayer.yaml"

    def ready(running: RelayerProcess, service: bytes) -> int:
        with Client(running) as client:
            return client.ask(b"GET /ready/%s HTTP/1.1\r\nHost: a\r\n\r\n" % service).status

    def process_of(running: RelayerProcess) -> int:
        with Client(running) as client:
            return client.ask(relay()).json["pid"]

    def reloaded(running: RelayerProcess) -> None:
        old = process_of(running)
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{old}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with relayer_process(tmp_path, settings=SETTINGS, extensions={"worker_connections": 1}) as running:
        assert (ready(running, b"svc"), ready(running, b"new")) == (200, 404)
        good = file.read_text()
        file.write_text(good + "  new: {backends: {jsonrpc: {url: 'http://127.0.0.1:9'}}}\n")
        reloaded(running)
        assert (ready(running, b"svc"), ready(running, b"new")) == (200, 200)
        file.write_text("services: [not, a, mapping]\n")
        reloaded(running)
        assert (ready(running, b"svc"), ready(running, b"new")) == (200, 200)
        assert "configuration not changed" in running.log.read_text()
        file.write_text(good.replace("worker_connections: 1", "worker_connections: 2"))
        reloaded(running)
        with Client(running) as one, Client(running) as other:
            assert one.ask(relay()).status == other.ask(relay()).status == 200


def _metrics_status(running: RelayerProcess) -> int:
    """Ask until it answers; the endpoint starts beside the workers."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with Client(running, running.metrics_port) as client:
                return client.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status
        except (ConnectionError, AssertionError):
            if time.monotonic() > deadline:
                raise
