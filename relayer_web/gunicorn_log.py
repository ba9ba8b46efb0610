"""gunicorn's own log lines in the form of all others. There is no access log: relays are counted, not listed."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger


class FrontEndLogger(Logger):  # type: ignore[misc]
    """Hands gunicorn's records to the root logger, which operations.logs has set up."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO if cfg.loglevel == "info" else self.error_log.level)
