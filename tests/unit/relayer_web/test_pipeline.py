"""One relay through the whole path: what is answered, charged and mined."""

from __future__ import annotations

import hashlib

import pytest

from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest
from tests.unit.relayer_web.relay_world import (
    COMPUTE_UNITS,
    COST_UPOKT,
    JSON_BODY,
    SERVICE,
    World,
    address,
    checked_response,
    decoded_relay,
    relay_request,
)


def test_a_good_relay_is_answered_charged_and_mined(world: World) -> None:
    request = relay_request()
    answer = world.serve(request)
    response, inner = checked_response(answer)
    assert inner.status_code == 200
    assert inner.body == world.server.body
    assert response.meta.session_header == request.meta.session_header
    assert dict(answer.headers) == {"Content-Type": "application/json"}
    assert world.consumed_upokt() == COST_UPOKT
    (entry,) = world.entries()
    assert entry.relay_hash == hashlib.sha256(entry.relay_bytes).digest()
    assert entry.compute_units_per_relay == COMPUTE_UNITS
    assert entry.session_id == request.meta.session_header.session_id
    assert (entry.session_start_height, entry.session_end_height) == (101, 110)
    assert entry.supplier_operator_address == address("supplier")
    assert (entry.service_id, entry.application_address) == (SERVICE, address("app"))
    assert entry.arrival_block_height == 105
    assert entry.published_at_ns > 1_700_000_000 * 10**9


def test_the_mined_response_is_the_answered_one_without_its_payload(world: World) -> None:
    """Decisions D2: one signature."""
    request = relay_request()
    response, _ = checked_response(world.serve(request))
    mined = decoded_relay(world.entries()[0])
    assert mined.req == request
    assert mined.res.payload == b""
    assert mined.res.payload_hash == response.payload_hash
    assert mined.res.meta == response.meta
    assert relay_protocol.mined_relay(request, response) == world.entries()[0].relay_bytes


def test_the_inner_request_reaches_the_backend_with_what_the_outer_adds(world: World) -> None:
    inner = HttpRequest("PUT", "/v1/x?b=2&a=1", (("Content-Type", ("text/plain",)), ("X-A", ("1",))), b"body")
    headers = {
        "content-type": "application/x-protobuf",
        "user-agent": "gateway/1",
        "pocket-trace": "t-1",
        "pocket-supplier": "forged",
        "authorization": "secret",
    }
    checked_response(world.serve(relay_request(inner=inner), headers))
    ((method, path, received, body),) = world.server.requests
    sent = {name.lower(): value for name, value in received}
    assert (method, path, body) == ("PUT", "/v1/x?b=2&a=1", b"body")
    assert sent["content-type"] == "text/plain"
    assert sent["x-a"] == "1"
    assert sent["user-agent"] == "gateway/1"
    assert sent["pocket-trace"] == "t-1"
    assert sent["pocket-supplier"] == address("supplier")
    assert sent["pocket-service"] == SERVICE
    assert sent["pocket-application"] == address("app")
    assert "authorization" not in sent


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [(None, "application/json"), ("", "application/json"), ("*/*", "application/json"), ("text/x", "text/x")],
)
def test_accept_is_echoed(world: World, accept: str | None, content_type: str) -> None:
    headers = {} if accept is None else {"accept": accept}
    assert dict(world.serve(relay_request(), headers).headers)["Content-Type"] == content_type


@pytest.mark.parametrize("status", [200, 201, 204, 301, 302, 400, 404, 429, 499])
def test_every_answer_below_500_is_signed_and_mined(world: World, status: int) -> None:
    """T-EMPTY: the reference serves and charges empty answers and never mines them."""
    world.server.status = status
    world.server.body = b""
    _, inner = checked_response(world.serve(relay_request()))
    assert (inner.status_code, inner.body) == (status, b"")
    assert len(world.entries()) == 1
    assert world.consumed_upokt() == COST_UPOKT


def test_replays_are_served_and_metered(world: World) -> None:
    request = relay_request()
    for _ in range(3):
        checked_response(world.serve(request))
    assert world.consumed_upokt() == 3 * COST_UPOKT
    assert len(world.entries()) == 3


def test_a_relay_below_the_difficulty_is_served_and_charged_but_not_mined(world: World) -> None:
    world.chain.target = bytes(31) + b"\x01"
    checked_response(world.serve(relay_request()))
    assert world.entries() == []
    assert world.consumed_upokt() == COST_UPOKT
    assert world.metric("ha_relayer_relays_skipped_difficulty_total", service_id=SERVICE) == 1


def test_a_relay_in_the_grace_period_is_mined(world: World) -> None:
    world.at_height(111)
    checked_response(world.serve(relay_request()))
    assert len(world.entries()) == 1


def test_an_answer_that_comes_when_the_claim_window_opens_is_given_but_not_mined(world: World) -> None:
    """Decisions C2; the backend takes its time while blocks go by: 112 is the first block with the claim."""
    world.server.before_answer = lambda: world.at_height(112)
    checked_response(world.serve(relay_request()))
    assert world.entries() == []
    assert world.consumed_upokt() == 0
    assert world.metric("ha_relayer_relays_after_window_total", service_id=SERVICE) == 1


def test_blocks_that_are_due_count_as_seen(world: World) -> None:
    """111 was seen a block time ago: 112 is there, only its message is late (decisions C2)."""
    world.at_height(111, age_s=31.0)
    checked_response(world.serve(relay_request()))
    assert world.entries() == []
    assert world.consumed_upokt() == 0


def test_compute_units_and_prices_are_those_of_the_session_start(world: World) -> None:
    checked_response(world.serve(relay_request()))
    asked = {question[0]: question[1:] for question in world.chain.asked}
    assert asked["compute_units"] == (SERVICE, 101)
    assert asked["shared_params_at"] == (101,)
    assert asked["difficulty"] == (SERVICE, 101)
    assert asked["session"] == (address("app"), SERVICE, 101)
    assert all(height <= 105 for _, *rest in world.chain.asked for height in rest if isinstance(height, int))


def test_a_second_relay_asks_the_chain_nothing(world: World) -> None:
    checked_response(world.serve(relay_request()))
    before = len(world.chain.asked)
    checked_response(world.serve(relay_request()))
    assert world.chain.asked[before:] == []


def test_the_same_answers_while_the_chain_is_away_once_everything_is_known(world: World) -> None:
    checked_response(world.serve(relay_request()))
    world.chain.error = ConnectionError("the chain must not be asked")
    checked_response(world.serve(relay_request()))


def test_a_captured_json_body_comes_through_untouched(world: World) -> None:
    checked_response(world.serve(relay_request()))
    assert world.server.requests[0][3] == JSON_BODY
