"""Log lines a test waits for, whatever other tests of its process have made of structlog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import structlog
from structlog.testing import LogCapture


@contextmanager
def captured(module: Any) -> Iterator[list[Any]]:
    """Collect what `module.log` is given, with its level."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False
    )
    with patch.object(module, "log", logger):
        yield capture.entries
