"""SIGTERM, SIGINT and SIGHUP as an event, so that an orderly end is one code path."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Yield an event that the signals set; handlers are as before afterwards. Main thread only."""
    event = threading.Event()
    before = {number: signal.signal(number, lambda *_: event.set()) for number in _SIGNALS}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
