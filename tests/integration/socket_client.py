"""A WebSocket client on a bare socket: frames as they come, text not looked at."""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import CONNECTING
from websockets.uri import parse_uri

TIMEOUT_S = 15.0


class Refused(Exception):
    """The handshake was not answered with 101."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(f"{status}: {body!r}")
        self.status, self.body, self.headers = status, body, headers


class SocketClient:
    """Connects at once, with `headers` beside those of the handshake."""

    def __init__(
        self, address: tuple[str, int], headers: dict[str, str] | None = None, path: str = "/"
    ) -> None:
        host, port = address
        self.sock = socket.create_connection(address, TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol = ClientProtocol(parse_uri(f"ws://{host}:{port}{path}"), max_size=None)
        request = self.protocol.connect()
        request.headers.update(headers or {})
        self.protocol.send_request(request)
        self._frames: deque[Frame] = deque()
        self.headers: dict[str, str] = {}
        self._flush()
        while self.protocol.state is CONNECTING and self.protocol.handshake_exc is None:
            self._receive()
        if self.protocol.handshake_exc is not None:
            self._raise_refusal()

    def __enter__(self) -> SocketClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes, opcode: Opcode = Opcode.BINARY) -> None:
        send = self.protocol.send_text if opcode is Opcode.TEXT else self.protocol.send_binary
        send(data)
        self._flush()

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        self._flush()

    def frame(self) -> Frame:
        """The next data frame or close frame. Raises ConnectionError when there will be none."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE):
                    return frame
            self._receive()

    def message(self) -> bytes:
        """The next message's data."""
        frame = self.frame()
        assert frame.opcode is not Opcode.CLOSE, Close.parse(frame.data)
        return bytes(frame.data)

    def goodbye(self) -> tuple[int, str]:
        """Code and reason of the close frame, which must come next; the connection ends after it."""
        frame = self.frame()
        assert frame.opcode is Opcode.CLOSE, bytes(frame.data)
        close = Close.parse(frame.data)
        return close.code, close.reason

    def _receive(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            if self.protocol.state is CONNECTING:
                self.protocol.receive_eof()
                return
            raise ConnectionError("ended without a close frame")
        self.protocol.receive_data(data)
        self._frames.extend(event for event in self.protocol.events_received() if isinstance(event, Frame))
        self._flush()

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def _raise_refusal(self) -> None:
        response: Any = getattr(self.protocol.handshake_exc, "response", None)
        self.sock.close()
        assert response is not None, self.protocol.handshake_exc
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        raise Refused(response.status_code, response.body, headers)
