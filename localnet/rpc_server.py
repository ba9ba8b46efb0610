"""CometBFT's RPC over HTTP and WebSocket (spec/chain.md §8)."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qsl

from localnet.http_server import HttpServer, Request, Response, Takeover
from localnet.node_view import NodeView
from localnet.rpc_calls import NO_ID, answer_document, call, failure
from localnet.rpc_methods import METHODS
from localnet.rpc_websocket import Subscriptions

_CACHED = frozenset({"block", "header", "block_results", "validators", "tx", "abci_info"})


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
            broken = failure(NO_ID, -32700, "Parse error. Invalid JSON", str(error))
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
        answer = call(self.view, NO_ID, method, params)
        cached = method in _CACHED and (bool(params) or method == "abci_info")
        return Response(500 if "error" in answer else 200, _encode(answer), headers=_headers(cached))


def _is(method: str, document: Any) -> bool:
    return isinstance(document, dict) and document.get("method") == method


def _encode(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
