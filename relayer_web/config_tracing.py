"""Tracing in the configuration: where spans go, and of how many relays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from operations.setting import Remark, setting, shown

TRACES_PATH = "/v1/traces"


def collector_url(text: str) -> str:
    """Check the address of an OTLP/HTTP collector; without a path it gets the usual one. Raises ValueError."""
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown(text)} is no http:// or https:// address of a collector")
    if "@" in parts.netloc or parts.query:
        raise ValueError("credentials of a collector stand in the environment: OTEL_EXPORTER_OTLP_HEADERS")
    return text if parts.path.strip("/") else text.rstrip("/") + TRACES_PATH


@dataclass(frozen=True, slots=True)
class TracingSection:
    """Spans of the relay's stages, for a collector of OpenTelemetry."""

    endpoint: str = setting(
        "", parse=collector_url, doc="OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: off"
    )
    sample_ratio: float = setting(0.01, minimum=0, maximum=1, doc="part of all relays that is traced")

    def remarks(self) -> Iterator[Remark]:
        if self.endpoint and not is_installed():
            text = "tracing needs the extra: pip install 'pocket-relay-miner[otel]'; nothing is traced"
            yield Remark(("endpoint",), text, warning=True)


def is_installed() -> bool:
    """Whether the extra `otel` is there."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
