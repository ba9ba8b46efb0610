"""All pools of one worker, built from the configuration: the `Backends` the pipeline calls (backends/contract.py)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

from operations.setting import redacted
from relayer_web.backends.breaker import Breaker, BreakerLimits
from relayer_web.backends.connections import ConnectionLimits
from relayer_web.backends.contract import BackendRequest, BackendResponse, EndpointReport, NoBackend
from relayer_web.backends.endpoint import BackendClient, Endpoint, EndpointUrl
from relayer_web.backends.grpc_client import GrpcClient
from relayer_web.backends.headers import HeaderRules, authorization, probe_authorization
from relayer_web.backends.http_client import HttpClient, Origin
from relayer_web.backends.observer import BackendObserver
from relayer_web.backends.pool import BackendPool
from relayer_web.backends.prober import Prober
from relayer_web.config import RelayerConfig
from relayer_web.config_backends import BackendConfig

LARGEST_ANSWER_BYTES = 200 * 1024 * 1024


def shown_to_strangers(url: str) -> str:
    """Return a backend's address without what may be a provider's key: the health routes are on the relay port too."""
    parts = urlsplit(redacted(url))
    return urlunsplit(parts._replace(path="/***" if parts.path.strip("/") else parts.path))


class ConfiguredBackends:
    """One pool per configured (service, transport), one client per service, origin and protocol."""

    def __init__(
        self,
        config: RelayerConfig,
        observer: BackendObserver | None = None,
        *,
        tls_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._config = config
        self._observer = observer or BackendObserver()
        self._tls_context = lru_cache(1)(tls_context)
        self._clients: dict[tuple[str, Origin, bool], BackendClient] = {}
        self._pools: dict[tuple[str, str], BackendPool] = {}
        self._probers: list[Prober] = []
        self._in_flight = dict.fromkeys(config.services, 0)
        for service_id, service in config.services.items():
            for transport, backend in service.backends.items():
                self._add(service_id, transport, backend)

    def start(self) -> None:
        """Begin the configured health checks."""
        for prober in self._probers:
            prober.start()

    def stop(self) -> None:
        """End health checks and close idle connections."""
        for prober in self._probers:
            prober.stop()
        for client in self._clients.values():
            client.close()

    def is_ready(self, service_id: str, transport: str) -> bool:
        pool = self._pools.get((service_id, transport))
        return pool is not None and pool.is_ready()

    def has_pool(self, service_id: str, transport: str) -> bool:
        return (service_id, transport) in self._pools

    def select(self, service_id: str, transport: str) -> Endpoint:
        """Return the endpoint whose turn it is, for transports that hold their own connection.

        The caller tells its `breaker` how it went. Raises `NoBackend`.
        """
        return self._pool(service_id, transport).select()

    def call(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        pool = self._pool(service_id, transport)
        self._count(service_id, 1)
        streaming = False
        try:
            response = pool.call(request)
            if response.stream is not None:
                streaming = True
                response.stream.on_close(lambda failure: self._count(service_id, -1))
            return response
        finally:
            if not streaming:
                self._count(service_id, -1)

    def call_once(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        return self._pool(service_id, transport).call_once(request)

    def report(self, service_id: str) -> Sequence[EndpointReport]:
        return [
            EndpointReport(
                endpoint.name, shown_to_strangers(endpoint.url), endpoint.breaker.is_healthy(), transport
            )
            for (service, transport), pool in self._pools.items()
            if service == service_id
            for endpoint in pool.endpoints
        ]

    def in_flight(self, service_id: str) -> int:
        """Requests this process has out at the service's backends."""
        return self._in_flight.get(service_id, 0)

    def _pool(self, service_id: str, transport: str) -> BackendPool:
        pool = self._pools.get((service_id, transport))
        if pool is None:
            raise NoBackend(configured=False)
        return pool

    def _count(self, service_id: str, change: int) -> None:
        self._in_flight[service_id] += change
        self._observer.in_flight(service_id, change)

    def _add(self, service_id: str, transport: str, backend: BackendConfig) -> None:
        limits = self._config.extensions

        def rules(extra: dict[str, str], auth: str) -> HeaderRules:
            return HeaderRules(
                {**backend.headers, **extra},
                auth,
                max_count=limits.max_header_count,
                max_bytes=limits.max_header_bytes,
            )

        relay_rules = rules({}, authorization(backend.authentication))
        endpoints = [
            Endpoint(
                target.name,
                target.url,
                transport=transport,
                base_path=backend.base_path,
                max_url_bytes=limits.max_url_bytes,
                breaker=self._breaker(service_id, transport, target.name, backend),
                rules=relay_rules,
                client=self._client(service_id, EndpointUrl.parse(target.url).origin, transport == "grpc"),
            )
            for target in backend.targets(transport)
        ]
        pool = BackendPool(
            endpoints,
            strategy=backend.strategy,
            max_retries=backend.max_retries,
            timeout_s=self._config.timeouts(service_id).request_timeout_seconds,
        )
        self._pools[service_id, transport] = pool
        if backend.health_check.enabled:
            probe_rules = rules(
                dict(backend.health_check.headers), probe_authorization(backend.authentication)
            )
            self._probers.append(
                Prober(
                    pool,
                    backend.health_check,
                    probe_rules,
                    lambda name, good: self._observer.probed(service_id, transport, name, good),
                )
            )

    def _breaker(self, service_id: str, transport: str, name: str, backend: BackendConfig) -> Breaker:
        check = backend.health_check
        return Breaker(
            BreakerLimits(
                threshold=backend.breaker_threshold,
                recovery_s=backend.recovery_timeout_seconds,
                failed_probes=check.failed_probes,
                good_probes=check.healthy_threshold,
            ),
            on_change=lambda healthy, cause: self._observer.endpoint_changed(
                service_id, transport, name, healthy, cause
            ),
        )

    def _client(self, service_id: str, origin: Origin, is_grpc: bool) -> BackendClient:
        key = (service_id, origin, is_grpc)
        if key not in self._clients:
            self._clients[key] = (
                GrpcClient(origin, max_body_bytes=self._max_answer_bytes, tls_context=self._tls_context)
                if is_grpc
                else self._http_client(service_id, origin)
            )
        return self._clients[key]

    @property
    def _max_answer_bytes(self) -> int:
        return self._config.largest_body_bytes or LARGEST_ANSWER_BYTES

    def _http_client(self, service_id: str, origin: Origin) -> HttpClient:
        config = self._config
        timeouts, pool = config.timeouts(service_id), config.pool(service_id)
        limits = ConnectionLimits(
            max_open=pool.max_conns_per_host,
            max_idle=pool.max_idle_conns_per_host,
            idle_s=pool.idle_conn_timeout_seconds,
            dial_s=timeouts.dial_timeout_seconds,
            tls_s=timeouts.tls_handshake_timeout_seconds,
            keep_alive_probe_s=config.http_transport.tcp_keep_alive_seconds,
        )
        return HttpClient(
            origin,
            limits,
            max_body_bytes=self._max_answer_bytes,
            head_s=timeouts.response_header_timeout_seconds,
            service_id=service_id,
            observer=self._observer,
            tls_context=self._tls_context,
        )
