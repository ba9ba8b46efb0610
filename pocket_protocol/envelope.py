"""HTTP requests and responses inside a relay payload (spec/chain.md §4.1, §4.3, §0.6).

Written by hand: python-protobuf does not order header maps as the network's encoder does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pocket_protocol.canonical import Undecodable, varint
from pocket_protocol.pb.sdk.types_pb2 import POKTHTTPRequest, POKTHTTPResponse
from pocket_protocol.wire import decode

# (name, values) in ascending order of the names; values in the order they were sent
Headers = tuple[tuple[str, tuple[str, ...]], ...]

MAX_HEADERS = 10_000  # names; a million of them are ten megabytes, and seconds to look at

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request as a client made it. Lone surrogates in texts are written as `?`."""

    method: str
    url: str  # the full URL string the client used; may be a path only
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response as the backend gave it."""

    status_code: int
    headers: Headers = ()
    body: bytes = b""


@functools.lru_cache(maxsize=1024)
def canonical_header_name(name: str) -> str:
    """Return `name` as the network writes header names: `content-TYPE` is `Content-Type`; no token, unchanged."""
    if not _TOKEN.fullmatch(name):
        return name
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def grouped_headers(pairs: Iterable[tuple[str, str]]) -> Headers:
    """Collect (name, value) pairs, as a server or client library lists them, under canonical names."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(canonical_header_name(name), []).append(value)
    return tuple((name, tuple(values[name])) for name in sorted(values))


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value


def _text(text: str) -> bytes:
    return text.encode(
        "utf-8", "replace"
    )  # what cannot be written as UTF-8 would make the message unreadable


def _headers(headers: Headers) -> bytes:
    entries = sorted((_text(name), values) for name, values in headers)
    encoded = bytearray()
    for name, values in entries:
        key = _field(b"\x0a", name)
        header = (key if name else b"") + b"".join([_field(b"\x12", _text(value)) for value in values])
        encoded += _field(b"\x12", key + _field(b"\x12", header))
    return bytes(encoded)


def encode_http_request(request: HttpRequest) -> bytes:
    """Return the payload bytes of an HTTP relay request."""
    encoded = _field(b"\x0a", _text(request.method)) if request.method else b""
    encoded += _headers(request.headers)
    if request.url:
        encoded += _field(b"\x1a", _text(request.url))
    if request.body:
        encoded += _field(b"\x22", request.body)
    return encoded


def encode_http_response(response: HttpResponse) -> bytes:
    """Return the payload bytes of an HTTP relay response; empty only for status 0 without headers and body."""
    encoded = b"\x08" + varint(response.status_code) if response.status_code else b""
    encoded += _headers(response.headers)
    if response.body:
        encoded += _field(b"\x1a", response.body)
    return encoded


def _decoded_headers(message: POKTHTTPRequest | POKTHTTPResponse) -> Headers:
    if len(message.header) > MAX_HEADERS:
        raise Undecodable("too many headers", headers=len(message.header))
    header = message.header  # the network goes by the map's keys, not by the key repeated in the entry
    return tuple((name, tuple(header[name].values)) for name in sorted(header))


def decode_http_request(payload: bytes) -> HttpRequest:
    """Parse the payload of an HTTP relay request. Raises `Undecodable`, also when it is empty (decisions D7).

    Narrower than the network's decoder: more than `MAX_HEADERS` names are refused.
    """
    if not payload:
        raise Undecodable("empty payload")
    message = decode(POKTHTTPRequest, payload)
    return HttpRequest(message.method, message.url, _decoded_headers(message), message.body_bz)


def decode_http_response(payload: bytes) -> HttpResponse:
    """Parse the payload of an HTTP relay response. Raises `Undecodable`."""
    message = decode(POKTHTTPResponse, payload)
    return HttpResponse(message.status_code, _decoded_headers(message), message.body_bz)
