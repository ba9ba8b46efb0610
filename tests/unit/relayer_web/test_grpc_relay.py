"""Relays over gRPC take the same steps as over HTTP, and are told about in gRPC's words (spec/relayer.md §1.8)."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest, decode_http_response
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.signer import verify
from relayer_web.grpc_relay import GrpcAnswer, relay_metadata, serve_grpc_relay
from relayer_web.inbound import Inbound
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    JSON_BODY,
    World,
    address,
    decoded_relay,
    private_key,
    public_key,
    relay_request,
    the_curve,
)

GRPC_INNER = HttpRequest(
    "POST", "/demo.DemoService/GetBlockHeight", (("Content-Type", ("application/grpc",)),), bytes(5)
)


def serve(world: World, request: RelayRequest | bytes, **metadata: str) -> GrpcAnswer:
    body = request if isinstance(request, bytes) else relay_protocol.encode_request(request)
    headers = {name.replace("_", "-"): value for name, value in metadata.items()}
    return serve_grpc_relay(Inbound(body, headers, "peer", is_grpc=True), world.runtime)


def flipped(request: RelayRequest) -> RelayRequest:
    signature = bytearray(request.meta.signature)
    signature[-1] ^= 1
    request.meta.signature = bytes(signature)
    return request


def moved(request: RelayRequest, **changes: Any) -> RelayRequest:
    """A signed request readdressed afterwards."""
    for name, value in changes.items():
        target = request.meta if hasattr(request.meta, name) else request.meta.session_header
        setattr(target, name, value)
    return request


def test_a_sound_relay_is_answered_charged_and_mined(world: World) -> None:
    answer = serve(world, relay_request(), rpc_type="3")
    assert (answer.code, answer.text) == (0, "")
    response = relay_protocol.decode_response(answer.message)
    signable = relay_protocol.signable_response(response)
    assert verify(the_curve(), public_key("supplier"), signable, response.meta.supplier_operator_signature)
    assert decode_http_response(response.payload).body == world.server.body
    assert world.consumed_upokt() == COST_UPOKT
    [entry] = world.entries()
    assert decoded_relay(entry).res.payload_hash == response.payload_hash
    assert (
        world.metric(
            "ha_relayer_relays_served_total", service_id="svc", rpc_type="jsonrpc", status_code="200"
        )
        == 1
    )


def test_the_same_answer_as_over_http(world: World) -> None:
    request = relay_request()
    world.server.headers = [("Date", "x")]
    over_http = world.serve(request, {"rpc-type": "3"})
    assert serve(world, request, rpc_type="3").message[:300] == over_http.body[:300]


BODY_ONLY = relay_protocol.encode_request(RelayRequest(payload=b"x"))


@pytest.mark.parametrize(
    ("request_of", "code", "text"),
    [
        (lambda: b"hello", 13, "grpc: failed to unmarshal the received message"),
        (lambda: b"", 3, "missing session header in RelayRequest"),
        (lambda: BODY_ONLY, 3, "missing session header in RelayRequest"),
        (lambda: relay_request(header={"service_id": ""}), 3, "missing service ID in session header"),
        (lambda: relay_request(payload=b"\xff"), 3, "failed to deserialize POKTHTTPRequest"),
        (lambda: relay_request(service_id="nowhere"), 5, "unknown service: nowhere"),
        (
            lambda: moved(relay_request(), supplier_operator_address=""),
            3,
            "missing supplier operator address in RelayRequest",
        ),
        (
            lambda: relay_request(supplier="supplier2"),
            9,
            f"no signer for supplier {address('supplier2')}",
        ),
        (lambda: flipped(relay_request()), 7, "relay validation failed: ring signature"),
        (lambda: relay_request(height=85), 7, "relay validation failed: session timing"),
        (lambda: relay_request(header={"session_id": "00" * 32}), 7, "relay validation failed: session ID"),
        (lambda: moved(relay_request(), service_id="other"), 7, "relay validation failed: ring signature"),
        (
            lambda: relay_request(header={"session_end_block_height": 20_000}),
            3,
            "implausible session heights",
        ),
        (
            lambda: relay_request(signer="stranger", members=[public_key("stranger"), public_key("app")]),
            7,
            "",
        ),
    ],
    ids=[
        *("garbage", "empty", "no header", "no service", "payload", "service", "supplier", "other supplier"),
        *("forged", "expired", "session id", "cross service", "heights", "stranger"),
    ],
)
def test_refused_relays_cost_nothing(world: World, request_of: Any, code: int, text: str) -> None:
    """T-GRPC-AUTH: the reference served and mined all those that can be decoded."""
    answer = serve(world, request_of(), rpc_type="3")
    assert (answer.code, answer.text[: len(text)]) == (code, text)
    assert answer.message == b"" and world.server.requests == []
    assert world.consumed_upokt() == 0 and world.entries_of([address("supplier"), address("supplier2")]) == []


def test_readdressed_to_another_of_our_suppliers(world: World) -> None:
    world.signing_keys[address("supplier2")] = private_key("supplier2")
    answer = serve(world, moved(relay_request(), supplier_operator_address=address("supplier2")))
    assert answer.code == 7
    assert world.consumed_upokt("supplier2") == 0 and world.entries("supplier2") == []


def test_registered_but_not_ours(world: World) -> None:
    key = world.keys.supplier(address("supplier2"))
    world.store.client.set(key, json.dumps({"status": "active", "staked": True, "services": ["svc"]}))
    answer = serve(world, relay_request(supplier="supplier2"))
    assert (answer.code, answer.text) == (9, f"no signer for supplier {address('supplier2')}")


@pytest.mark.parametrize(
    ("metadata", "inner", "code"),
    [
        ({"rpc_type": "1"}, GRPC_INNER, 14),
        ({"rpc_type": "grpc"}, GRPC_INNER, 14),
        ({}, GRPC_INNER, 14),
        ({"rpc_type": "3"}, GRPC_INNER, 0),
        ({}, None, 0),
    ],
)
def test_metadata_comes_before_the_inner_content_type(
    world: World, metadata: dict[str, str], inner: HttpRequest | None, code: int
) -> None:
    """There is only a jsonrpc pool here."""
    answer = serve(world, relay_request(inner=inner), **metadata)
    assert answer.code == code
    if code:
        assert answer.text == "all backends unhealthy for service svc"


def test_over_http_the_inner_content_type_does_not_decide(world: World) -> None:
    assert world.serve(relay_request(inner=GRPC_INNER)).status == 200


def test_the_stake_is_the_limit(world: World) -> None:
    world.chain.apps[address("app")].stake.amount = "1"
    answer = serve(world, relay_request())
    assert (answer.code, answer.text) == (8, "relay rejected - stake limit exceeded")


def test_a_failing_backend_is_no_answer(world: World) -> None:
    world.server.status = 503
    answer = serve(world, relay_request())
    assert (answer.code, answer.text) == (14, "backend service error: HTTP 503")
    assert world.consumed_upokt() == 0 and world.entries() == []


@pytest.mark.parametrize("how", ["away", "slow"])
def test_a_backend_that_is_not_there_is_told_in_a_signed_error(world: World, how: str) -> None:
    answered = threading.Event()
    if how == "away":
        world.backends.port = 9
    else:
        world.backends.timeout_s = 0.05
        world.server.before_answer = answered.wait
    answer = serve(world, relay_request())
    answered.set()
    assert answer.code == 0
    response = relay_protocol.decode_response(answer.message)
    signable = relay_protocol.signable_response(response)
    assert verify(the_curve(), public_key("supplier"), signable, response.meta.supplier_operator_signature)
    error = response.relay_miner_error
    assert error.code == 500 and error.description.startswith("backend error: ")
    inner = decode_http_response(response.payload)
    assert (inner.status_code, json.loads(inner.body)) == (500, {"error": error.description})
    assert world.consumed_upokt() == 0 and world.entries() == []
    reason = "backend_network_error" if how == "away" else "backend_timeout"
    labels = {"service_id": "svc", "rpc_type": "jsonrpc", "reason": reason}
    assert world.metric("ha_relayer_relays_rejected_total", **labels) == 1


def test_relays_over_grpc_are_counted_as_such_too(world: World) -> None:
    """Under the reference's names and reasons (spec/relayer.md §7.1)."""
    serve(world, relay_request())
    world.chain.target = bytes(32)  # nothing is below it
    serve(world, relay_request(height=115))
    serve(world, b"no relay")
    serve(world, flipped(relay_request()))
    world.backends.port = 9
    serve(world, relay_request())

    def counted(name: str, **labels: str) -> float:
        return world.metric(f"ha_relayer_grpc_{name}", **labels)

    service = {"service_id": "svc"}
    assert counted("relays_total", **service) == 4
    assert counted("relays_total", service_id="unknown") == 1
    assert counted("relays_published_total", **service) == 1
    assert counted("relay_latency_seconds_count", **service) == 2
    assert counted("relay_errors_total", service_id="unknown", reason="payload_deserialize_error") == 1
    assert counted("relay_errors_total", **service, reason="validation_failed") == 1
    assert counted("relay_errors_total", **service, reason="backend_error") == 1


def test_a_supplier_without_key_cannot_be_served(world: World) -> None:
    request = relay_request()
    held = world.signing_keys.pop(address("supplier"))
    answer = serve(world, request)
    assert (answer.code, answer.text) == (13, "relayer not properly configured")
    world.signing_keys[address("supplier2")] = held
    assert serve(world, request).code == 9


def test_only_what_concerns_the_relay_is_passed_on(world: World) -> None:
    metadata = relay_metadata(
        [
            ("user-agent", "grpc-go"),
            ("rpc-type", "3"),
            ("rpc-type", "1"),
            ("pocket-x", "y"),
            ("pocket-b-bin", b"z"),
        ]
    )
    assert metadata == {"rpc-type": "3", "pocket-x": "y"}
    serve(world, relay_request(inner=HttpRequest("POST", "/", (), JSON_BODY)), **{"rpc-type": "3"})
    [(_, _, headers, _)] = world.server.requests
    assert not any("grpc" in value for _, value in headers)
