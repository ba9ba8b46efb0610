"""Labels cannot grow with what senders write, and no event is lost on the way."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, Histogram

from pocket_protocol import relay as relay_protocol
from relayer_web.grpc_relay import serve_grpc_relay
from relayer_web.inbound import Inbound
from relayer_web.metrics import FINE_S, RelayerMetrics
from tests.unit.relayer_web.relay_world import World, relay_request


def series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def test_senders_cannot_make_series(world: World) -> None:
    def attack(number: int) -> None:
        world.serve(relay_request(service_id=f"made-up-{number}"), {"rpc-type": f"type-{number}"})
        world.serve(relay_request(supplier=f"supplier-{number}"), {"rpc-type": f"type-{number}"})
        world.serve(relay_request(header={"session_id": f"s{number}"}), {"rpc-type": f"type-{number}"})
        for request in (relay_request(service_id=f"made-up-{number}"), relay_request(supplier=f"s-{number}")):
            body, headers = relay_protocol.encode_request(request), {"rpc-type": f"type-{number}"}
            serve_grpc_relay(Inbound(body, headers, is_grpc=True), world.runtime)

    attack(0)
    world.runtime.metrics.flush()
    before = series(world.registry)
    for number in range(1, 20):
        attack(number)
    world.runtime.metrics.flush()
    assert series(world.registry) == before


def test_threads_lose_no_event() -> None:
    registry = CollectorRegistry()
    metrics = RelayerMetrics(["svc"], registry)
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            metrics.flush()

    flusher = threading.Thread(target=flush)
    flusher.start()
    workers = [
        threading.Thread(target=lambda: [metrics.count("relays_mined", "svc") for _ in range(5_000)])
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    flusher.join()
    metrics.flush()
    assert registry.get_sample_value("ha_relayer_relays_mined_total", {"service_id": "svc"}) == 20_000


def test_histograms_and_gauges() -> None:
    registry = CollectorRegistry()
    metrics = RelayerMetrics(["svc"], registry)
    metrics.observe("relay_latency_seconds", 0.3, "svc", "jsonrpc")
    metrics.set("current_block_height", 7)
    metrics.flush()
    labels = {"service_id": "svc", "rpc_type": "jsonrpc"}
    assert registry.get_sample_value("ha_relayer_relay_latency_seconds_sum", labels) == 0.3
    assert registry.get_sample_value("ha_relayer_relay_latency_seconds_bucket", labels | {"le": "0.25"}) == 0
    assert registry.get_sample_value("ha_relayer_relay_latency_seconds_bucket", labels | {"le": "0.5"}) == 1
    assert registry.get_sample_value("ha_relayer_current_block_height") == 7


def test_histograms_are_what_the_library_makes_of_the_same_values() -> None:
    values = [0.0, 0.001, 0.0011, 0.3, 0.5, 0.5000001, 30.0, 31.0, 1e9, 0.02, 0.3]
    ours, library = CollectorRegistry(), CollectorRegistry()
    metrics = RelayerMetrics(["svc"], ours)
    plain = Histogram(
        "ha_relayer_relay_latency_seconds",
        "end to end",
        ("service_id", "rpc_type"),
        buckets=FINE_S,
        registry=library,
    )
    for value in values:
        metrics.observe("relay_latency_seconds", value, "svc", "jsonrpc")
        plain.labels("svc", "jsonrpc").observe(value)
    metrics.flush()

    def samples(registry: CollectorRegistry) -> dict[str, float]:
        return {
            f"{sample.name}{sample.labels.get('le', '')}": sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name.startswith("ha_relayer_relay_latency") and not sample.name.endswith("_created")
        }

    assert len(samples(ours)) == len(FINE_S) + 3
    assert samples(ours) == pytest.approx(samples(library))  # sums of floats may differ in the last place


def test_label_values() -> None:
    metrics = RelayerMetrics(["svc"], CollectorRegistry())
    assert [metrics.service("svc"), metrics.service("x"), metrics.service("")] == [
        "svc",
        "unknown",
        "unknown",
    ]
    assert [metrics.transport("rest"), metrics.transport("x"), metrics.transport("")] == [
        "rest",
        "other",
        "unknown",
    ]
