"""Log lines: one structured event each, JSON or text, on stderr.

`configure` is called once per process, before anything logs. Loggers come from `structlog.get_logger(component)`;
records of libraries that use the standard `logging` module come out in the same form. What could be a secret is
masked by its name, and passwords inside URLs wherever they stand; keys and payloads are never handed to a logger.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

from operations.sections import LoggingSection

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_SECRET_NAME = re.compile(
    r"(^|_)(password|passwd|secret|private_key|private_key_hex|mnemonic|phrase|token|bearer_token|authorization)$",
    re.IGNORECASE,
)
_URL_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)([^/?#\s@]*)@", re.IGNORECASE)
MASK = "***"

Entry = MutableMapping[str, Any]


def configure(section: LoggingSection, component: str, stream: TextIO | None = None) -> None:
    """Set up logging of this process; `component` names it in every line. `stream` defaults to stderr."""
    target = stream or sys.stderr
    level = _LEVELS[section.level]
    shared = _processors(section, component)
    renderer: Callable[..., Any] = (
        structlog.processors.JSONRenderer()
        if section.format == "json"
        else structlog.dev.ConsoleRenderer(colors=target.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _processors(section: LoggingSection, component: str) -> list[Any]:
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
    ]
    if section.sampling:
        processors.append(Sampling(section.sampling_initial, section.sampling_thereafter))
    if section.enable_caller:
        where = structlog.processors.CallsiteParameter
        processors.append(
            structlog.processors.CallsiteParameterAdder([where.FILENAME, where.LINENO, where.FUNC_NAME])
        )

    def name_component(_: object, __: str, entry: Entry) -> Entry:
        entry.setdefault("component", component)
        return entry

    return [
        *processors,
        name_component,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]


def mask_secrets(_: object, __: str, entry: Entry) -> Entry:
    """Mask fields whose name says they are secret, raw bytes, and credentials in URLs."""
    for name, value in entry.items():
        if name.startswith("_"):
            continue
        if _SECRET_NAME.search(name) and value:
            entry[name] = MASK
        elif isinstance(value, (bytes, bytearray, memoryview)):
            entry[name] = f"<{len(value)} bytes>"
        elif isinstance(value, str) and "@" in value:
            entry[name] = _URL_CREDENTIALS.sub(rf"\1{MASK}@", value)
    return entry


class Sampling:
    """Keeps the first lines of an event each second, then every n-th; warnings and errors always."""

    def __init__(self, initial: int, thereafter: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._initial = initial
        self._thereafter = thereafter
        self._now_s = now_s
        self._second = 0
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, _: object, method: str, entry: Entry) -> Entry:
        if method not in ("debug", "info"):
            return entry
        with self._lock:
            second = int(self._now_s())
            if second != self._second:
                self._second, self._seen = second, {}
            event = str(entry.get("event"))[:200]
            count = self._seen[event] = self._seen.get(event, 0) + 1
        if count > self._initial and (count - self._initial) % self._thereafter:
            raise structlog.DropEvent
        return entry
