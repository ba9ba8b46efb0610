"""gunicorn and Celery started by their own commands, with nothing but the two configuration files."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from mining_tasks.config import CONFIG_VARIABLE as MINER_CONFIG
from mining_tasks.config import load_miner_config
from relay_cli.serve.miner_processes import node_is_listed
from relay_cli.supervisor.probes import accepts, http_ok
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.up.layout import Layout
from relay_store.sessions import Sessions
from relayer_web.config import CONFIG_VARIABLE as RELAYER_CONFIG
from tests.integration.raw_http import exchange
from tests.integration.sender import Sender, address, check_good
from tests.integration.stage import FOUNDATION, STILL_S, Deployment, deployment, litter, wait_until

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TAKE_OVER_S = 5.0


def plain_commands(layout: Layout) -> list[ProcessSpec]:
    """The commands of the handbook, from the repository's directory."""
    ports = layout.ports
    relayer = {RELAYER_CONFIG: str(layout.relayer_config)}
    miner = {MINER_CONFIG: str(layout.miner_config)}
    listed = node_is_listed(load_miner_config(layout.miner_config).config)

    def spec(name: str, command: str, ready: object, environment: dict[str, str]) -> ProcessSpec:
        words = (str(BIN / command.split()[0]), *command.split()[1:])
        return ProcessSpec(name, words, 1, ready, environment, directory=ROOT, restarts=False)  # type: ignore[arg-type]

    return [
        spec("relayer", "gunicorn -c relayer_web/gunicorn_conf.py relayer_web.wsgi:app", http_ok(f"{ports.url('health')}/ready"), relayer),
        spec("worker", "celery -A mining_tasks worker", listed, miner),
        spec("beat", "celery -A beat_schedule beat", lambda: True, miner),
        spec("other beat", "celery -A mining_tasks beat", lambda: True, miner),
        spec("flower", f"celery -A mining_tasks flower --address=127.0.0.1 --port={ports.numbers['flower']}", accepts(ports.address("flower")), miner),
    ]  # fmt: skip


def leaves_of(running: Deployment, supplier: str) -> int:
    return Sessions(running.store, running.keys, address(supplier)).totals().get("leaves", 0)


def beat_lease(running: Deployment) -> bytes | None:
    token: bytes | None = running.store.client.get(running.keys.beat_lease().lease)
    return token


@pytest.mark.slow
def test_each_command_does_its_job(tmp_path: Path) -> None:
    with deployment(
        tmp_path, FOUNDATION, more=plain_commands, block_time_s=STILL_S, front_end_workers=1
    ) as running:
        sender = Sender(running.layout.ports.address("grpc"), ("develop-http",), 1)
        check_good(exchange(running.relayer_address, sender.post("develop-http")))
        wait_until(lambda: leaves_of(running, "supplier1") == 1, "the worker to make a leaf of the relay")
        assert set(running.streams().values()) == {0}
        assert http_ok(f"{running.layout.ports.url('flower')}/healthcheck")()

        first = wait_until(lambda: beat_lease(running), "a beat to take the lease")
        killed_at = time.monotonic()
        holder = next(name for name in ("beat", "other beat") if "this beat ticks" in log_of(running, name))
        os.kill(running.process_id(holder), signal.SIGKILL)
        wait_until(lambda: beat_lease(running) not in (None, first), "the other beat to take the lease")
        assert time.monotonic() - killed_at < TAKE_OVER_S
    assert litter(ROOT) == []


def log_of(running: Deployment, name: str) -> str:
    path = running.supervisor.child(name).log_path
    assert path is not None
    return path.read_text()
