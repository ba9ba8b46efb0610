"""WebSocket connections to a relayer, one for each supplier, for one thread (spec/relayer.md §8.2)."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from operations.setting import redacted
from pocket_protocol import relay as relay_protocol
from pocket_protocol.errors import Malformed
from relay_cli.relay.outcome import RelayRefused, RelayUndelivered

MAX_ANSWER_BYTES: Final = 100 << 20
SESSION_EXPIRED: Final = 4000
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_SHOWN_CHARACTERS: Final = 300


class SocketConnection:
    """Sends relays to `url` (http, https, ws or wss), dialling anew when a connection was closed.

    A relayer closes a connection with its session; a relay that was not answered then is sent again, once.
    """

    def __init__(self, url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.username is not None:
            raise ValueError("a relayer's URL is ws(s):// or http(s)://host:port without credentials")
        self.shown_url = redacted(url)
        self._url = parts._replace(scheme=_SCHEMES[parts.scheme]).geturl()
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})
        self._open: dict[str, tuple[ClientConnection, contextlib.ExitStack]] = {}

    def exchange(self, service_id: str, supplier: str, encoded: bytes) -> bytes:
        """Return the next message after a relay. Raises `RelayUndelivered`, `RelayRefused`."""
        kept = supplier in self._open
        try:
            return self._exchange(service_id, supplier, encoded)
        except ConnectionClosed as closed:
            self._close(supplier)
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            if not kept or (closed.rcvd and code != SESSION_EXPIRED):
                raise RelayRefused(f"closed with {code} {reason}".rstrip()) from None
        try:
            return self._exchange(service_id, supplier, encoded)
        except ConnectionClosed as closed:
            self._close(supplier)
            raise RelayRefused(str(closed)) from None

    def close(self) -> None:
        for supplier in list(self._open):
            self._close(supplier)

    def _exchange(self, service_id: str, supplier: str, encoded: bytes) -> bytes:
        try:
            connection = self._connection(service_id, supplier)
            connection.send(encoded)
            deadline = time.monotonic() + self._timeout_s
            while True:
                answer = connection.recv(timeout=max(deadline - time.monotonic(), 0), decode=False)
                if not _says_session_expired(answer):
                    return answer
        except ConnectionClosed:
            raise
        except InvalidStatus as error:
            text = error.response.body[:_SHOWN_CHARACTERS].decode("utf-8", "replace").strip()
            raise RelayRefused(f"HTTP {error.response.status_code}: {text}") from None
        except (OSError, WebSocketException) as error:
            self._close(supplier)
            text = "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise RelayUndelivered(f"{self.shown_url}: {text}") from None

    def _connection(self, service_id: str, supplier: str) -> ClientConnection:
        known = self._open.get(supplier)
        if known is not None:
            return known[0]
        headers = {
            "Pocket-Service-Id": service_id,
            "Pocket-Supplier-Address": supplier,
            "Rpc-Type": "2",
            **self._headers,
        }
        dialled = connect(
            self._url,
            ssl=ssl.create_default_context() if self._url.startswith("wss:") else None,
            additional_headers=headers,
            open_timeout=self._timeout_s,
            close_timeout=1,
            max_size=MAX_ANSWER_BYTES,
            compression=None,
            proxy=None,
        )
        closing = contextlib.ExitStack()
        made: ClientConnection = closing.enter_context(dialled)
        self._open[supplier] = made, closing
        return made

    def _close(self, supplier: str) -> None:
        known = self._open.pop(supplier, None)
        if known is not None:
            with contextlib.suppress(OSError, WebSocketException):
                known[1].close()


def _says_session_expired(message: bytes) -> bool:
    """Tell whether a message is no answer but the advisory before a connection is closed."""
    try:
        return relay_protocol.decode_response(message).relay_miner_error.code == 410
    except Malformed:
        return False
