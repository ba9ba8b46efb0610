"""The worker's life, told by Celery's signals: logs, the node in the parent, a workplace in each child."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from typing import Any, Final

import structlog
from celery import signals
from celery.platforms import EX_FAILURE
from celery.worker import state

from mining_tasks.celery import app
from mining_tasks.node import Node
from mining_tasks.process import Identity, hold_keys, identify, process_metrics, workplace
from mining_tasks.routing import supplier_queue
from mining_tasks.wiring import keys_of, open_store
from operations.logs import configure
from operations.metrics_server import mark_process_dead
from pocket_chain.blocks import BlockSource
from pocket_protocol.errors import PocketError, Unavailable
from relay_store.probe import probe
from relay_store.version import check_version

_CHATTY: Final = ("celery.worker.strategy", "celery.app.trace", "celery.beat")

log = structlog.get_logger("worker")

START_RETRY_S: Final = 1.0
TASK_LIFE_S: Final = 60.0

_node: Node | None = None
_ending = threading.Event()


class WorkerQueues:
    """The queues of Celery's consumer, in the parent process."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._wanted: set[str] = set()

    def consume(self, suppliers: tuple[str, ...]) -> None:
        """Consume exactly these suppliers' queues; asked for anew each time, so a reconnect forgets none."""
        wanted = {supplier_queue(supplier) for supplier in suppliers}
        tasks = self._consumer.task_consumer
        if tasks is None:
            return  # between two connections
        for queue in wanted:
            if not tasks.consuming_from(queue):
                self._consumer.call_soon(self._consumer.add_task_queue, queue)
        for queue in self._wanted - wanted:
            self._consumer.call_soon(self._consumer.cancel_task_queue, queue)
        self._wanted = wanted

    def send(self, task: str, suppliers: Sequence[str], *, unless_waiting: bool = False) -> None:
        """Send a task to each supplier's queue; `unless_waiting`, only where none of its kind lies there.

        Without that, hundreds of suppliers with fast blocks would be sent more tasks than can be taken. Other kinds
        do not count: a queue full of accumulations must not keep a claim from its window.
        """
        if not suppliers:
            return
        with app.producer_or_acquire() as producer:
            if unless_waiting:
                suppliers = _without(task, suppliers, producer.connection.default_channel)
            for supplier in suppliers:
                app.send_task(
                    task,
                    args=(supplier,),
                    queue=supplier_queue(supplier),
                    producer=producer,
                    expires=TASK_LIFE_S if unless_waiting else None,
                )


def _without(task: str, suppliers: Sequence[str], channel: Any) -> list[str]:
    """Return the suppliers in whose queue no such task lies."""
    pipeline = channel.client.pipeline()
    for supplier in suppliers:
        pipeline.lrange(f"{channel.global_keyprefix}{supplier_queue(supplier)}", 0, -1)
    mark = f'"task": "{task}"'.encode()  # in the headers, which are not encoded
    return [
        supplier
        for supplier, messages in zip(suppliers, pipeline.execute(), strict=True)
        if not any(mark in message for message in messages)
    ]


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: Any) -> None:
    section = identify().config.logging
    configure(section, "miner")
    if section.level not in ("trace", "debug"):
        for name in _CHATTY:  # a line or two for each task
            logging.getLogger(name).setLevel(logging.WARNING)


@signals.celeryd_init.connect(weak=False)
def _draw_identity(**_: Any) -> None:
    """Before anything is forked: who this node is."""
    identify()


@signals.worker_ready.connect(weak=False)
def _start_node(sender: Any, **_: Any) -> None:
    """In a thread of its own: the store may be away, and the worker's loop must go on."""
    _ending.clear()
    queues = WorkerQueues(sender)
    threading.Thread(target=_start_when_possible, args=(queues,), name="node start", daemon=True).start()


def _start_when_possible(queues: WorkerQueues) -> None:
    """Start the node as soon as the store answers; end the worker when it can never start."""
    global _node
    identity = identify()
    while not _ending.is_set():
        try:
            node = _make_node(identity, queues)
        except Unavailable as error:
            log.warning("node cannot start yet", reason=error.reason, error=str(error)[:300])
            _ending.wait(START_RETRY_S)
            continue
        except PocketError as error:
            log.error("node cannot start", reason=error.reason, error=str(error))
            state.should_stop = EX_FAILURE  # looked at by the worker's loop
            return
        node.start()
        _node = node
        log.info("node is at work", name=identity.name)
        return


def _make_node(identity: Identity, queues: WorkerQueues) -> Node:
    config = identity.config
    keys = keys_of(config.redis, config.extensions)
    store = open_store(config, "pocket-miner-node")
    check_version(store, keys)
    for warning in probe(store).warnings:
        log.warning("store", warning=warning)
    return Node(
        config,
        store,
        keys,
        hold_keys(),
        queues,
        BlockSource.of(config.pocket_node, config.extensions.fallback_nodes, config.block_time_seconds),
        process_metrics(),
        token=identity.token,
        name=identity.name,
    )


@signals.worker_shutting_down.connect(weak=False)
def _announce_end(**_: Any) -> None:
    log.info("node ends when its tasks are done")
    _ending.set()
    if _node is not None:
        _node.close()


@signals.worker_shutdown.connect(weak=False)
def _stop_node(**_: Any) -> None:
    global _node
    node, _node = _node, None
    if node is not None:
        node.stop()
        shutil.rmtree(node.lock_directory, ignore_errors=True)


@signals.worker_process_init.connect(weak=False)
def _open_workplace(**_: Any) -> None:
    """Make connections before the first task; what cannot be made now is made by it."""
    try:
        workplace()
    except PocketError as error:
        log.warning("not ready yet", reason=error.reason, error=str(error)[:300])


@signals.worker_process_shutdown.connect(weak=False)
def _forget_process(pid: int = 0, **_: Any) -> None:
    if pid:
        mark_process_dead(pid)
