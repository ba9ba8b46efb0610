"""What the backend answers on each path (spec/relayer.md §9), and the odd answers that tests want."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qs

from localnet.backend.behaviour import Counters, Settings
from localnet.backend.websocket import websocket_route
from localnet.http_server import Request, Response, Takeover
from pocket_protocol.errors import Malformed

_SSE_EVERY_S: Final = 0.2
_NDJSON_EVERY_S: Final = 1.0
_MAX_BIG_BYTES: Final = 256 * 1024 * 1024
_INVALID_REQUEST: Final = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}'


def _json(content: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), "text/plain; charset=utf-8")


class Backend:
    """The answers of one backend; `settings` may be replaced at any time."""

    def __init__(self, settings: Settings = Settings()) -> None:
        self.settings = settings
        self.counters = Counters()
        self._prefixed: tuple[tuple[str, Callable[[Request, str], Response | Takeover]], ...] = (
            ("/rest/", self._rest),
            ("/ws", self._websocket),
            ("/stream/sse", self._sse),
            ("/stream/ndjson", self._ndjson),
            ("/test/status/", self._status),
            ("/test/slow/", self._slow),
            ("/test/big/", self._big),
            ("/test/empty", lambda request, rest: Response(200, b"", "")),
            ("/test/redirect", self._redirect),
            ("/test/gzip-bare", lambda request, rest: self._gzip(marked=False)),
            ("/test/gzip", lambda request, rest: self._gzip(marked=True)),
            ("/test/echo", self._echo),
            ("/test/close", lambda request, rest: Takeover(lambda sock, received: None)),
            ("/test/received", lambda request, rest: _json(list(self.counters.received))),
            ("/test/settings", self._settings),
            ("/test/reset", self._reset),
            ("/counters", lambda request, rest: _json(self.counters.to_json())),
            ("/metrics", self._metrics),
            ("/health", lambda request, rest: self._health()),
        )

    def handle(self, request: Request) -> Response | Takeover:
        """Answer one request."""
        started = time.perf_counter()
        path = request.path
        for prefix, answer in self._prefixed:
            if path.startswith(prefix):
                if not prefix.startswith(("/test/received", "/counters", "/metrics", "/health")):
                    self.counters.remember(request)
                    self.counters.count("http", prefix.strip("/"), time.perf_counter() - started)
                return answer(request, path[len(prefix) :])
        self.counters.remember(request)
        response, method = self._json_rpc(request)
        self.counters.count("jsonrpc", method, time.perf_counter() - started)
        return response

    def _json_rpc(self, request: Request) -> tuple[Response, str]:
        settings = self.settings
        if not request.header("Content-Type").startswith("application/json"):
            return Response(200, _INVALID_REQUEST), "invalid"
        if settings.delay_ms:
            time.sleep(settings.delay_ms / 1000)
        if settings.error_rate and random.random() < settings.error_rate:
            code = random.choice(settings.error_codes or (settings.error_code,))
            return _text(code, f"injected error (code: {code})\n"), "injected_error"
        try:
            call = json.loads(request.body)
        except ValueError:
            call = None
        if not isinstance(call, dict):
            return _text(400, "invalid JSON\n"), "invalid_json"
        result = {
            "backend_id": settings.backend_id,
            "method": call.get("method"),
            "params": call.get("params"),
            "status": "ok",
        }
        if settings.fat_payload_bytes:
            result["filler"] = "x" * settings.fat_payload_bytes
        response = _json({"id": call.get("id"), "jsonrpc": "2.0", "result": result})
        if settings.broken_compression and "gzip" in request.header("Accept-Encoding"):
            response.body = gzip.compress(bytes(response.body))  # type: ignore[arg-type]
        return response, str(call.get("method"))[:64]

    def _rest(self, request: Request, rest: str) -> Response:
        return _json(
            {
                "backend_id": self.settings.backend_id,
                "method": request.method,
                "path": request.path,
                "query": parse_qs(request.query),
                "body": request.body.decode("utf-8", "replace"),
                "status": "ok",
            }
        )

    def _websocket(self, request: Request, rest: str) -> Response | Takeover:
        if "websocket" not in request.header("Upgrade").lower():
            return _text(426, "a WebSocket is wanted\n")
        return websocket_route(
            request,
            rest,
            self.settings.backend_id,
            lambda method: self.counters.count("websocket", method, 0.0),
        )

    def _sse(self, request: Request, rest: str) -> Response:
        def events() -> Iterator[bytes]:
            for number in itertools.count() if limit is None else range(limit):
                if number:
                    time.sleep(_SSE_EVERY_S)
                event = {"sequence": number, "timestamp": int(time.time()), "type": "update"}
                yield f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode()

        limit = _batches(request)
        return Response(200, events(), "text/event-stream", [("Cache-Control", "no-cache")])

    def _ndjson(self, request: Request, rest: str) -> Response:
        def lines() -> Iterator[bytes]:
            for number in itertools.count() if limit is None else range(limit):
                if number:
                    time.sleep(_NDJSON_EVERY_S)
                yield json.dumps({"sequence": number}, separators=(",", ":")).encode() + b"\n"

        limit = _batches(request)
        return Response(200, lines(), "application/x-ndjson")

    def _status(self, request: Request, rest: str) -> Response:
        code = int(rest) if rest.isdigit() and 200 <= int(rest) <= 599 else 400
        return _json({"status": code}, code)

    def _slow(self, request: Request, rest: str) -> Response:
        if not rest.isdigit():
            return _text(400, "milliseconds are wanted\n")
        time.sleep(int(rest) / 1000)
        return _json({"slept_ms": int(rest)})

    def _big(self, request: Request, rest: str) -> Response:
        if not rest.isdigit() or int(rest) > _MAX_BIG_BYTES:
            return _text(400, "a number of bytes is wanted\n")
        return Response(200, b"x" * int(rest), "application/octet-stream")

    def _redirect(self, request: Request, rest: str) -> Response:
        return Response(302, b"", "", [("Location", "/health")])

    def _gzip(self, *, marked: bool) -> Response:
        body = gzip.compress(b'{"compressed":true}', mtime=0)
        return Response(200, body, headers=[("Content-Encoding", "gzip")] if marked else [])

    def _echo(self, request: Request, rest: str) -> Response:
        return _json(
            {
                "method": request.method,
                "target": request.target,
                "headers": request.headers,
                "body": request.body.decode("utf-8", "replace"),
            }
        )

    def _settings(self, request: Request, rest: str) -> Response:
        if request.method == "POST":
            try:
                self.settings = self.settings.changed(json.loads(request.body))
            except (ValueError, AttributeError, Malformed) as error:
                return _text(400, f"{error}\n")
        return _json({name: getattr(self.settings, name) for name in Settings.__slots__})

    def _reset(self, request: Request, rest: str) -> Response:
        self.counters.reset()
        return _json({"ok": True})

    def _metrics(self, request: Request, rest: str) -> Response:
        return Response(200, self.counters.exposition().encode(), "text/plain; version=0.0.4")

    def _health(self) -> Response:
        return Response(200, b'{"service":"demo-backend","status":"healthy"}\n')


def _batches(request: Request) -> int | None:
    """Return how many events a stream shall have: ?batches=N or {"batches": N}; None: without end."""
    asked = parse_qs(request.query).get("batches", [""])[0]
    if asked.isdigit():
        return int(asked)
    try:
        wanted = json.loads(request.body or b"{}").get("batches")
    except (ValueError, AttributeError):
        return None
    return wanted if isinstance(wanted, int) and wanted >= 0 else None
