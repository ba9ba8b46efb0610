"""Backends in the relayer's file: addresses, authentication, probes (spec/relayer.md §1.4, §2.7, §2.8, §6.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from operations.setting import Remark, redacted, setting, url_parts

TRANSPORTS = ("jsonrpc", "rest", "websocket", "grpc", "cometbft")
BREAKER_THRESHOLD = 5
_SCHEMES = {
    "jsonrpc": ("http", "https"),
    "rest": ("http", "https"),
    "cometbft": ("http", "https"),
    "websocket": ("ws", "wss"),
    "grpc": ("grpc", "grpcs", "http", "https"),
}
_MEANT = {
    "ws": "websocket",
    "websockets": "websocket",
    "wss": "websocket",
    "http": "jsonrpc",
    "json": "jsonrpc",
    "json-rpc": "jsonrpc",
    "json_rpc": "jsonrpc",
    "rpc": "jsonrpc",
    "grpcs": "grpc",
    "comet": "cometbft",
    "comet_bft": "cometbft",
    "tendermint": "cometbft",
    "restful": "rest",
}
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}(/.*)?")


@dataclass(frozen=True, slots=True)
class BackendTarget:
    """One address of a backend, with its scheme. `url` may hold secrets: show `name` or `redacted(url)`."""

    name: str = setting("", doc="shown in metrics and logs; empty: host and port")
    url: str = setting("", secret=True, doc="the address")

    SCALAR_KEY: ClassVar[str] = "url"


@dataclass(frozen=True, slots=True)
class Authentication:
    """How the relayer makes itself known to a backend; user and password win over tokens."""

    username: str = setting("", doc="basic authentication, with the password")
    password: str = setting("", secret=True, doc="basic authentication")
    bearer_token: str = setting("", secret=True, doc="sent as `Bearer <token>`")
    plain_token: str = setting("", secret=True, doc="sent as it is")

    def remarks(self) -> Iterator[Remark]:
        if bool(self.username) != bool(self.password):
            yield Remark((), "username and password only work together", warning=True)
        for name in ("username", "password", "bearer_token", "plain_token"):
            if re.search(r"[\r\n\0]", getattr(self, name)):
                yield Remark((name,), "must be one line")


@dataclass(frozen=True, slots=True)
class BackendHealthCheck:
    """Active probes of one backend."""

    enabled: bool = setting(False, doc="probe the addresses")
    endpoint: str = setting("", doc="path asked; needed unless base_path is set")
    interval_seconds: int = setting(0, minimum=0, doc="between probes; needed when enabled")
    timeout_seconds: int = setting(5, minimum=0, blank_is_default=True, doc="at most 10")
    unhealthy_threshold: int = setting(0, minimum=0, doc="0: 3 failed probes, 5 failed relays")
    healthy_threshold: int = setting(
        2, minimum=0, blank_is_default=True, doc="good probes until an address is up again"
    )
    method: str = setting("GET", blank_is_default=True, doc="of a probe")
    request_body: str = setting("", doc="of a probe")
    content_type: str = setting("", doc="of the probe's body")
    expected_body: str = setting("", doc="text a good answer contains")
    expected_status: tuple[int, ...] = setting(
        (), minimum=100, maximum=599, doc="good answers; empty: 200 to 299"
    )
    headers: Mapping[str, str] = setting(factory=dict, secret=True, doc="of a probe")

    @property
    def failed_probes(self) -> int:
        """Failed probes in a row until an endpoint counts as down."""
        return self.unhealthy_threshold or 3

    @property
    def probe_timeout_s(self) -> float:
        return float(min(self.timeout_seconds, 10))

    def remarks(self) -> Iterator[Remark]:
        if self.enabled and self.interval_seconds <= 0:
            yield Remark(("interval_seconds",), "must be positive")
        if not re.fullmatch(r"[A-Za-z]+", self.method):
            yield Remark(("method",), "must be an HTTP method")
        yield from header_remarks(self.headers)


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One transport of one service."""

    url: str = setting("", secret=True, doc="one address")
    urls: tuple[BackendTarget, ...] = setting((), secret=True, doc="several: texts or {name, url}")
    base_path: str = setting("", doc="prefix of every path; replaces the URL's own")
    load_balancing: Literal["", "round_robin", "first_healthy"] = setting(
        "", doc="empty: first_healthy for one address, round_robin for more"
    )
    headers: Mapping[str, str] = setting(factory=dict, secret=True, doc="set on every request")
    authentication: Authentication = field(default_factory=Authentication)
    max_retries: int = setting(1, doc="0 to 3")
    recovery_timeout_seconds: int = setting(
        30, minimum=0, doc="until a tripped address is tried again; 0: never"
    )
    health_check: BackendHealthCheck = field(default_factory=BackendHealthCheck)

    @property
    def strategy(self) -> str:
        return self.load_balancing or ("round_robin" if len(self.urls) > 1 else "first_healthy")

    @property
    def breaker_threshold(self) -> int:
        """Failed relays in a row until an address is passed over."""
        return self.health_check.unhealthy_threshold or BREAKER_THRESHOLD

    def targets(self, transport: str) -> tuple[BackendTarget, ...]:
        """Return the addresses as full URLs with their names."""
        given = self.urls or ((BackendTarget(url=self.url),) if self.url else ())
        complete = ((target.name, complete_url(transport, target.url)) for target in given)
        return tuple(
            BackendTarget(name or urlsplit(url).netloc.rpartition("@")[2], url) for name, url in complete
        )

    def remarks_as(self, transport: str) -> Iterator[Remark]:
        """Say what is wrong with this backend when it serves `transport`; paths begin at the service."""
        here = ("backends", transport)
        if self.url and self.urls:
            yield Remark((*here, "urls"), "url and urls are mutually exclusive; use one or the other")
        elif not self.url and not self.urls:
            yield Remark(here, "at least one of url or urls is required")
        if self.url:
            yield from _url_remarks(transport, self.url, (*here, "url"))
        for index, target in enumerate(self.urls):
            yield from _url_remarks(transport, target.url, (*here, "urls", f"[{index}]"))
        yield from self._duplicate_remarks(transport, (*here, "urls"))
        if not 0 <= self.max_retries <= 3:
            yield Remark((*here, "max_retries"), f"must be 0-3, got {self.max_retries}")
        if self.health_check.enabled and not (self.health_check.endpoint or self.base_path):
            text = "is required when enabled (or set base_path on the backend)"
            yield Remark((*here, "health_check", "endpoint"), text)
        for remark in header_remarks(self.headers):
            yield Remark((*here, *remark.path), remark.text)

    def _duplicate_remarks(self, transport: str, path: tuple[str, ...]) -> Iterator[Remark]:
        places: set[tuple[str, str]] = set()
        names: set[str] = set()
        for index, target in enumerate(self.urls):
            parts = url_parts(complete_url(transport, target.url))
            place = (parts.netloc.rpartition("@")[2], parts.path.rstrip("/")) if parts else ("", target.url)
            if place in places:
                text = f"duplicate URL detected: {redacted(target.url)}"
                yield Remark((*path, f"[{index}]"), text)
            if target.name and target.name in names:
                yield Remark((*path, f"[{index}]"), f"duplicate name detected: {target.name}")
            places.add(place)
            names.add(target.name)


def complete_url(transport: str, url: str) -> str:
    """Give a bare `host:port` its scheme: grpc:// for gRPC, http:// for the HTTP transports."""
    if _HOST_AND_PORT.fullmatch(url) and transport != "websocket":
        return f"grpc://{url}" if transport == "grpc" else f"http://{url}"
    return url


def backend_type_remark(name: str) -> Remark:
    """Refuse an unknown transport, with the one that was probably meant."""
    meant = _MEANT.get(name.lower())
    hint = f' (did you mean "{meant}"?)' if meant else ""
    text = f'unknown backend type "{name}" (valid: {", ".join(TRANSPORTS)}){hint}'
    return Remark(("backends", name), text)


def header_remarks(headers: Mapping[str, str]) -> Iterator[Remark]:
    """Header names are tokens, values one line; the values are never shown."""
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            yield Remark(("headers", name), "is not a header name")
        if re.search(r"[\r\n\0]", value):
            yield Remark(("headers", name), "the value must be one line")


def _url_remarks(transport: str, url: str, path: tuple[str, ...]) -> Iterator[Remark]:
    if not url:
        yield Remark(path, "is empty")
        return
    parts = url_parts(complete_url(transport, url))
    if parts is None:
        yield Remark(path, "is not a URL")
    elif transport == "websocket" and parts.scheme not in _SCHEMES["websocket"]:
        yield Remark(
            path,
            f'websocket backend url must use ws:// or wss:// (got "{parts.scheme}" in "{redacted(url)}"); an'
            " http/https url is dialed as WebSocket and fails at connect time",
        )
    elif parts.scheme not in _SCHEMES[transport]:
        valid = ", ".join(f"{scheme}://" for scheme in _SCHEMES[transport])
        yield Remark(path, f'url must use {valid} (got "{parts.scheme}")')
    elif not parts.hostname:
        yield Remark(path, "has no host")
    elif re.search(r"[\s\0]", url):
        yield Remark(path, "must not hold blanks")
