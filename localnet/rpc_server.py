"""CometBFT's RPC over HTTP and WebSocket (spec/chain.md §8)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from localnet.http_server import HttpServer, Request, Response, Takeover
from localnet.node_view import NodeView, Refusing
from localnet.rpc_methods import METHODS, BadParams, RpcFailed
from localnet.rpc_websocket import Subscriptions

_GET_ID = -1
_CACHED = frozenset({"block", "header", "block_results", "validators", "tx", "abci_info"})


def failure(call_id: Any, code: int, message: str, data: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def call(view: NodeView, call_id: Any, method: str, params: Any) -> dict[str, Any]:
    """Return the JSON-RPC answer to one call."""
    known = METHODS.get(method)
    if known is None:
        return failure(call_id, -32601, "Method not found")
    function, names = known
    if isinstance(params, list):
        params = dict(zip(names, params, strict=False))
    if not isinstance(params, Mapping):
        return failure(call_id, -32602, "Invalid params", "error converting json params to arguments")
    try:
        view.admit(method)
        return {"jsonrpc": "2.0", "id": call_id, "result": function(view, params)}
    except BadParams as error:
        return failure(call_id, -32602, "Invalid params", str(error))
    except (RpcFailed, Refusing) as error:
        return failure(call_id, -32603, "Internal error", str(error))


def answer_document(view: NodeView, document: Any) -> Any:
    """Return the answer to a decoded request or batch; None for notifications, which get none."""
    if isinstance(document, list):
        answers = [answer_document(view, entry) for entry in document]
        return [answer for answer in answers if answer is not None] or None
    if not isinstance(document, dict) or not isinstance(document.get("method"), str):
        return failure(_GET_ID, -32600, "Invalid Request", "error unmarshalling request")
    if "id" not in document:
        return None
    return call(view, document["id"], document["method"], document.get("params") or {})


def _headers(cached: bool) -> list[tuple[str, str]]:
    headers = [("Vary", "Origin"), ("X-Server-Time", str(int(time.time())))]
    return [("Cache-Control", "public, max-age=86400"), *headers] if cached else headers


class RpcServer:
    """The RPC of one node; `address` is where it really listens."""

    def __init__(self, address: str, view: NodeView) -> None:
        """Listen at once. Raises `http_server.AddressTaken`."""
        self.view = view
        self.subscriptions = Subscriptions(view)
        self._server = HttpServer(address, self._handle, "rpc")
        self.address = self._server.address

    def start(self) -> None:
        self.subscriptions.start()
        self._server.start()

    def stop(self) -> None:
        self.subscriptions.stop()
        self._server.stop()

    def _handle(self, request: Request) -> Response | Takeover:
        if request.path == "/websocket":
            return self.subscriptions.accept(request)
        if request.method == "GET":
            return self._get(request)
        try:
            document = json.loads(request.body)
        except ValueError as error:
            broken = failure(_GET_ID, -32700, "Parse error. Invalid JSON", str(error))
            return Response(500, json.dumps(broken).encode(), headers=_headers(False))
        answer = answer_document(self.view, document)
        if answer is None:
            return Response(200, b"", headers=_headers(False))
        cached = (
            isinstance(document, dict) and document.get("method") in _CACHED and bool(document.get("params"))
        )
        return Response(200, _encode(answer), headers=_headers(cached or _is("abci_info", document)))

    def _get(self, request: Request) -> Response:
        method = request.path.strip("/")
        if not method:
            listing = "".join(f"<p><a href='/{name}'>/{name}</a></p>" for name in METHODS)
            return Response(200, f"<html><body>{listing}</body></html>".encode(), "text/html")
        if method not in METHODS:
            return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")
        params = dict(parse_qsl(request.query))
        answer = call(self.view, _GET_ID, method, params)
        cached = method in _CACHED and (bool(params) or method == "abci_info")
        return Response(500 if "error" in answer else 200, _encode(answer), headers=_headers(cached))


def _is(method: str, document: Any) -> bool:
    return isinstance(document, dict) and document.get("method") == method


def _encode(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
