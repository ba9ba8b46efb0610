"""The Celery application: `POCKET_MINER_CONFIG=miner.yaml celery -A mining_tasks worker|beat|flower`.

Nothing is read at import: the configuration is loaded when Celery first asks for a setting.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from mining_tasks.celery_settings import celery_settings, configured
from operations.config_file import ConfigInvalid

app = Celery("mining_tasks", set_as_current=False)


@app.on_configure.connect(weak=False)
def _configure(sender: Any, **_: Any) -> None:
    try:
        config = configured().config
    except ConfigInvalid as invalid:
        # Celery only logs what a signal's receiver raises, and would go on with a broker of its own choice.
        raise SystemExit(f"configuration is invalid:\n{invalid}") from None
    sender.config_from_object(celery_settings(config))
