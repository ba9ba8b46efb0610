"""The bytes of an HTTP/1.x answer."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from relayer_web.inbound import Answer

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})


class HttpDate:
    """The Date header's value, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._text = formatdate(second, usegmt=True)
            self._second = second
        return self._text


_date: Final = HttpDate()


def encode_answer(
    answer: Answer, *, keep_alive: bool, is_http_1_1: bool = True, head_request: bool = False
) -> bytes:
    """Return status line, headers and body. Says whether the connection stays where the version does not.

    An answer with chunks gets only its head; to HTTP/1.1 clients they are to be sent as `chunk` encodes them.
    """
    status = answer.status
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date.now()}\r\n"]
    for name, value in answer.headers:
        if "\n" in value or "\r" in value:
            value = value.replace("\r", " ").replace("\n", " ")
        lines.append(f"{name}: {value}\r\n")
    if answer.chunks is not None:
        keep_alive = False
        lines.append("Transfer-Encoding: chunked\r\n" if is_http_1_1 else "")
    elif status not in _BODILESS:
        lines.append(f"Content-Length: {len(answer.body)}\r\n")
    if not keep_alive:
        lines.append("Connection: close\r\n")
    elif not is_http_1_1:
        lines.append("Connection: keep-alive\r\n")
    lines.append("\r\n")
    head = "".join(lines).encode("latin-1", "replace")
    return head if head_request or status in _BODILESS else head + answer.body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; that of no bytes ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_answer(status: int, text: str) -> Answer:
    """A refusal below the relay: the same JSON as refused relays get."""
    body = json.dumps({"error": text}, separators=(",", ":")).encode()
    return Answer(status, [("Content-Type", "application/json")], body)
