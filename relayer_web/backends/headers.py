"""Method and headers of a request to a backend (spec/relayer.md §1.4, decisions D7).

Later groups win over earlier ones of the same name:

    inner headers, fill-ins for what they lack, outer Pocket-*, configured, auth, Accept-Encoding, identity

Framing belongs to our HTTP client: hop-by-hop headers and those that frame or route a message are dropped,
whoever set them. What could split a request is refused, not repaired.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from relayer_web.backends.contract import BackendRequest, ForbiddenRequest
from relayer_web.config_backends import Authentication

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_BREAK: Final = re.compile(r"[\r\n\0]")
MAX_METHOD_LENGTH: Final = 32
DROPPED: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "http2-settings",
    }
)
IDENTITY: Final = frozenset({"pocket-supplier", "pocket-service", "pocket-application"})
Header = tuple[str, str]


def checked_method(method: str) -> str:
    """Return the method as it is sent; an empty one means GET. Raises `ForbiddenRequest`."""
    if not method:
        return "GET"
    if len(method) > MAX_METHOD_LENGTH or not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise ForbiddenRequest(what="method")
    return method


def authorization(auth: Authentication) -> str:
    """Return the Authorization value of relays, "" for none: user and password, else bearer, else plain token."""
    if auth.username and auth.password:
        return _basic(auth)
    if auth.bearer_token:
        return f"Bearer {auth.bearer_token}"
    return auth.plain_token


def probe_authorization(auth: Authentication) -> str:
    """Return the Authorization value of health probes, where tokens come before user and password (§1.4)."""
    if auth.bearer_token:
        return f"Bearer {auth.bearer_token}"
    return auth.plain_token or (_basic(auth) if auth.username and auth.password else "")


def _basic(auth: Authentication) -> str:
    return "Basic " + base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()


class HeaderRules:
    """The headers of one backend's requests. `configured` and `authorization` are the operator's."""

    def __init__(
        self,
        configured: Mapping[str, str],
        authorization: str,
        *,
        max_count: int,
        max_bytes: int,
    ) -> None:
        self._fixed = [*configured.items()]
        if authorization:
            self._fixed = _replaced(self._fixed, [("Authorization", authorization)])
        self._fixed = _replaced(self._fixed, [("Accept-Encoding", "identity")])
        self._max_count = max_count
        self._max_bytes = max_bytes

    def merge(self, request: BackendRequest) -> list[Header]:
        """Return all headers but Host and Content-Length. Raises `ForbiddenRequest`."""
        headers = _without_nominated(request.headers)
        if request.fill_in:
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in request.fill_in.items() if pair[0].lower() not in present]
        later = (*request.overrides.items(), *self._fixed, *request.identity.items())
        return self._sendable(_replaced(headers, _last_of_each(later)))

    def _sendable(self, headers: Sequence[Header]) -> list[Header]:
        if len(headers) > self._max_count:
            raise ForbiddenRequest(what="too many headers")
        kept = []
        size = 0
        for name, value in headers:
            if not _TOKEN.fullmatch(name) or _LINE_BREAK.search(value):
                raise ForbiddenRequest(what="header")
            lower = name.lower()
            if lower in DROPPED or (not value and lower in IDENTITY) or lower.startswith("proxy-"):
                continue
            size += len(name) + len(value) + 4
            kept.append((name, value))
        if size > self._max_bytes:
            raise ForbiddenRequest(what="headers too large")
        return kept


def _without_nominated(headers: Sequence[Header]) -> list[Header]:
    """Return the inner headers less those that their own Connection header calls hop-by-hop."""
    connection = [value for name, value in headers if name.lower() == "connection"]
    if not connection:
        return list(headers)
    nominated = {part.strip().lower() for value in connection for part in value.split(",")}
    return [pair for pair in headers if pair[0].lower() not in nominated]


def _last_of_each(headers: Iterable[Header]) -> list[Header]:
    return list({name.lower(): (name, value) for name, value in headers}.values())


def _replaced(headers: Sequence[Header], replacements: Sequence[Header]) -> list[Header]:
    """Return `headers` without those replaced, then the replacements."""
    names = {name.lower() for name, _ in replacements}
    return [pair for pair in headers if pair[0].lower() not in names] + list(replacements)
