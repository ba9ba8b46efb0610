"""RFC 9112 where it is about lengths, at its strictest: how many requests of a connection leave no doubt where they end.

Slow, plain, and written apart from the product: what it doubts, nobody may serve, nor anything after it.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(
    _TOKEN + rb" [^\r\n\x00]* HTTP/1\.[01]"
)  # its blanks decide nothing of the length
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):([^\r\n\x00]*)")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?")


def undoubted_requests(received: bytes) -> int:
    """Return how many requests come before the first that could be read in two ways, or is cut off."""
    count = 0
    rest = received
    while True:
        rest = rest.lstrip(b"\r\n")
        head, end, body = rest.partition(b"\r\n\r\n")
        if not end or (left := _behind(head, body)) is None:
            return count
        count += 1
        rest = left


def _behind(head: bytes, body: bytes) -> bytes | None:
    """Return what follows a request's body; None for a head in doubt and a body that is not whole."""
    lines = head.split(b"\r\n")
    fields = [_FIELD.fullmatch(line) for line in lines[1:]]
    if not _REQUEST_LINE.fullmatch(lines[0]) or not all(fields):
        return None
    named = [(field[1].lower(), field[2].strip(b" \t")) for field in fields if field]
    lengths = [value for name, value in named if name == b"content-length"]
    codings = [value.lower() for name, value in named if name == b"transfer-encoding"]
    if codings:
        return _behind_chunks(body) if codings == [b"chunked"] and not lengths else None
    if not lengths:
        return body
    if len(set(lengths)) > 1 or not lengths[0].isdigit() or len(body) < int(lengths[0]):
        return None
    return body[int(lengths[0]) :]


def _behind_chunks(body: bytes) -> bytes | None:
    """Return what follows a chunked body and its trailers."""
    while True:
        line, end, body = body.partition(b"\r\n")
        found = _CHUNK_LINE.fullmatch(line)
        if not end or not found:
            return None
        size = int(found[1], 16)
        if not size:
            break
        if body[size : size + 2] != b"\r\n":
            return None
        body = body[size + 2 :]
    while True:
        line, end, body = body.partition(b"\r\n")
        if not end or (line and not _FIELD.fullmatch(line)):
            return None
        if not line:
            return body
