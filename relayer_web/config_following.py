"""The configuration file, followed while relays are served: no restart, no connection closed (users.md: hot reload).

The file is read every two seconds, and taken when the same content was read twice and is valid; a half-written or wrong
one is reported once and changes nothing. Requests already at a backend end there; later relays find the new services,
backends, limits and identities. Circuit breakers begin anew. `config_effects` says which keys this is about.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from relayer_web.config import CONFIG_VARIABLE, RelayerConfig
from relayer_web.config_effects import ConfigFile

POLL_S: Final = 2.0
log = structlog.get_logger("relayer")


class ConfigFollower:
    """Calls `on_change` with each new configuration, from a thread of its own."""

    def __init__(self, config: RelayerConfig, on_change: Callable[[RelayerConfig], None]) -> None:
        self._file = ConfigFile(Path(os.environ[CONFIG_VARIABLE]), config)
        self._on_change = on_change
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="config-following", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                config = self._file.poll()
                if config is not None:
                    self._on_change(config)
            except Exception as error:
                log.error("configuration not changed", exc_info=error)
