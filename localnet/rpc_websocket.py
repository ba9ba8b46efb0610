"""Subscriptions over CometBFT's WebSocket (spec/chain.md §8): new blocks, their headers, transactions."""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import socket
import threading
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as UpgradeRequest
from websockets.server import ServerProtocol

from localnet.blocks import CONSENSUS_PARAMS, Block
from localnet.event_query import Condition, matches, parse_query
from localnet.events import by_composite_key
from localnet.http_server import Request, Takeover
from localnet.node_view import NodeView
from localnet.rpc_calls import NO_ID, answer_document, failure
from pocket_protocol.errors import PocketError
from pocket_protocol.tx import tx_hash

PING_EVERY_S: Final = 27.0
_QUEUE_SIZE: Final = 1000  # messages a slow client may be behind before it is cut off


def _values(events: list[Any], kind: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for key, value in by_composite_key(events):
        values.setdefault(key, []).append(value)
    values["tm.event"] = [kind]
    return values


def block_notices(view: NodeView, block: Block) -> list[tuple[dict[str, list[str]], dict[str, Any]]]:
    """Return what a block says to subscribers: (values to match, data), header first."""
    header = {"type": "tendermint/event/NewBlockHeader", "value": {"header": block.header.to_json()}}
    finalized = {
        "events": [event.to_json() for event in block.events],
        **({"tx_results": [result.to_json() for result in block.results]} if block.results else {}),
        "validator_updates": [],
        "consensus_param_updates": CONSENSUS_PARAMS,
        "app_hash": base64.b64encode(block.app_hash).decode(),
    }
    whole = {
        "type": "tendermint/event/NewBlock",
        "value": {
            "block": block.block_json(view.chain.validator),
            "block_id": block.id.to_json(),
            "result_finalize_block": finalized,
        },
    }
    notices = [
        (_values([], "NewBlockHeader"), header),
        (_values(list(block.events), "NewBlock"), whole),
    ]
    for index, result in enumerate(block.results):
        values = _values(list(result.events), "Tx")
        values |= {"tx.hash": [tx_hash(block.txs[index])], "tx.height": [str(block.height)]}
        value = {
            "TxResult": {
                "height": str(block.height),
                "index": index,
                "tx": base64.b64encode(block.txs[index]).decode(),
                "result": result.to_json(),
            }
        }
        notices.append((values, {"type": "tendermint/event/Tx", "value": value}))
    return notices


class _Client:
    """One WebSocket connection: reads calls, and sends answers and notices from a queue of its own."""

    def __init__(self, view: NodeView, sock: socket.socket, protocol: ServerProtocol) -> None:
        self.view, self.sock, self.protocol = view, sock, protocol
        self.lock = threading.Lock()
        self.outgoing: queue.Queue[bytes | None] = queue.Queue(_QUEUE_SIZE)
        self.subscribed: dict[str, tuple[Any, tuple[Condition, ...]]] = {}  # query -> (call id, conditions)

    def send(self, document: Any) -> None:
        """Queue a message; a client that does not read is cut off."""
        try:
            self.outgoing.put_nowait(json.dumps(document, separators=(",", ":")).encode())
        except queue.Full:
            self.cut()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def notify(self, values: dict[str, list[str]], data: dict[str, Any]) -> None:
        for query, (call_id, conditions) in list(self.subscribed.items()):
            if matches(conditions, values):
                result = {"query": query, "data": data, "events": values}
                self.send({"jsonrpc": "2.0", "id": call_id, "result": result})

    def write_loop(self) -> None:
        try:
            while True:
                try:
                    message = self.outgoing.get(timeout=PING_EVERY_S)
                except queue.Empty:
                    with self.lock:
                        self.protocol.send_ping(b"")
                        self._flush()
                    continue
                if message is None:
                    return
                with self.lock:
                    self.protocol.send_text(message)
                    self._flush()
        except (OSError, RuntimeError):
            self.cut()  # closed meanwhile

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def read_loop(self) -> None:
        while received := self.sock.recv(65536):
            with self.lock:
                self.protocol.receive_data(received)
                frames = self.protocol.events_received()
                self._flush()
            for frame in frames:
                if isinstance(frame, Frame) and frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                    self._serve(bytes(frame.data))
            if self.protocol.close_expected():
                return

    def _serve(self, message: bytes) -> None:
        try:
            document = json.loads(message)
        except ValueError as error:
            self.send(failure(NO_ID, -32700, "Parse error. Invalid JSON", str(error)))
            return
        if not isinstance(document, dict):
            self.send(failure(NO_ID, -32600, "Invalid Request"))
            return
        answer = self._subscription(document)
        if answer is None:
            answer = answer_document(self.view, document)
        if answer is not None:
            self.send(answer)

    def _subscription(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a subscription call, None when it is another one."""
        method, call_id = document.get("method"), document.get("id")
        params = document.get("params") or {}
        query = params.get("query") if isinstance(params, dict) else (params or [""])[0]
        done = {"jsonrpc": "2.0", "id": call_id, "result": {}}
        if method == "unsubscribe_all":
            self.subscribed.clear()
            return done
        if method not in ("subscribe", "unsubscribe"):
            return None
        text = str(query)
        if method == "unsubscribe":
            found = self.subscribed.pop(text, None)
            return done if found else failure(call_id, -32603, "Internal error", "subscription not found")
        if text in self.subscribed:
            return failure(call_id, -32603, "Internal error", "already subscribed")
        try:
            conditions = parse_query(text)
        except PocketError as error:
            return failure(call_id, -32603, "Internal error", str(error))
        self.subscribed[text] = (call_id, conditions)
        return done


class Subscriptions:
    """All WebSocket clients of a node, told of each block as the node gets it."""

    def __init__(self, view: NodeView) -> None:
        self.view = view
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()
        self._told = 0

    @property
    def number(self) -> int:
        """How many clients have at least one subscription."""
        return sum(bool(client.subscribed) for client in list(self._clients))

    def start(self) -> None:
        self._told = self.view.height
        self.view.chain.on_block.append(self._on_block)

    def stop(self) -> None:
        with contextlib.suppress(ValueError):
            self.view.chain.on_block.remove(self._on_block)
        self.cut_all()

    def cut_all(self) -> None:
        """End all connections without a word, as a lost network does."""
        for client in list(self._clients):
            client.cut()

    def _on_block(self, _: Block) -> None:
        with self._lock:
            first, last = self._told + 1, self.view.height
            self._told = max(last, self._told)
        if self.view.faults.silent_websocket or not self._clients:
            return
        for height in range(first, last + 1):
            for values, data in block_notices(self.view, self.view.chain.block(height)):
                for client in list(self._clients):
                    client.notify(values, data)

    def accept(self, request: Request) -> Takeover:
        """Return how an upgrade request goes on: as a WebSocket."""

        def run(sock: socket.socket, received: bytes) -> None:
            protocol = ServerProtocol(max_size=2**20)
            protocol.receive_data(request.raw_head)
            upgrade = next((e for e in protocol.events_received() if isinstance(e, UpgradeRequest)), None)
            if upgrade is None:
                return
            protocol.send_response(protocol.accept(upgrade))
            client = _Client(self.view, sock, protocol)
            client._flush()
            if received:
                protocol.receive_data(received)
            self._run(client)

        return Takeover(run)

    def _run(self, client: _Client) -> None:
        self._clients.add(client)
        writer = threading.Thread(target=client.write_loop, name="rpc-websocket", daemon=True)
        writer.start()
        try:
            client.read_loop()
        except OSError:
            pass  # the client went away
        finally:
            self._clients.discard(client)
            with contextlib.suppress(queue.Full):
                client.outgoing.put_nowait(None)
