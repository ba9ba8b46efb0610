"""What happens in the backends, counted and logged under the reference's names (spec/relayer.md §2.8, §7.1)."""

from __future__ import annotations

import structlog

from relayer_web.backends.observer import BackendObserver
from relayer_web.config import RelayerConfig
from relayer_web.metrics import RelayerMetrics

log = structlog.get_logger("relayer")


class CountedBackends(BackendObserver):
    """Metrics and log lines of one process. Labels come from the configuration alone."""

    def __init__(self, config: RelayerConfig, metrics: RelayerMetrics) -> None:
        self._metrics = metrics
        for service in config.services:
            metrics.set("http_pool_max_conns", config.pool(service).max_conns_per_host, service)
            metrics.count("http_pool_in_flight", service, by=0)
            for reused in ("true", "false"):
                metrics.count("backend_conn_reused", service, reused, by=0)

    def endpoint_changed(
        self, service_id: str, transport: str, endpoint: str, healthy: bool, cause: str
    ) -> None:
        self._metrics.set("backend_health_status", int(healthy), f"{service_id}:{transport}", endpoint)
        place = {"service_id": service_id, "rpc_type": transport, "backend": endpoint, "cause": cause}
        if healthy:
            log.info("backend up: circuit breaker recovered", **place)
        else:
            log.error("backend down: circuit breaker tripped", **place)

    def probed(self, service_id: str, transport: str, endpoint: str, good: bool) -> None:
        name = "health_check_successes" if good else "health_check_failures"
        self._metrics.count(name, f"{service_id}:{transport}", endpoint)

    def in_flight(self, service_id: str, change: int) -> None:
        self._metrics.count("http_pool_in_flight", service_id, by=change)

    def waited(self, service_id: str, seconds: float) -> None:
        self._metrics.observe("http_pool_wait_seconds", seconds, service_id)

    def dialled(self, service_id: str, seconds: float) -> None:
        self._metrics.observe("backend_dial_seconds", seconds, service_id)

    def connected(self, service_id: str, reused: bool) -> None:
        self._metrics.count("backend_conn_reused", service_id, "true" if reused else "false")
