"""A node for tests on real sockets: gRPC that answers from a table, CometBFT RPC with blocks made on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

GENESIS_TIME_S = 1_800_000_000
GrpcAnswer = bytes | tuple[grpc.StatusCode, str] | Callable[[bytes], bytes]


class GrpcNode(grpc.GenericRpcHandler):
    """Answers by method path; an unknown path is Unimplemented, as on a node."""

    def __init__(self) -> None:
        self.answers: dict[str, GrpcAnswer] = {}
        self.by_request: dict[tuple[str, bytes], GrpcAnswer] = {}
        self.height: int | None = 100
        self.requests: list[tuple[str, bytes]] = []
        self.hold = threading.Event()  # set: answer; clear: let the caller's deadline pass
        self.hold.set()
        self.port = 0

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def calls(self, path: str) -> int:
        return sum(1 for called, _ in self.requests if called == path)

    def service(self, details: Any) -> Any:
        path = details.method
        known = path in self.answers or any(key[0] == path for key in self.by_request)
        if not known:
            return None

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.requests.append((path, request))
            if self.height is not None:
                context.send_initial_metadata((("x-cosmos-block-height", str(self.height)),))
            self.hold.wait(10)
            found = self.by_request.get((path, request), self.answers.get(path, b""))
            if callable(found):
                return found(request)
            if isinstance(found, tuple):
                context.abort(*found)
            return found  # type: ignore[return-value]

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def grpc_node() -> Iterator[GrpcNode]:
    node = GrpcNode()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), handlers=(node,))
    node.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield node
    finally:
        node.hold.set()
        server.stop(0).wait()


def block_hash(height: int) -> bytes:
    return hashlib.sha256(f"block {height}".encode()).digest()


class RpcNode:
    """A CometBFT RPC whose chain grows by `grow`; every odd behaviour is an attribute."""

    def __init__(self, height: int = 10) -> None:
        self.height = height
        self.lowest = 1
        self.network = "pocket"
        self.raw: dict[str, bytes] = {}  # method -> the HTTP body, verbatim
        self.results: dict[str, Any] = {}  # method -> result or {"error": …}
        self.status_code = 200
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.connections = 0
        self.close_after_answer = False
        self.cut_next_answer = False
        self.drip: bytes | None = None  # sent a byte at a time instead of an answer
        self.hold = threading.Event()
        self.hold.set()
        self.refuse_websocket = False
        self.mute = False
        self.subscriptions = 0
        self.headers: list[dict[str, str]] = []
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.url = ""
        self.stopping = threading.Event()

    def grow(self, blocks: int = 1) -> None:
        """Commit blocks and announce each, unless mute."""
        for _ in range(blocks):
            self.height += 1
            if not self.mute:
                self.announce(self.height)

    def announce(self, height: int) -> None:
        event = {
            "data": {"type": "tendermint/event/NewBlockHeader", "value": {"header": header(self, height)}}
        }
        self.send_frames(json.dumps({"jsonrpc": "2.0", "id": 0, "result": event}).encode())

    def send_frames(self, text: bytes) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            try:
                sock.sendall(_frame(text))
            except OSError:
                pass

    def drop_subscribers(self) -> None:
        """Cut all WebSockets without a closing handshake."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def count(self, method: str) -> int:
        return sum(1 for called, _ in self.calls if called == method)

    def open_sockets(self) -> int:
        """How many subscribers have not gone away."""
        return sum(not _is_closed(sock) for sock in self._sockets)

    def answer(self, method: str, params: dict[str, Any]) -> Any:
        if method in self.results:
            return self.results[method]
        if method == "status":
            sync = {
                "latest_block_height": str(self.height), "latest_block_hash": block_hash(self.height).hex().upper(),
                "latest_block_time": block_time(self.height), "earliest_block_height": str(self.lowest),
                "catching_up": False,
            }  # fmt: skip
            return {"node_info": {"network": self.network}, "sync_info": sync}
        height = int(params.get("height", self.height))
        if height > self.height:
            return refusal(
                f"height {height} must be less than or equal to the current blockchain height {self.height}"
            )
        if height < self.lowest:
            return refusal(f"height {height} is not available, lowest height is {self.lowest}")
        if method == "block":
            return {
                "block_id": {"hash": block_hash(height).hex().upper()},
                "block": {"header": header(self, height)},
            }
        return {"error": {"code": -32601, "message": "Method not found"}}

    def subscribed(self, sock: socket.socket) -> None:
        with self._lock:
            self.subscriptions += 1
            self._sockets.append(sock)


def _is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def refusal(text: str) -> dict[str, Any]:
    return {"error": {"code": -32603, "message": "Internal error", "data": text}}


def block_time(height: int) -> str:
    seconds = GENESIS_TIME_S + height
    return f"2027-01-15T08:{seconds % 3600 // 60:02d}:{seconds % 60:02d}.5Z"


def header(node: RpcNode, height: int) -> dict[str, Any]:
    return {"height": str(height), "chain_id": node.network, "time": block_time(height)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.node.connections += 1

    def do_POST(self) -> None:
        node = self.server.node
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        node.calls.append((request["method"], request["params"]))
        node.headers.append(dict(self.headers))
        node.hold.wait(10)
        if node.cut_next_answer:
            node.cut_next_answer = False
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            self.close_connection = True
            return
        if node.drip is not None:
            for byte in node.drip:
                self.wfile.write(bytes([byte]))
                if node.stopping.wait(0.1):
                    break
            self.close_connection = True
            return
        found = node.answer(request["method"], request["params"])
        reply = {"jsonrpc": "2.0", "id": request["id"]}
        reply |= found if isinstance(found, dict) and "error" in found else {"result": found}
        body = node.raw.get(request["method"], json.dumps(reply).encode())
        self.send_response(node.status_code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if node.close_after_answer:  # without saying so
            self.close_connection = True

    def do_GET(self) -> None:
        node = self.server.node
        if self.path != "/websocket" or node.refuse_websocket:
            self.send_error(404)
            return
        node.headers.append(dict(self.headers))
        digest = hashlib.sha1(
            (self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
        )
        accept = base64.b64encode(digest.digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.wfile.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        self.close_connection = True
        while (frame := self._read_frame()) is not None:
            opcode, text = frame
            if opcode == 1:
                node.calls.append(("subscribe", json.loads(text)["params"]))
                answer = node.results.get("subscribe", {"result": {}})
                self.connection.sendall(_frame(json.dumps({"jsonrpc": "2.0", "id": 0} | answer).encode()))
                node.subscribed(self.connection)
            elif opcode == 8:
                return

    def _read_frame(self) -> tuple[int, bytes] | None:
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.rfile.read(2))
        mask, data = self.rfile.read(4), self.rfile.read(length)
        return head[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


def _frame(text: bytes) -> bytes:
    length = len(text)
    return (bytes([0x81, length]) if length < 126 else struct.pack(">BBH", 0x81, 126, length)) + text


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, node: RpcNode) -> None:
        self.node = node
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """Peers that vanish are part of the tests."""


@contextmanager
def rpc_node(height: int = 10) -> Iterator[RpcNode]:
    node = RpcNode(height)
    server = _Server(node)
    node.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        node.stopping.set()
        node.hold.set()
        node.drop_subscribers()
        server.shutdown()
        server.server_close()
        thread.join()
