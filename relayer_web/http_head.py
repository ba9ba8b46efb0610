"""The head of an HTTP/1.x request: parsed in C, then held to what RFC 9112 leaves no choice about.

    RequestError                 answered with its status, connection closed
    Head                         method, target, headers, how long the body is

A message whose end two readers could see in different places is refused: two lengths, a length beside a transfer
coding, folded lines, lines that end in a bare LF, a second Host (the parser sees to the lengths and the Host).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import gunicorn_h1c

UNKNOWN_LENGTH: Final = -1
MAX_LENGTH_DIGITS: Final = 15
# By name: the package has two classes of each of these names.
_REFUSALS: Final = {
    "LimitRequestLine": (414, "request target too long"),
    "LimitRequestHeaders": (431, "request headers too large"),
    "InvalidHTTPVersion": (505, "HTTP version not supported"),
    "InvalidRequestMethod": (400, "invalid request method"),
    "InvalidHeaderName": (400, "invalid header name"),
    "InvalidHeader": (400, "invalid header"),
    "ParseError": (400, "invalid request"),
}


class RequestError(Exception):
    """A request that is refused as HTTP, whatever it asks for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of a head. `max_header_bytes` counts all header fields together."""

    max_header_count: int = 100
    max_header_bytes: int = 65536
    max_url_bytes: int = 8192

    @property
    def max_bytes(self) -> int:
        """No head is longer, so no more is read in search of its end."""
        return self.max_header_bytes + self.max_url_bytes + 256


@dataclass(slots=True)
class Head:
    """One request head. `headers`: names in lower case, first value of each. `size`: bytes it took."""

    method: bytes
    target: bytes
    headers: dict[str, str]
    length: int
    chunked: bool
    keep_alive: bool
    is_http_1_1: bool
    size: int

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def expects_continue(self) -> bool:
        return self.is_http_1_1 and "expect" in self.headers


def parse_head(buffer: bytes, limits: HeadLimits) -> Head | None:
    """Return the head `buffer` begins with, None when there is more of it to come. Raises `RequestError`."""
    try:
        request = gunicorn_h1c.parse_request_fast(
            buffer,
            limit_request_line=limits.max_url_bytes + 32,
            limit_request_fields=limits.max_header_count,
            limit_request_field_size=limits.max_header_bytes,
        )
    except Exception as error:  # IncompleteError is derived from nothing else
        if type(error).__name__ != "IncompleteError":
            raise _refusal(error) from None
        if len(buffer) > limits.max_bytes:
            raise _too_long(buffer) from None
        return None
    size: int = request.consumed
    raw = buffer[:size]
    if raw.count(b"\n") != raw.count(b"\r\n"):
        raise RequestError(400, "invalid line ending")
    target: bytes = request.path
    if len(target) > limits.max_url_bytes:
        raise RequestError(414, "request target too long")
    if size - len(target) > limits.max_header_bytes:
        raise RequestError(431, "request headers too large")
    is_http_1_1 = request.minor_version == 1
    headers = _headers(request.headers, is_http_1_1)
    return Head(
        request.method,
        target,
        headers,
        request.content_length,
        request.has_chunked,
        _keeps_alive(request.connection_close, is_http_1_1, headers),
        is_http_1_1,
        size,
    )


def _headers(lines: tuple[tuple[bytes, bytes], ...], is_http_1_1: bool) -> dict[str, str]:
    """Names with an underscore are left out: other servers read them as hyphens."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in lines:
        name = raw_name.decode("latin-1").lower()
        if not name:
            raise RequestError(400, "folded header")
        if name not in headers and "_" not in name:
            headers[name] = raw_value.decode("latin-1")
    length = headers.get("content-length", "")
    if len(length) > MAX_LENGTH_DIGITS:
        raise RequestError(413, "request body too large")
    if is_http_1_1 and "host" not in headers:
        raise RequestError(400, "missing Host header")
    if is_http_1_1 and headers.get("expect", "100-continue").strip().lower() != "100-continue":
        raise RequestError(417, "expectation failed")
    if not is_http_1_1 and "transfer-encoding" in headers:
        raise RequestError(400, "transfer coding in HTTP/1.0")
    return headers


def _keeps_alive(connection_close: int, is_http_1_1: bool, headers: dict[str, str]) -> bool:
    """`connection_close` of the parser: -1 no Connection header, 1 close, 0 something else."""
    if is_http_1_1:
        return connection_close != 1
    return headers.get("connection", "").strip().lower() == "keep-alive"


def _too_long(buffer: bytes) -> RequestError:
    if b"\n" in buffer:
        return RequestError(431, "request headers too large")
    return RequestError(414, "request target too long")


def _refusal(error: Exception) -> RequestError:
    names = (kind.__name__ for kind in type(error).__mro__)
    return RequestError(
        *next((_REFUSALS[name] for name in names if name in _REFUSALS), (400, "invalid request"))
    )
