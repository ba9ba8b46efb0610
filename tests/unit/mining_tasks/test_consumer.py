"""A worker outlives its broker, also with a message in hand."""

from __future__ import annotations

import logging
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.concurrency.prefork import TaskPool
from celery.worker.consumer import Consumer
from kombu import Connection, Message, Queue

from mining_tasks.consumer import EnduringConsumer
from tests.stores import kill_server, private_server


def after_loss(kind: type[Consumer], directory: Path) -> tuple[Consumer, Message]:
    """A consumer whose broker was killed while it had one message in hand and waited for the next; the message."""
    with private_server(directory) as server:
        connection = Connection(server.connection_url)
        connection.SimpleQueue("work").put({})
        received: list[Message] = []
        connection.Consumer([Queue("work")], on_message=received.append).consume()
        connection.Consumer([Queue("control")], channel=connection.channel()).consume()
        while not received:
            connection.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.05)
        kill_server(server)
    consumer = kind.__new__(kind)
    consumer.app = Celery(set_as_current=False)
    consumer.app.conf.worker_cancel_long_running_tasks_on_connection_loss = True
    consumer.app.conf.worker_enable_prefetch_count_reduction = False
    consumer.connection = connection
    return consumer, received[0]


def test_a_lost_broker_does_not_end_the_worker(tmp_path: Path) -> None:
    consumer, _ = after_loss(EnduringConsumer, tmp_path)
    consumer.on_connection_error_after_connected(ConnectionError())
    assert consumer.connection is None


@pytest.mark.parametrize("end", ["ack_log_error", "reject_log_error"])
def test_a_task_that_ends_after_its_broker_was_lost_does_not_end_the_worker(tmp_path: Path, end: str) -> None:
    consumer, message = after_loss(EnduringConsumer, tmp_path)
    errors = consumer.connection.connection_errors
    consumer.on_connection_error_after_connected(ConnectionError())
    getattr(message, end)(logging.getLogger(), errors)


def test_celery_s_own_consumer_still_needs_this(tmp_path: Path) -> None:
    """When this fails, the library has been mended and `EnduringConsumer` can go."""
    with pytest.raises(AttributeError, match="hostname"):
        after_loss(Consumer, tmp_path)[0].on_connection_error_after_connected(ConnectionError())


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    """A pool of one child, as it is before the worker's event loop runs."""
    pool = TaskPool(limit=1, threads=False, forking_enable=True, app=Celery(set_as_current=False))
    pool.on_start()
    yield pool
    pool.terminate()


def after_death(kind: type[Consumer], pool: TaskPool) -> Consumer:
    """A consumer whose pool's child was killed."""
    (child,) = pool._pool._pool
    os.kill(child.pid, signal.SIGKILL)
    child._popen.wait(timeout=10)
    consumer = kind.__new__(kind)
    consumer.controller = consumer.timer = None
    consumer.task_buckets = defaultdict(lambda: None)
    consumer.pool = pool
    return consumer


def test_a_broker_lost_while_a_child_dies_at_the_start_does_not_end_the_worker(pool: TaskPool) -> None:
    (dead,) = pool._pool._pool
    after_death(EnduringConsumer, pool).on_close()
    (child,) = pool._pool._pool
    assert child.pid != dead.pid and child.is_alive()


def test_celery_s_own_consumer_ends_then(pool: TaskPool) -> None:
    """When this fails, the library has been mended and `on_close` can go."""
    with pytest.raises(StopIteration):
        after_death(Consumer, pool).on_close()
