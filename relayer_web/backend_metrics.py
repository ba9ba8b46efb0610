"""What happens in the backends, counted and logged under the reference's names (spec/relayer.md §2.8, §7.1)."""

from __future__ import annotations

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from relayer_web.backends.observer import BackendObserver
from relayer_web.config import RelayerConfig
from relayer_web.metrics import FINE_S

log = structlog.get_logger("relayer")


class CountedBackends(BackendObserver):
    """Metrics and log lines of one process. Labels come from the configuration alone."""

    def __init__(self, config: RelayerConfig, registry: CollectorRegistry = REGISTRY) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...], mode: str) -> Gauge:
            return Gauge(f"ha_relayer_{name}", text, labels, registry=registry, multiprocess_mode=mode)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"ha_relayer_{name}", text, ("service_id",), registry=registry, buckets=FINE_S)

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(f"ha_relayer_{name}", text, labels, registry=registry)

        services = list(config.services)
        in_flight = gauge("http_pool_in_flight", "requests out at backends", ("service_id",), "livesum")
        max_conns = gauge("http_pool_max_conns", "connections allowed per host", ("service_id",), "livemax")
        waits = histogram("http_pool_wait_seconds", "wait for a connection")
        dials = histogram("backend_dial_seconds", "new connections")
        reused = counter("backend_conn_reused", "connections taken", ("service_id", "reused"))
        self._in_flight = {service: in_flight.labels(service) for service in services}
        self._waits = {service: waits.labels(service) for service in services}
        self._dials = {service: dials.labels(service) for service in services}
        self._reused = {
            (service, was): reused.labels(service, str(was).lower())
            for service in services
            for was in (True, False)
        }
        self._probes = {
            True: counter("health_check_successes", "good probes", ("service_id", "endpoint")),
            False: counter("health_check_failures", "failed probes", ("service_id", "endpoint")),
        }
        self._health = gauge(
            "backend_health_status", "1 healthy, 0 not", ("service_id", "endpoint"), "livemin"
        )
        for service in services:
            max_conns.labels(service).set(config.pool(service).max_conns_per_host)

    def endpoint_changed(
        self, service_id: str, transport: str, endpoint: str, healthy: bool, cause: str
    ) -> None:
        self._health.labels(f"{service_id}:{transport}", endpoint).set(int(healthy))
        place = {"service_id": service_id, "rpc_type": transport, "backend": endpoint, "cause": cause}
        if healthy:
            log.info("backend up: circuit breaker recovered", **place)
        else:
            log.error("backend down: circuit breaker tripped", **place)

    def probed(self, service_id: str, transport: str, endpoint: str, good: bool) -> None:
        self._probes[good].labels(f"{service_id}:{transport}", endpoint).inc()

    def in_flight(self, service_id: str, change: int) -> None:
        self._in_flight[service_id].inc(change)

    def waited(self, service_id: str, seconds: float) -> None:
        self._waits[service_id].observe(seconds)

    def dialled(self, service_id: str, seconds: float) -> None:
        self._dials[service_id].observe(seconds)

    def connected(self, service_id: str, reused: bool) -> None:
        self._reused[service_id, reused].inc()
