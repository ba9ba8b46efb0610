"""How the backend shall behave: its settings, and what it has counted."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from localnet.http_server import Request
from pocket_protocol.errors import Malformed

KEPT_REQUESTS: Final = 200


class SettingsInvalid(Malformed):
    """Backend settings that mean nothing."""

    reason = "backend_settings_invalid"
    summary = "backend settings cannot be used"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a backend does besides answering."""

    backend_id: str = "unknown"
    error_rate: float = 0.0  # share of requests answered with one of the error codes
    error_code: int = 500
    error_codes: tuple[int, ...] = ()  # () means error_code
    delay_ms: float = 0.0
    broken_compression: bool = False  # gzip bodies without Content-Encoding
    fat_payload_bytes: int = 0

    def changed(self, values: dict[str, Any]) -> Settings:
        """Return the settings with some replaced. Raises `SettingsInvalid`."""
        defaults = {member.name: getattr(Settings(), member.name) for member in fields(self)}
        prepared: dict[str, Any] = {}
        for name, value in values.items():
            value = tuple(value) if isinstance(value, list) else value
            default = defaults.get(name)
            wanted = (int, float) if isinstance(default, float) else type(default)
            if name not in defaults or not isinstance(value, wanted):
                raise SettingsInvalid(f"{name}: {value!r} cannot be set")
            prepared[name] = value
        return replace(self, **prepared)


@dataclass(slots=True)
class Counters:
    """What arrived. Plain attributes and one lock: it is on the path of every relay."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)  # (protocol, method) -> number
    seconds: Counter[str] = field(default_factory=Counter)  # protocol -> time spent
    received: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def count(self, protocol: str, method: str, seconds: float) -> None:
        with self.lock:
            self.requests[protocol, method] += 1
            self.seconds[protocol] += seconds  # type: ignore[assignment]

    def remember(self, request: Request) -> None:
        """Keep what was received, for tests that look at headers."""
        self.received.append(
            {
                "method": request.method,
                "target": request.target,
                "headers": request.headers,
                "body": request.body[:65536].decode("utf-8", "replace"),
                "body_bytes": len(request.body),
            }
        )

    def remember_call(self, method: str, metadata: list[tuple[str, Any]]) -> None:
        """Keep a gRPC call as the request it is: its path, and its metadata as headers."""
        headers = {name: str(value) for name, value in metadata}
        self.received.append({"method": "POST", "target": method, "headers": headers})

    def to_json(self) -> dict[str, Any]:
        with self.lock:
            listed = [
                {"protocol": protocol, "method": method, "requests": number}
                for (protocol, method), number in sorted(self.requests.items())
            ]
            return {"total": sum(self.requests.values()), "requests": listed}

    def reset(self) -> None:
        with self.lock:
            self.requests.clear()
            self.seconds.clear()
            self.received.clear()

    def exposition(self) -> str:
        """Return the counters in Prometheus' text format."""
        with self.lock:
            lines = ["# TYPE demo_requests_total counter"]
            lines += [
                f'demo_requests_total{{protocol="{protocol}",method="{method}"}} {number}'
                for (protocol, method), number in sorted(self.requests.items())
            ]
            lines.append("# TYPE demo_request_duration_seconds summary")
            for protocol, seconds in sorted(self.seconds.items()):
                number = sum(n for (p, _), n in self.requests.items() if p == protocol)
                lines.append(f'demo_request_duration_seconds_sum{{protocol="{protocol}"}} {seconds:.6f}')
                lines.append(f'demo_request_duration_seconds_count{{protocol="{protocol}"}} {number}')
        return "\n".join(lines) + "\n"
