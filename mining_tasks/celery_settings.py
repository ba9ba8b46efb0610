"""Celery's settings, each for a reason that was measured (pipeline.md §5-6, ecosystem.md §1)."""

from __future__ import annotations

import os
from typing import Any

from mining_tasks.config import CONFIG_VARIABLE, MinerConfig, load_miner_config
from mining_tasks.routing import CONTROL_QUEUE, route
from operations.broker import broker_of
from operations.config_file import ConfigInvalid, Loaded, Problem


def configured(strict: bool = False) -> Loaded[MinerConfig]:
    """Load the file that POCKET_MINER_CONFIG names. Raises `ConfigInvalid`."""
    path = os.environ.get(CONFIG_VARIABLE, "")
    if not path:
        raise ConfigInvalid((Problem(CONFIG_VARIABLE, 1, "", "must name the miner's configuration file"),))
    return load_miner_config(path, strict=strict)


def celery_settings(config: MinerConfig) -> dict[str, Any]:
    """Return the settings of every Celery process of a miner: worker, beat, Flower."""
    extensions = config.extensions
    broker = broker_of(config.redis, extensions)
    slice_s = extensions.task_slice_seconds
    return {
        "broker_url": broker.url,
        "broker_transport_options": {
            **broker.options,
            "visibility_timeout": extensions.visibility_timeout_seconds,
            "unacked_restore_interval": 5,  # each look costs a connection object and a lock
            "unacked_restore_throttle": 1,  # by default lost tasks are looked for every 100 s only
            "priority_steps": [0],  # else four keys per queue are polled
            "queue_order_strategy": "round_robin",
            "health_check_interval": 10,
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "client_name": "pocket-miner",
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,  # else a broker that is out of memory ends the worker
        "result_backend": None,
        "result_expires": None,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": CONTROL_QUEUE,
        "task_create_missing_queues": True,
        "task_routes": (route,),
        "task_soft_time_limit": slice_s + 5,
        "task_time_limit": slice_s + 15,
        "worker_pool": "prefork",
        "worker_consumer": "mining_tasks.consumer:EnduringConsumer",
        "worker_concurrency": extensions.process_count,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_send_task_events": False,  # -E switches them on for Flower
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_proc_alive_timeout": 20.0,
        "enable_utc": True,
        "include": ("mining_tasks.tasks",),
        "beat_scheduler": "beat_schedule:GuardedScheduler",
        "beat_max_loop_interval": 0.5,
    }
