"""Labels cannot grow with what senders write, and no event is lost on the way."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry

from relayer_web.metrics import RelayerMetrics
from tests.unit.relayer_web.relay_world import World, relay_request


def series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def test_senders_cannot_make_series(world: World) -> None:
    def attack(number: int) -> None:
        world.serve(relay_request(service_id=f"made-up-{number}"), {"rpc-type": f"type-{number}"})
        world.serve(relay_request(supplier=f"supplier-{number}"), {"rpc-type": f"type-{number}"})
        world.serve(relay_request(header={"session_id": f"s{number}"}), {"rpc-type": f"type-{number}"})

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
