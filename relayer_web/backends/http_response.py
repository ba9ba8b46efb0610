"""Reading one HTTP/1.x answer, with llhttp's strict parser (from geventhttpclient).

Interim answers (1xx) are passed over. Two lengths, a length beside a transfer coding, bad chunks and bytes that
are no HTTP are errors; an answer without a length ends with its connection.
"""

from __future__ import annotations

from typing import Final

from geventhttpclient.response import HTTPParseError, HTTPResponse

from relayer_web.backends.contract import STREAMED_TYPES, BackendFailed

MAX_HEAD_BYTES: Final = 1 << 20
FIRST_STATUS: Final = 100

HTTPResponseParser = HTTPResponse.__base__  # the C parser without the library's own header store


class ResponseReader(HTTPResponseParser):  # type: ignore[misc,valid-type]
    """Feed it what arrives until `complete`. `head_request`: the answer to HEAD has no body."""

    def __init__(self, head_request: bool, max_body_bytes: int) -> None:
        super().__init__()
        self._head_request = head_request
        self._max_body_bytes = max_body_bytes
        self._head_bytes = 0
        self._body_bytes = 0
        self._parts: list[bytes] = []
        self._lines: list[list[str]] = []
        self._in_name = False
        self._in_body = False
        self.head_complete = False
        self.is_stream = (
            False  # whether the head says that the body comes bit by bit; one encoded is read whole
        )
        self.complete = False
        self.reusable = False
        self.started = False
        self.status = 0

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All header lines, in order, names as they were sent, values as UTF-8 where they are."""
        return [(name, value if value.isascii() else _utf8(value)) for name, value in self._lines]

    def _says_stream(self) -> bool:
        named = {name.lower(): value for name, value in self._lines}
        media_type = named.get("content-type", "").partition(";")[0].strip().lower()
        return media_type in STREAMED_TYPES and named.get("content-encoding", "identity") == "identity"

    @property
    def has_body(self) -> bool:
        """Whether there is a body, or may be one."""
        return bool(self._parts) or not self.complete

    def take(self) -> bytes:
        """Return and forget the body that has come so far."""
        taken = self.body
        self._parts.clear()
        self._body_bytes = 0
        return taken

    def receive(self, chunk: bytes) -> None:
        """Take the next bytes, b"" for the end of the connection. Raises `BackendFailed`."""
        self.started = self.started or bool(chunk)
        try:
            self.feed(chunk)
        except HTTPParseError as error:
            self.reusable = False
            if not self.complete:
                raise BackendFailed(what=str(error.args[0]) if error.args else "not HTTP") from None
        if not chunk and not self.complete:  # whoever reads on would read the end for ever
            raise BackendFailed(what="connection ended in the answer")

    def _on_message_begin(self) -> None:
        if self.complete:  # more than one answer to one request
            self.reusable = False

    def _on_status(self, text: str) -> None:
        """The reason phrase is not used."""

    def _on_header_field(self, text: str) -> None:
        if self._in_body or self.complete:
            return
        self._count(len(text))
        if self._in_name:
            self._lines[-1][0] += text
        else:
            self._lines.append([text, ""])
            self._in_name = True

    def _on_header_value(self, text: str) -> None:
        if self._in_body or self.complete:
            return
        self._count(len(text))
        self._in_name = False
        self._lines[-1][1] += text

    def _on_headers_complete(self) -> bool:
        if self.complete:
            return False
        self.status = self.get_code()
        if self.status < FIRST_STATUS:
            raise BackendFailed(what="status below 100")
        self.head_complete = self._in_body = self.status >= 200
        self.is_stream = self.head_complete and self._says_stream()
        return self._head_request

    def _on_body(self, chunk: bytes) -> None:
        if self.complete:
            return
        self._body_bytes += len(chunk)
        if self._body_bytes >= self._max_body_bytes:
            raise BackendFailed(what="answer over the size limit", limit=self._max_body_bytes)
        self._parts.append(bytes(chunk))

    def _on_message_complete(self) -> None:
        if self.status < 200:
            self._lines.clear()
            self._in_name = False
            return
        if not self.complete:
            self.complete = True
            self.reusable = self.should_keep_alive()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise BackendFailed(what="answer headers over the size limit", limit=MAX_HEAD_BYTES)


def _utf8(value: str) -> str:
    """The parser reads latin-1; give UTF-8 its characters back."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
