"""The backend's WebSocket routes (spec/relayer.md §9), and the odd ones that tests want.

`/ws` answers JSON messages: `params[0]` may hold `repeat_count`, `delay_ms`, and `close` with a code. `/ws/echo`
sends every message back as it came; `/ws/greet` speaks first; `/ws/mute` answers nothing.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as UpgradeRequest
from websockets.server import ServerProtocol

from localnet.http_server import Request, Takeover

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
GREETING: Final = b'{"jsonrpc":"2.0","method":"welcome"}'
Count = Callable[[str], None]


class BackendSocket:
    """One WebSocket connection of the backend."""

    def __init__(self, sock: socket.socket, protocol: ServerProtocol) -> None:
        self._sock, self._protocol = sock, protocol
        self._opcode, self._parts = Opcode.TEXT, [b""]

    def send(self, opcode: Opcode, data: bytes) -> None:
        send = self._protocol.send_text if opcode is Opcode.TEXT else self._protocol.send_binary
        send(data)
        self.flush()

    def close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)
        self.flush()

    def flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._sock.sendall(data)
            else:
                self._sock.shutdown(socket.SHUT_WR)

    def serve(self, received: bytes, answer: Callable[[BackendSocket, Opcode, bytes], None]) -> None:
        """Answer messages until the other side is done. Raises OSError when it vanishes."""
        while True:
            if received:
                self._protocol.receive_data(received)
            frames = self._protocol.events_received()
            self.flush()
            for frame in frames:
                if isinstance(frame, Frame):
                    self._take(frame, answer)
            received = self._sock.recv(65536)
            if not received:
                return

    def _take(self, frame: Frame, answer: Callable[[BackendSocket, Opcode, bytes], None]) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode, self._parts = frame.opcode, []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if frame.fin and not self._protocol.close_expected():
            answer(self, self._opcode, b"".join(self._parts))


def websocket_route(request: Request, rest: str, backend_id: str, count: Count) -> Takeover:
    """Return how an upgrade request to `/ws` + `rest` goes on."""

    def run(sock: socket.socket, received: bytes) -> None:
        protocol = ServerProtocol(max_size=MAX_MESSAGE_BYTES)
        protocol.receive_data(request.raw_head)
        upgrade = next((e for e in protocol.events_received() if isinstance(e, UpgradeRequest)), None)
        if upgrade is None:
            return
        protocol.send_response(protocol.accept(upgrade))
        client = BackendSocket(sock, protocol)
        client.flush()
        if rest == "/greet":
            client.send(Opcode.TEXT, GREETING)
        client.serve(received, lambda to, opcode, data: _answer(to, opcode, data, rest, backend_id, count))

    return Takeover(run)


def _answer(
    client: BackendSocket, opcode: Opcode, data: bytes, rest: str, backend_id: str, count: Count
) -> None:
    if rest in ("/echo", "/mute"):
        count("echo" if rest == "/echo" else "mute")
        if rest == "/echo":
            client.send(opcode, data)
        return
    try:
        call = json.loads(data)
    except ValueError:
        return
    if not isinstance(call, dict):
        return
    count(str(call.get("method"))[:64])
    first = (call.get("params") or [{}])[0] if isinstance(call.get("params"), list) else {}
    wishes: dict[str, Any] = first if isinstance(first, dict) else {}
    total = max(int(wishes.get("repeat_count", 1)), 0)
    for sequence in range(1, total + 1):
        if sequence > 1:
            time.sleep(float(wishes.get("delay_ms", 0)) / 1000)
        result = {
            "method": call.get("method"),
            "params": call.get("params"),
            "sequence": sequence,
            "total": total,
            "status": "ok",
            "backend_id": backend_id,
        }
        document = {"id": call.get("id"), "jsonrpc": "2.0", "result": result}
        client.send(Opcode.TEXT, json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    if "close" in wishes:
        client.close(int(wishes["close"]), str(wishes.get("reason", "")))
