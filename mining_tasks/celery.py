"""The Celery application: `POCKET_MINER_CONFIG=miner.yaml celery -A mining_tasks worker|beat|flower`.

Nothing is read at import: the configuration is loaded when Celery first asks for a setting.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from mining_tasks.celery_settings import celery_settings, configured

app = Celery("mining_tasks", set_as_current=False)


@app.on_configure.connect(weak=False)
def _configure(sender: Any, **_: Any) -> None:
    sender.config_from_object(celery_settings(configured().config))
