"""Traces of a real deployment: relays of every transport, sent to a collector by gunicorn's workers and by gRPC's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pocket_protocol import relay as relay_protocol
from relayer_web.grpc_relay import SEND_RELAY
from tests.integration.raw_http import exchange
from tests.integration.sender import Sender, json_call
from tests.integration.socket_client import SocketClient
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment, wait_until
from tests.trace_collector import Collector, SeenSpan, collector

SERVICE = "develop-http"
STAGES = {"validation", "relay_meter", "backend", "sign", "publish"}


@pytest.fixture(scope="module")
def collecting() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, collecting: Collector) -> Iterator[Deployment]:
    def relayer(settings: dict[str, Any]) -> None:
        settings["extensions"]["tracing"] = {"endpoint": collecting.url, "sample_ratio": 1}

    directory: Path = tmp_path_factory.mktemp("tracing")
    with deployment(
        directory, RELAYER, relayer=relayer, block_time_s=STILL_S, front_end_workers=1
    ) as running:
        running.step_to(5)
        yield running


@pytest.fixture(scope="module")
def sender(network: Deployment) -> Sender:
    return Sender(network.layout.ports.address("grpc"), [SERVICE], 5)


def next_span(collecting: Collector, name: str, known: list[SeenSpan]) -> SeenSpan:
    """The span that came since `known` was looked at."""
    seen = {span.id for span in known}

    def found() -> list[SeenSpan]:
        return [span for span in collecting.spans(name) if span.id not in seen]

    return wait_until(found, f"a span {name}")[0]  # type: ignore[no-any-return]


def test_relays_of_every_transport(network: Deployment, sender: Sender, collecting: Collector) -> None:
    known = collecting.spans()
    answer = exchange(network.relayer_address, sender.post(SERVICE))
    assert answer is not None
    assert answer.status == 200
    relay = next_span(collecting, "relay", known)
    assert set(collecting.children(relay)) == STAGES

    known = collecting.spans()
    call = json_call("/stream/sse", body=b'{"batches":2}')
    streamed = exchange(network.relayer_address, sender.post(SERVICE, inner=call))
    assert streamed is not None
    relay = next_span(collecting, "relay", known)
    assert set(collecting.children(relay)) == STAGES
    assert relay.duration_s > 0.2  # to the stream's end: events come 200 ms apart

    known = collecting.spans()
    host, port = network.relayer_address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        request = relay_protocol.encode_request(sender.request(SERVICE))
        send = channel.unary_unary(SEND_RELAY)
        assert send(request, metadata=[("rpc-type", "3")], timeout=20, wait_for_ready=True)
    relay = next_span(collecting, "relay", known)
    assert relay.attributes["rpc.grpc.status_code"] == 0
    assert set(collecting.children(relay)) == STAGES

    known = collecting.spans()
    headers = {"Target-Service-Id": SERVICE, "Rpc-Type": "2"}
    with SocketClient(network.relayer_address, headers) as client:
        client.send(relay_protocol.encode_request(sender.request(SERVICE, payload=b'{"id":1,"method":"a"}')))
        client.message()
    asked = next_span(collecting, "websocket_request", known)
    said = next_span(collecting, "websocket_answer", known)
    assert set(collecting.children(asked)) == {"validation", "relay_meter"}
    assert set(collecting.children(said)) == {"sign", "publish"}
    assert asked.attributes["pocket.rpc_type"] == said.attributes["pocket.rpc_type"] == "websocket"


def test_a_collector_that_hangs_slows_no_relay_down(
    network: Deployment, sender: Sender, collecting: Collector
) -> None:
    """Its socket is waited for in a greenlet of its own: the worker, which is one thread, goes on."""
    collecting.asked.clear()
    collecting.gate.clear()
    try:
        exchange(network.relayer_address, sender.post(SERVICE))
        assert collecting.asked.wait(10)
        started = time.monotonic()
        for _ in range(5):
            answer = exchange(network.relayer_address, sender.post(SERVICE))
            assert answer is not None
            assert answer.status == 200
        assert time.monotonic() - started < 4.5  # one export waits 5 s
    finally:
        collecting.gate.set()
