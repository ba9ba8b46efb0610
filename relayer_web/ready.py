"""Health and readiness documents (spec/relayer.md §1.1), with what is true of the serving path.

The shapes are the reference's. What differs: `/ready` is red when no relay would be served (the reference's always
says healthy), and says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from relayer_web.front_end import FrontEnd
from relayer_web.inbound import Answer

JSON = [("Content-Type", "application/json")]
_NO_POOL = {
    "max_conns_per_host": 0,
    "max_idle_conns_per_host": 0,
    "idle_conn_timeout_seconds": 0,
    "in_flight": 0,
    "saturation_pct": 0,
}


def health_answer(front_end: FrontEnd) -> Answer:
    """`/health`, `/healthz`: the process is alive."""
    return _json(200, {"status": "healthy", "block_height": front_end.block_height()})


def ready_answer(front_end: FrontEnd) -> Answer:
    """`/ready`: 200 when relays would be served, else 503 with the reasons."""
    reasons = list(front_end.why_not_ready())
    if not reasons:
        return health_answer(front_end)
    document = {"status": "unhealthy", "block_height": front_end.block_height(), "reasons": reasons}
    return _json(503, document)


def ready_text_answer(front_end: FrontEnd) -> Answer:
    """`/ready` of the health port: `READY`, else 503 with the reasons."""
    reasons = front_end.why_not_ready()
    text = ", ".join(reasons) + "\n" if reasons else "READY"
    return Answer(503 if reasons else 200, [("Content-Type", "text/plain; charset=utf-8")], text.encode())


def service_ready_answer(front_end: FrontEnd, service_id: str) -> Answer:
    """`/ready/<service>`: 200 when any endpoint of any transport is healthy and the process is ready."""
    if not service_id:
        return _service(400, _service_document("", "service_id path parameter is required"))
    if service_id not in front_end.config.services:
        return _service(404, _service_document(service_id, "unknown service"))
    endpoints = [
        {"name": endpoint.name, "url": endpoint.url, "healthy": endpoint.healthy}
        for endpoint in front_end.endpoints(service_id)
    ]
    healthy = sum(endpoint["healthy"] is True for endpoint in endpoints)
    reasons = [*front_end.why_not_ready()] + ([] if healthy else ["no healthy backend"])
    document = _service_document(service_id, ", ".join(reasons))
    document |= {
        "ready": not reasons,
        "block_height": front_end.block_height(),
        "pool": _pool(front_end, service_id),
        "backends": {"total": len(endpoints), "healthy": healthy, "endpoints": endpoints},
    }
    return _service(503 if reasons else 200, document)


def _service_document(service_id: str, error: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "service_id": service_id,
        "ready": False,
        "block_height": 0,
        "pool": _NO_POOL,
        "backends": {"total": 0, "healthy": 0, "endpoints": None},
    }
    return document | ({"error": error} if error else {})


def _pool(front_end: FrontEnd, service_id: str) -> Mapping[str, Any]:
    limits = front_end.config.pool(service_id)
    profile = front_end.config.services[service_id].pool_profile
    in_flight = front_end.in_flight(service_id)
    share = 100 * in_flight / limits.max_conns_per_host if limits.max_conns_per_host else 0
    numbers = {
        "max_conns_per_host": limits.max_conns_per_host,
        "max_idle_conns_per_host": limits.max_idle_conns_per_host,
        "idle_conn_timeout_seconds": limits.idle_conn_timeout_seconds,
        "in_flight": in_flight,
        "saturation_pct": int(share) if share == int(share) else share,
    }
    return ({"profile": profile} if profile else {}) | numbers


def _json(status: int, document: Mapping[str, Any]) -> Answer:
    return Answer(status, JSON, _encoded(document))


def _service(status: int, document: Mapping[str, Any]) -> Answer:
    return Answer(status, JSON, _encoded(document) + b"\n")


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
