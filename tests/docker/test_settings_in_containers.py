"""Our Celery settings on pytest-celery's own containers: broker and worker from images, nothing of this machine.

pytest-celery needs a Docker engine and its plugin, which the other tests run without: `make docker-test`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mining_tasks.celery_settings import celery_settings
from mining_tasks.config import load_miner_config


def _docker_runs() -> bool:
    docker = pytest.importorskip("docker")
    try:
        docker.from_env().ping()
    except docker.errors.DockerException:
        return False
    return True


pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not _docker_runs(), reason="no Docker engine answers (pytest-celery needs one)"),
]
# What the containers decide for themselves, and the answers this test waits for.
NOT_OURS = (
    "broker",
    "result",
    "task_ignore",
    "task_routes",
    "include",
    "beat",
    "worker_consumer",
    "worker_pool",
)
EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "config" / "miner.yaml"


@pytest.fixture
def default_worker_app(default_worker_app: Any) -> Any:
    """pytest-celery's application with our settings."""
    settings = celery_settings(load_miner_config(EXAMPLE).config)
    ours = {name: value for name, value in settings.items() if not name.startswith(NOT_OURS)}
    default_worker_app.conf.update(ours)
    return default_worker_app


def test_a_task_is_done_under_our_settings(celery_setup: Any) -> None:
    from pytest_celery import RESULT_TIMEOUT, ping

    queue = celery_setup.worker.worker_queue
    assert ping.s().apply_async(queue=queue).get(timeout=RESULT_TIMEOUT) == "pong"
