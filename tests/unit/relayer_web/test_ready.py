"""`/ready/<service>`: what it shows of a service's backends and connections (spec/relayer.md §1.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from relayer_web.backends.contract import EndpointReport
from relayer_web.config import RelayerConfig, ServiceConfig
from relayer_web.config_backends import BackendConfig
from relayer_web.ready import service_ready_answer

BACKENDS = {"jsonrpc": BackendConfig(url="http://a"), "websocket": BackendConfig(url="ws://a")}


@dataclass
class Seen:
    """A front end as the documents see it."""

    healthy: Sequence[bool] = (True, True)
    busy: int = 0
    reasons: Sequence[str] = ()
    config: RelayerConfig = field(
        default_factory=lambda: RelayerConfig(
            services={
                "svc": ServiceConfig(backends=BACKENDS, pool_profile="low"),
                "plain": ServiceConfig(backends=BACKENDS),
            }
        )
    )

    def block_height(self) -> int:
        return 105

    def why_not_ready(self) -> Sequence[str]:
        return self.reasons

    def endpoints(self, service_id: str) -> Sequence[EndpointReport]:
        return [
            EndpointReport(f"b{number}", "http://a", healthy) for number, healthy in enumerate(self.healthy)
        ]

    def in_flight(self, service_id: str) -> int:
        return self.busy


def ready(seen: Seen, service: str = "svc") -> tuple[int, dict[str, Any]]:
    answer = service_ready_answer(seen, service)  # type: ignore[arg-type]
    assert dict(answer.headers)["Content-Type"] == "application/json"
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize(
    ("healthy", "status", "count"),
    [((True, True), 200, 2), ((False, True), 200, 1), ((False, False), 503, 0)],
)
def test_one_healthy_endpoint_is_enough(healthy: Sequence[bool], status: int, count: int) -> None:
    """reference: TestReadyService_PartialBackendOutageStaysReady, …_ReturnsServiceUnavailableWhenAllBackendsDown."""
    answered, document = ready(Seen(healthy))
    assert (answered, document["ready"]) == (status, status == 200)
    assert document["backends"]["healthy"] == count
    assert document["backends"]["total"] == len(document["backends"]["endpoints"]) == 2
    assert document.get("error", "") == ("" if count else "no healthy backend")


@pytest.mark.parametrize(("busy", "percent"), [(0, 0), (1, 10), (7, 70), (20, 200)])
def test_saturation_is_the_share_of_connections_in_use(busy: int, percent: int) -> None:
    """reference: TestReadyService_SaturationPercentReflectsInFlight."""
    pool = ready(Seen(busy=busy))[1]["pool"]
    assert (pool["in_flight"], pool["saturation_pct"]) == (busy, percent)


def test_without_a_profile_the_global_numbers_are_shown() -> None:
    """reference: TestReadyService_NoPoolProfileFallsBackToGlobals."""
    pool = ready(Seen(), "plain")[1]["pool"]
    assert "profile" not in pool
    assert (pool["max_conns_per_host"], pool["max_idle_conns_per_host"]) == (500, 100)
    assert ready(Seen())[1]["pool"]["profile"] == "low"


def test_a_process_that_serves_nothing_is_not_ready_for_a_service() -> None:
    status, document = ready(Seen(reasons=["store unavailable"]))
    assert (status, document["error"]) == (503, "store unavailable")
