"""One setting of a configuration file: its YAML key, default, bounds, and the readers of special values.

A section is a frozen dataclass. Each field is one setting; its name is the YAML key unless `key` says
otherwise (units belong in Python names, not in the file's keys: `cache_ttl_s` reads `cache_ttl`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

METADATA_KEY = "setting"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the binder checks about one setting."""

    key: str = ""
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    blank_is_default: bool = False
    merge: bool = False
    secret: bool = False
    parse: Callable[[str], Any] | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a section has to say about its own values.

    `path` is relative to the section, e.g. `("backends", "rest", "url")`; `text` is the whole sentence
    for the operator; a warning does not stop the process, an error does.
    """

    path: tuple[str, ...]
    text: str
    warning: bool = False


def setting(
    default: Any = MISSING,
    *,
    factory: Callable[[], Any] | Any = MISSING,
    key: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    required: bool = False,
    blank_is_default: bool = False,
    merge: bool = False,
    secret: bool = False,
    parse: Callable[[str], Any] | None = None,
    doc: str = "",
) -> Any:
    """Declare one setting of a section.

    `default` or `factory` gives the value where the file is silent. `required` refuses an empty text;
    `blank_is_default` reads 0, "" and [] as "the default"; `merge` lays a map over the default map entry
    by entry; `secret` keeps the value out of `repr` and of every message; `parse` turns the scalar's text
    into the value and raises ValueError with a sentence that teaches.
    """
    rule = Rule(key, minimum, maximum, required, blank_is_default, merge, secret, parse, doc)
    if factory is not MISSING:
        return field(default_factory=factory, metadata={METADATA_KEY: rule}, repr=not secret)
    return field(default=default, metadata={METADATA_KEY: rule}, repr=not secret)


def rule_of(item: Field[Any]) -> Rule:
    """Return the rule of a dataclass field; a plain field has the empty rule."""
    rule = item.metadata.get(METADATA_KEY)
    return rule if isinstance(rule, Rule) else Rule()


def default_of(item: Field[Any]) -> Any:
    """Return the default value of a dataclass field; every field of a section has one."""
    if item.default is not MISSING:
        return item.default
    if item.default_factory is not MISSING:
        return item.default_factory()
    raise TypeError(f"setting {item.name} has no default")


_DURATION_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def duration_s(text: str) -> float:
    """Read `2h`, `1h30m`, `300ms` or `0` as seconds. Raises ValueError."""
    if text == "0":
        return 0.0
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError(f"a duration needs a unit (did you mean {text}s?)")
    position, total = 0, 0.0
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        if part is None:
            raise ValueError(f"{shown(text)} is not a duration (write 2h, 90s or 300ms)")
        total += float(part[1]) * _DURATION_UNIT_S[part[2]]
        position = part.end()
    if not text:
        raise ValueError("a duration is missing (write 2h, 90s or 300ms)")
    return total


def listen_address(text: str) -> str:
    """Check `host:port`, `:port` or `[v6]:port`; `:port` becomes `0.0.0.0:port`. Raises ValueError."""
    host, separator, port = text.rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{shown(text)} is not host:port (write 0.0.0.0:8080)")
    if int(port) > 65535:
        raise ValueError(f"port {port} is above 65535")
    if not host:
        return f"0.0.0.0:{port}"
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{shown(text)}: an IPv6 address stands in brackets ([::]:8080)")
    if any(character.isspace() or character == "/" for character in host):
        raise ValueError(
            f"{shown(text)} is not host:port (an address to listen on has no scheme and no path)"
        )
    return text


def split_address(address: str) -> tuple[str, int]:
    """Split a checked `host:port` into host (without brackets) and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def instant(text: str) -> datetime:
    """Read an RFC 3339 time with its offset. Raises ValueError."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a time (write 2030-01-31T00:00:00Z)") from None
    if value.tzinfo is None:
        raise ValueError(f"{shown(text)} has no time zone (end it with Z)")
    return value


def url_parts(url: str) -> SplitResult | None:
    """Take a URL apart; None for what is none: brackets that do not close, a port that is no port."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def redacted(url: str) -> str:
    """Return `url` with password, query and fragment hidden; for messages and logs."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<unreadable URL>"
    credentials, at, hosts = parts.netloc.rpartition("@")
    if at:
        user = credentials.partition(":")[0]
        hosts = f"{user}:***@{hosts}" if ":" in credentials else f"***@{hosts}"
    query = "***" if parts.query else ""
    return urlunsplit(SplitResult(parts.scheme, hosts, parts.path, query, ""))


def shown(text: str) -> str:
    """Return a scalar's text quoted and shortened, fit for a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
