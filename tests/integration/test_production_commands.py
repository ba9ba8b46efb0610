"""`relayer` and `miner` as a service manager runs them: overrides, restarts, an orderly end, no secret in sight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocket_protocol.curve import load_curve
from relay_cli.run_directory import write_run
from relay_cli.supervisor.probes import http_ok
from relay_cli.supervisor.supervisor import Supervisor
from relay_cli.up.files import write_files
from relay_cli.up.layout import Layout
from relay_cli.up.ports import ROLES, Ports
from relay_cli.up.processes import foundation
from relay_store.connection import connect
from relay_store.keys import Keys
from relay_store.nodes import live_nodes
from relay_store.sessions import Sessions
from tests.integration.processes import (
    COMMAND,
    command,
    descendants,
    eventually,
    free_port_flags,
    process_table,
    running,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SECRET = "hush-hush-hush"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """Store, chain and backend, without relayer and miner."""
    flags = free_port_flags()
    numbers = {role: int(flags[flags.index(f"--{role}-port") + 1]) for role in ROLES}
    made = Layout(tmp_path / "run", Ports(numbers), front_end_workers=1, mining_processes=1)
    write_files(made, load_curve())
    supervisor = Supervisor(foundation(made), made.logs, print)
    supervisor.start()
    write_run(made.directory, made.run())
    yield made
    supervisor.stop()


def test_relayer_and_miner_work_with_a_store_named_on_the_command_line(
    layout: Layout, tmp_path: Path
) -> None:
    address = layout.ports.address("store")
    for config in (layout.relayer_config, layout.miner_config):
        config.write_text(config.read_text().replace(layout.store_url, "redis://127.0.0.1:1/0"))
    url = ("--redis-url", f"redis://default:{SECRET}@{address}/0")  # a store without a password takes any
    logs = tmp_path / "relayer.txt", tmp_path / "miner.txt"
    with (
        command("relayer", "--config", str(layout.relayer_config), *url, log=logs[0]) as relayer,
        command("miner", "--config", str(layout.miner_config), *url, log=logs[1]) as miner,
    ):
        eventually(http_ok(f"{layout.ports.url('health')}/ready"), 60)
        store, keys = connect(f"redis://{address}/0"), Keys()
        eventually(lambda: live_nodes(store, keys), 60)

        children = {
            **descendants(relayer.pid),
            **descendants(miner.pid),
            relayer.pid: process_table()[relayer.pid][1],
        }
        assert not any(SECRET in line for line in children.values()), "a password is not an argument"
        assert len(children) >= 8

        suppliers = send_relays(layout, 40)
        assert len(suppliers) == 2
        eventually(lambda: [mined(store, keys, supplier) for supplier in suppliers] == [20, 20], 30)

        worker = next(pid for pid, line in descendants(miner.pid).items() if "mining_tasks worker" in line)
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: "miner is ready again" in logs[1].read_text(), 60)

        left = set(children) | set(descendants(miner.pid))
        for process in (relayer, miner):
            process.send_signal(signal.SIGTERM)
        assert (relayer.wait(60), miner.wait(60)) == (0, 0)
        eventually(lambda: not running(left), 5)
        store.close()
    assert not any(SECRET in log.read_text() for log in logs)


def send_relays(layout: Layout, count: int) -> list[str]:
    """Send relays to both suppliers in turn; return the suppliers."""
    arguments = ("--load-test", "-n", str(count), "--all-suppliers", "--json")
    where = ("--localnet", "--dir", str(layout.directory), "--service", "develop-http")
    result = subprocess.run(
        [*COMMAND, "relay", "jsonrpc", *where, *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return sorted({entry["supplier"] for entry in json.loads(result.stdout)["served"]})


def mined(store: object, keys: Keys, supplier: str) -> int:
    """Return how many of a supplier's relays are leaves."""
    return Sessions(store, keys, supplier).totals().get("leaves", 0)  # type: ignore[arg-type]
