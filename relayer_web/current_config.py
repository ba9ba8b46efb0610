"""The configuration of this deployment's processes: read by gunicorn's master, inherited by its workers.

A file that has become wrong is reported and changes nothing: workers started later, and after a SIGHUP, go by the
last good one.
"""

from __future__ import annotations

import os

import structlog

from operations.config_file import ConfigInvalid, Loaded
from relayer_web.config import CONFIG_VARIABLE, RelayerConfig, load_relayer_config
from relayer_web.config_effects import log_changes

log = structlog.get_logger("relayer")

_current: Loaded[RelayerConfig] | None = None


def current_config() -> RelayerConfig:
    """Return the configuration, read from the file named by `POCKET_RELAYER_CONFIG` at the first call.

    Raises ConfigInvalid then.
    """
    global _current
    if _current is None:
        _current = load_relayer_config(os.environ[CONFIG_VARIABLE])
    return _current.config


def log_warnings() -> None:
    """Log what the file could have said better."""
    for warning in _current.warnings if _current else ():
        log.warning("configuration", warning=str(warning))


def reload_config() -> bool:
    """Read the file again; keep what is known, and return False, when it is wrong."""
    global _current
    before = _current
    try:
        _current = load_relayer_config(os.environ[CONFIG_VARIABLE])
    except ConfigInvalid as error:
        log.error("configuration not changed: the file is not valid", error=str(error))
        return False
    if before is not None:
        log_changes(before.config, _current.config, in_new_workers=True)
    log_warnings()
    return True
