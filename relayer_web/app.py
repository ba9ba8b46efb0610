"""The WSGI applications: relays and service routes on the relay port; health and status on the health port.

On the relay port every path but the service routes is a relay, with any method, so a relay never meets a router
that could redirect or refuse it. The operator's status page is on the health port only, where no relay arrives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, render_template, request

from relayer_web.front_end import FrontEnd
from relayer_web.inbound import Answer, Inbound
from relayer_web.ready import health_answer, ready_answer, ready_text_answer, service_ready_answer
from relayer_web.service_routes import READY_PREFIX, is_service_route

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
NOT_FOUND = b"404 page not found\n"
TEXT = "text/plain; charset=utf-8"
OVERSIZE_KEY = "relayer.oversize"
TAKES_RELAYS_KEY = "relayer.takes_relays"


def create_relay_app(front_end: FrontEnd) -> Flask:
    """The application of the relay port."""
    app = Flask("relayer_web", static_folder=None)

    @app.before_request
    def dispatch() -> Response:
        path = request.path
        if not is_service_route(path.encode("utf-8", "replace")):
            return _response(_relay(front_end))
        if path.startswith(READY_PREFIX):
            return _response(service_ready_answer(front_end, path.removeprefix(READY_PREFIX)))
        return _response(ready_answer(front_end) if path == "/ready" else health_answer(front_end))

    return app


def create_health_app(front_end: FrontEnd) -> Flask:
    """The application of the health port."""
    app = Flask("relayer_web", static_folder=None)

    @app.get("/health")
    def health() -> Response:
        return Response(b"OK", content_type=TEXT)

    @app.get("/ready")
    def ready() -> Response:
        return _response(ready_text_answer(front_end))

    @app.get("/ready/", defaults={"service_id": ""})
    @app.get("/ready/<service_id>")
    def service_ready(service_id: str) -> Response:
        return _response(service_ready_answer(front_end, service_id))

    @app.get("/status")
    def status() -> str:
        config = front_end.config
        services = [
            {"id": id_, "endpoints": front_end.endpoints(id_), "in_flight": front_end.in_flight(id_)}
            for id_ in config.services
        ]
        return render_template(
            "status.html",
            reasons=front_end.why_not_ready(),
            height=front_end.block_height(),
            process_id=os.getpid(),
            workers=config.extensions.worker_count,
            services=services,
        )

    @app.errorhandler(404)
    @app.errorhandler(405)
    def not_found(_: Exception) -> Response:
        return Response(NOT_FOUND, 404, {"X-Content-Type-Options": "nosniff"}, content_type=TEXT)

    return app


def create_app(front_end: FrontEnd) -> Wsgi:
    """Both applications behind one callable; the worker says in the environment which port a request came to."""
    relay_app, health_app = create_relay_app(front_end), create_health_app(front_end)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chosen = relay_app if environ.get(TAKES_RELAYS_KEY, True) else health_app
        return chosen(environ, start_response)

    return app


def _relay(front_end: FrontEnd) -> Answer:
    """The relay function as a view."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    peer = request.remote_addr or ""
    limit = front_end.config.largest_body_bytes
    body = b"" if request.environ.get(OVERSIZE_KEY) else request.stream.read(limit + 1)
    oversize = bool(request.environ.get(OVERSIZE_KEY)) or len(body) > limit
    return front_end.serve(
        Inbound(
            b"" if oversize else body,
            headers,
            peer,
            oversize=oversize,
            method=request.method,
            path=request.path,
        )
    )


def _response(answer: Answer) -> Response:
    body = answer.body if answer.chunks is None else answer.chunks
    response = Response(body, answer.status, direct_passthrough=answer.chunks is not None)
    del response.headers["Content-Type"]
    for name, value in answer.headers:
        response.headers.add(name, value)
    return response
