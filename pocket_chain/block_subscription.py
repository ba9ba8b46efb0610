"""New blocks as a node announces them on its WebSocket (spec/chain.md §8)."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from urllib.parse import unquote, urlsplit, urlunsplit

from websockets.exceptions import InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from operations.setting import redacted
from pocket_chain.node_errors import NodeAnswerUnreadable, NodeUnavailable
from pocket_protocol.types import Height

QUERY = "tm.event='NewBlockHeader'"
MAX_FRAME_BYTES = 4 << 20
PING_INTERVAL_S = 10.0


class BlockSubscription:
    """One subscription to new block headers. Events carry no block hash: ask `CometNode.block` for it."""

    def __init__(self, rpc_url: str, timeout_s: float = 5.0) -> None:
        """Connect to `rpc_url`/websocket and subscribe. Raises NodeUnavailable."""
        self.shown_url = redacted(rpc_url)
        self._timeout_s = timeout_s
        self._open = contextlib.ExitStack()
        self._connection = self._connect(rpc_url)
        try:
            self._subscribe()
        except BaseException:
            self.close()
            raise

    def next_height(self, wait_s: float) -> Height | None:
        """Return the height of the next announced block, None when none came within `wait_s`.

        Raises NodeUnavailable when the connection is gone or makes no sense.
        """
        try:
            text = self._connection.recv(timeout=max(wait_s, 0.0))
        except TimeoutError:
            return None
        except (WebSocketException, OSError) as error:
            raise self._lost(error) from None
        return self._height(text)

    def close(self) -> None:
        """Close the connection without waiting for the node's consent."""
        try:
            sock: socket.socket = self._connection.socket
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        try:
            self._open.close()
        except (WebSocketException, OSError):
            pass

    def _connect(self, rpc_url: str) -> ClientConnection:
        parts = urlsplit(rpc_url)
        hosts = parts.netloc.rpartition("@")[2]
        scheme = "wss" if parts.scheme == "https" else "ws"
        url = urlunsplit((scheme, hosts, parts.path.rstrip("/") + "/websocket", parts.query, ""))
        headers = {}
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        try:
            connection = connect(
                url,
                additional_headers=headers,
                open_timeout=self._timeout_s,
                close_timeout=1.0,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_INTERVAL_S,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                proxy=None,
                user_agent_header="pocket-relay-miner",
            )
            return self._open.enter_context(connection)
        except (WebSocketException, OSError, InvalidURI) as error:
            raise self._lost(error) from None

    def _subscribe(self) -> None:
        request = {"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": {"query": QUERY}}
        try:
            self._connection.send(json.dumps(request))
            answer = _decoded(self._connection.recv(timeout=self._timeout_s))
        except (WebSocketException, OSError) as error:
            raise self._lost(error) from None
        if answer is None or "error" in answer or "result" not in answer:
            raise NodeAnswerUnreadable(node=self.shown_url, code="SUBSCRIBE", text=str(answer)[:500])

    def _height(self, text: str | bytes) -> Height:
        answer = _decoded(text)
        try:
            height = answer["result"]["data"]["value"]["header"]["height"]  # type: ignore[index]
            if not (isinstance(height, str) and height.isascii() and height.isdigit() and len(height) < 19):
                raise ValueError
            return Height(int(height))
        except (KeyError, TypeError, ValueError):
            raise NodeAnswerUnreadable(node=self.shown_url, code="EVENT", text="not a block event") from None

    def _lost(self, error: Exception) -> NodeUnavailable:
        return NodeUnavailable(node=self.shown_url, code="WEBSOCKET", text=type(error).__name__)


def _decoded(text: str | bytes) -> dict[str, object] | None:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
