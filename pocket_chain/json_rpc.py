"""JSON-RPC over kept HTTP connections: bounded in time and size, safe to share between threads and greenlets."""

from __future__ import annotations

import base64
import collections
import http.client
import io
import itertools
import json
import os
import socket
import ssl
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from operations.setting import redacted
from pocket_chain.node_errors import NodeAnswerUnreadable, NodeUnavailable

MAX_ANSWER_BYTES = 64 << 20
IDLE_CONNECTIONS = 4
_CHUNK_BYTES = 65536


class RpcRefused(NodeUnavailable):
    """The node answered with a JSON-RPC error; `text` is its data, or its message."""

    reason = "rpc_refused"
    summary = "the node refused the call"


class JsonRpc:
    """One CometBFT RPC address. `url` is http(s)://[user:password@]host:port[/path]."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an RPC address begins with http:// or https:// and has a host")
        self.shown_url = redacted(url)
        self.timeout_s = timeout_s
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path or "/"
        if parts.query:
            self._path += f"?{parts.query}"
        self._headers = {"Content-Type": "application/json", "User-Agent": "pocket-relay-miner"}
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        self._idle: collections.deque[http.client.HTTPConnection] = collections.deque(maxlen=IDLE_CONNECTIONS)
        self._process_id = os.getpid()
        self._ids = itertools.count()

    def call(self, method: str, **params: object) -> Any:
        """Return the `result` of one call. Raises RpcRefused, NodeAnswerUnreadable, NodeUnavailable."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        status, data = self._exchange(json.dumps(request).encode())
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            raise NodeAnswerUnreadable(node=self.shown_url, code=f"HTTP {status}", text="not JSON") from None
        if not isinstance(answer, dict):
            raise NodeAnswerUnreadable(node=self.shown_url, code=f"HTTP {status}", text="not an object")
        error = answer.get("error")
        if isinstance(error, dict):
            text = str(error.get("data") or error.get("message") or "")[:2000]
            raise RpcRefused(node=self.shown_url, code=str(error.get("code")), text=text)
        if status != 200 or answer.get("result") is None or answer.get("id") != request["id"]:
            raise NodeAnswerUnreadable(
                node=self.shown_url, code=f"HTTP {status}", text="no result for this call"
            )
        return answer["result"]

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Send one request; a kept connection that turns out dead is replaced once, all calls may be repeated."""
        if self._process_id != os.getpid():
            self._idle.clear()
            self._process_id = os.getpid()
        deadline = time.monotonic() + self.timeout_s
        while True:
            kept = self._take()
            connection = kept or self._open()
            try:
                status, data, reusable = self._send(connection, body, deadline)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept is not None and not isinstance(error, TimeoutError):
                    continue
                text = type(error).__name__ if not isinstance(error, OSError) else _os_text(error)
                raise NodeUnavailable(node=self.shown_url, code="TRANSPORT", text=text) from None
            except BaseException:
                connection.close()
                raise
            if reusable:
                self._idle.append(connection)
            else:
                connection.close()
            return status, data

    def _take(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _open(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return _BoundedTlsConnection(self._host, self._port, timeout=self.timeout_s, context=self._tls)
        return _BoundedConnection(self._host, self._port, timeout=self.timeout_s)

    def _send(
        self, connection: http.client.HTTPConnection, body: bytes, deadline: float
    ) -> tuple[int, bytes, bool]:
        if connection.sock is None:
            connection.connect()
        assert isinstance(connection.sock, _BoundedSocket)
        connection.sock.deadline = deadline
        connection.request("POST", self._path, body, self._headers)
        response = connection.getresponse()
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                connection.close()
                raise NodeAnswerUnreadable(node=self.shown_url, code="TOO LARGE", text=f"over {size} bytes")
        if response.length:  # Content-Length promised more
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # else the connection takes no further request
        return response.status, b"".join(chunks), not response.will_close


class _BoundedSocket:
    """A socket all of whose reads and writes together end at `deadline` (monotonic seconds).

    A socket's own time-out bounds each read alone: a peer that sends one byte now and then never meets it.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        self.sock.settimeout(_left(self.deadline))
        self.sock.sendall(data)

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self))

    def close(self) -> None:
        self.sock.close()


class _BoundedReader(io.RawIOBase):
    def __init__(self, bounded: _BoundedSocket) -> None:
        self._bounded = bounded
        self._raw = bounded.sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._bounded.sock.settimeout(_left(self._bounded.deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _BoundedSocket(self.sock, time.monotonic() + (self.timeout or 0.0))


class _BoundedTlsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _BoundedSocket(self.sock, time.monotonic() + (self.timeout or 0.0))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline exceeded")
    return left


def _os_text(error: OSError) -> str:
    return (
        "deadline exceeded" if isinstance(error, TimeoutError) else (error.strerror or type(error).__name__)
    )
