"""The configuration file as it changes, and when each change takes effect (spec/relayer.md §6).

| key | takes effect |
|---|---|
| `LIVE` | at once |
| `AT_RESTART` | when the process is started again |
| all others | in new workers: `kill -HUP` |

What changed is logged by key, never by value: some are secrets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from operations.config_changes import config_changes
from operations.config_file import ConfigInvalid
from relayer_web.config import RelayerConfig, load_relayer_config

LIVE: Final = (
    "services",
    "default_validation_mode",
    "default_request_timeout_seconds",
    "default_max_body_size_bytes",
    "timeout_profiles",
    "pool_profiles",
    "http_transport",
    "response_compression",
    "relay_meter.enabled",
    "relay_meter.fail_behavior",
    "simulation",
    "extensions.strict_signatures",
    "extensions.max_ring_size",
    "extensions.refuse_placeholder_rings",
    "extensions.require_signed_handshakes",
    "extensions.mining_margin_blocks",
)
AT_RESTART: Final = (
    "listen_addr",
    "health_check",
    "metrics",
    "logging",
    "extensions.workers",
    "extensions.grpc_workers",
)

log = structlog.get_logger("relayer")


class ConfigFile:
    """The file, and what was last taken of it."""

    def __init__(self, path: Path, config: RelayerConfig) -> None:
        self._path = path
        self._config = config
        # The process may have been started with what the master read long ago: the file is looked at as if new.
        self._taken = self._doubted = b""

    def poll(self) -> RelayerConfig | None:
        """Return the new configuration when there is one; read twice alike, and valid."""
        content = self._content()
        if not content or content == self._taken:
            return None
        if content != self._doubted:
            self._doubted = content
            return None
        self._taken = content
        try:
            loaded = load_relayer_config(self._path)
        except ConfigInvalid as error:
            log.error("configuration not changed: the file is not valid", error=str(error))
            return None
        for warning in loaded.warnings:
            log.warning("configuration", warning=str(warning))
        if loaded.config == self._config:
            return None
        log_changes(self._config, loaded.config)
        self._config = loaded.config
        return loaded.config

    def _content(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError:
            return b""


def log_changes(old: RelayerConfig, new: RelayerConfig, *, in_new_workers: bool = False) -> None:
    """Say which keys changed, and which of them wait for what. `in_new_workers`: such are being started."""
    changed = list(config_changes(old, new))
    at_restart = [key for key in changed if _is_below(key, AT_RESTART)]
    at_once = [key for key in changed if key not in at_restart and (in_new_workers or _is_below(key, LIVE))]
    waiting = [key for key in changed if key not in at_restart and key not in at_once]
    log.info("configuration changed", keys=at_once)
    if at_restart or waiting:
        log.warning("changes that wait", for_new_workers=waiting, for_a_restart=at_restart)


def _is_below(key: str, prefixes: tuple[str, ...]) -> bool:
    words = key.split(" ")[0].split(".")
    return any(words[: len(prefix.split("."))] == prefix.split(".") for prefix in prefixes)
