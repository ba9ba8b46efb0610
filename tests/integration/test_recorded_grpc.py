"""Relays recorded over gRPC on a real network are served again, byte for byte (spec/live.md §3, spec/relayer.md §1.8)."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from localnet.backend.behaviour import Counters
from localnet.backend.demo_service import DemoServer
from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import decode_http_response
from relayer_web.grpc_relay import SEND_RELAY
from tests import recorded
from tests.integration.raw_http import ScriptedBackend, scripted_backend
from tests.integration.stage import Deployment
from tests.integration.test_recorded_relays import (
    ERRORS,
    NODE,
    check_mined,
    give,
    load,
    names,
    recorded_network,
)

pytestmark = recorded.needs_recordings

RELAYS = names("grpc/*.json")
REFUSALS = names("errors/grpc-*.json")
SERVED_BY_THE_REFERENCE_ALONE = {"bad-signature", "supplier-swapped"}  # T-GRPC-AUTH


@pytest.fixture(scope="module")
def backend() -> Iterator[ScriptedBackend]:
    with scripted_backend() as made:
        yield made


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, backend: ScriptedBackend) -> Iterator[Deployment]:
    demo = DemoServer("127.0.0.1:0", Counters())
    demo.start()
    requests = [bytes.fromhex(load(name)["request_hex"]) for name in RELAYS + REFUSALS]
    directory = tmp_path_factory.mktemp("recorded-grpc")
    with recorded_network(directory, backend, requests, NODE, 10, grpc_backend=demo.address) as running:
        yield running
    demo.stop()


@pytest.fixture(scope="module")
def channel(network: Deployment) -> Iterator[grpc.Channel]:
    host, port = network.relayer_address
    with grpc.insecure_channel(f"{host}:{port}") as made:
        yield made


def call(channel: grpc.Channel, method: str, request: bytes, metadata: list[tuple[str, str]]) -> bytes:
    answer: bytes = channel.unary_unary(method)(request, metadata=metadata, timeout=20)
    return answer


@pytest.mark.parametrize("name", RELAYS)
def test_a_recorded_relay_comes_back_byte_for_byte(
    network: Deployment, channel: grpc.Channel, name: str
) -> None:
    recording = load(name)
    request, expected = (bytes.fromhex(recording[field]) for field in ("request_hex", "response_hex"))
    network.tell_height(recording["height"])
    assert call(channel, SEND_RELAY, request, list(recording["request_metadata"].items())) == expected
    check_mined(network, request, expected, recording["height"])


@pytest.mark.parametrize("name", REFUSALS)
def test_recorded_cases_end_as_recorded(
    network: Deployment, channel: grpc.Channel, backend: ScriptedBackend, name: str
) -> None:
    recording = load(name)
    request = bytes.fromhex(recording["request_hex"])
    network.tell_height(ERRORS)
    before = network.charges(), network.streams()
    metadata = [tuple(pair) for pair in recording["metadata"]]
    if recording["code"] == "OK" and recording["name"] not in SERVED_BY_THE_REFERENCE_ALONE:
        expected = bytes.fromhex(recording["response_hex"])
        give(backend, decode_http_response(relay_protocol.decode_response(expected).payload))
        assert call(channel, recording["method"], request, metadata) == expected
        check_mined(network, request, expected, ERRORS)
        return
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, recording["method"], request, metadata)
    assert (network.charges(), network.streams()) == before
    code, text = refused.value.code().name, refused.value.details()
    if recording["name"] in SERVED_BY_THE_REFERENCE_ALONE:
        assert (code, text[:24]) == ("PERMISSION_DENIED", "relay validation failed:")
    elif recording["name"] == "garbage":  # what follows is the other side's library
        start = "grpc: failed to unmarshal the received message: "
        assert code == recording["code"] and text.startswith(start) and recording["details"].startswith(start)
    else:
        assert (code, text) == (recording["code"], recording["details"])
