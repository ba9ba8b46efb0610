from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from relayer_web.backend_metrics import CountedBackends
from relayer_web.config import load_relayer_config
from relayer_web.metrics import RelayerMetrics


def test_what_happens_in_backends_is_counted_under_the_references_names(tmp_path: Path) -> None:
    path = tmp_path / "relayer.yaml"
    path.write_text(
        "pocket_node: {query_node_rpc_url: 'http://127.0.0.1:9', query_node_grpc_url: '127.0.0.1:9'}\n"
        "services: {svc: {pool_profile: high, backends: {jsonrpc: {url: 'http://127.0.0.1:9'}}}}\n"
    )
    registry = CollectorRegistry()
    config = load_relayer_config(path).config
    metrics = RelayerMetrics(config.services, registry)
    counted = CountedBackends(config, metrics)
    counted.in_flight("svc", 1)
    counted.in_flight("svc", 1)
    counted.in_flight("svc", -1)
    counted.connected("svc", True)
    counted.dialled("svc", 0.02)
    counted.waited("svc", 0.02)
    counted.probed("svc", "jsonrpc", "b0", True)
    counted.probed("svc", "jsonrpc", "b0", False)
    counted.endpoint_changed("svc", "jsonrpc", "b0", False, "status 503")
    metrics.flush()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"ha_relayer_{name}", labels)

    assert value("http_pool_in_flight", service_id="svc") == 1
    assert value("http_pool_max_conns", service_id="svc") == 250
    assert value("backend_conn_reused_total", service_id="svc", reused="true") == 1
    assert value("backend_conn_reused_total", service_id="svc", reused="false") == 0
    assert value("backend_dial_seconds_count", service_id="svc") == 1
    assert value("http_pool_wait_seconds_count", service_id="svc") == 1
    assert value("health_check_successes_total", service_id="svc:jsonrpc", endpoint="b0") == 1
    assert value("health_check_failures_total", service_id="svc:jsonrpc", endpoint="b0") == 1
    assert value("backend_health_status", service_id="svc:jsonrpc", endpoint="b0") == 0
    counted.endpoint_changed("svc", "jsonrpc", "b0", True, "relay succeeded")
    assert value("backend_health_status", service_id="svc:jsonrpc", endpoint="b0") == 1
