"""One kept-alive HTTP connection to a relayer, for one thread."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from operations.setting import redacted
from relay_cli.relay.outcome import RelayRefused, RelayUndelivered

MAX_ANSWER_BYTES = 100 << 20
_SHOWN_CHARACTERS = 300


class RelayerConnection:
    """POSTs to `url` (http or https, no credentials), opening the connection anew when it was closed.

    A request is sent again only when a kept connection turned out to be closed before any answer. Should the
    relayer have read it after all: the same relay twice is one leaf. Not safe to share between threads.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("a relayer's URL is http(s)://host:port without credentials")
        self.shown_url = redacted(url)
        self._path = parts.path or "/"
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return (status, body) of the answer. Raises `RelayUndelivered`."""
        target = self._path.rstrip("/") + path
        kept = self._connection.sock is not None
        try:
            return self._exchange(target, body, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not kept:
                raise self._undelivered(error) from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._undelivered(error) from None
        try:
            return self._exchange(target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._undelivered(error) from None

    def exchange(self, service_id: str, encoded: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a relay and return the answer to it. Raises `RelayUndelivered`, `RelayRefused`."""
        status, body = self.post(f"/{service_id}", encoded, headers)
        if status != 200:
            raise _refused(status, body)
        return body

    def stream(
        self, path: str, body: bytes, headers: Mapping[str, str], note: Callable[[str], None]
    ) -> Iterator[bytes]:
        """Yield the answer's body as it comes. Raises like `exchange`; a body that breaks off is only noted."""
        received = False
        try:
            answer = self._ask(self._path.rstrip("/") + path, body, headers)
            if answer.status != 200:
                raise _refused(answer.status, answer.read(_SHOWN_CHARACTERS))
            while chunk := answer.read1(65536):
                received = True
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not received:
                raise self._undelivered(error) from None
            note(f"the stream broke off: {type(error).__name__}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.close()

    def _ask(self, target: str, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if self._connection.sock is None:
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request("POST", target, body, dict(headers))
        return self._connection.getresponse()

    def _exchange(self, target: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        answer = self._ask(target, body, headers)
        content = answer.read(MAX_ANSWER_BYTES + 1)
        if len(content) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException("the answer is too large")
        return answer.status, content

    def _undelivered(self, error: Exception) -> RelayUndelivered:
        if isinstance(error, TimeoutError):
            text = "timed out"
        else:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return RelayUndelivered(f"{self.shown_url}: {text}")


def _refused(status: int, body: bytes) -> RelayRefused:
    text = body[:_SHOWN_CHARACTERS].decode("utf-8", "replace").strip()
    return RelayRefused(f"HTTP {status}: {text}")
