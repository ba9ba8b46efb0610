"""Simulated relays over HTTP: who is served, who is refused and how, and that nothing else moves (§2.10)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.ring import RingMember, encode_ring, parse_ring, verify_ring
from relayer_web.config_simulation import SimulationSection
from tests.stores import kill_server, private_server
from tests.unit.relayer_web.relay_world import (
    SERVICE,
    BackendServer,
    MakeWorld,
    World,
    address,
    checked_response,
    error_of,
    made_world,
    public_key,
    relay_request,
    the_curve,
)
from tests.unit.relayer_web.simulated_relays import HEADERS, identity, section, simulated_request

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def make_world(make_world: MakeWorld) -> MakeWorld:
    def make(simulation: SimulationSection | None = None, **changes: Any) -> World:
        return make_world(simulation=simulation or section(), **changes)

    return make


@pytest.fixture
def probed(make_world: MakeWorld) -> World:
    return make_world()


def results(world: World, result: str, supplier: str = "") -> float:
    labels = {"transport": "http", "service": SERVICE, "supplier": supplier or address("supplier")}
    return world.metric("ha_relayer_simulated_relays_total", result=result, **labels)


def real_metrics(world: World) -> dict[str, float]:
    """Everything real relays move, as it stands; look-ups in caches are no relay's."""
    world.runtime.metrics.flush()
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in world.registry.collect()
        for sample in family.samples
        if not any(word in sample.name for word in ("simulated", "_created", "ha_cache"))
    }


def test_a_simulated_relay_is_served_and_signed_and_leaves_no_trace(probed: World) -> None:
    before = real_metrics(probed)
    answer = probed.serve(simulated_request(), {**HEADERS, "accept": "text/x", "accept-encoding": "gzip"})
    response, inner = checked_response(answer)
    assert inner.body == probed.server.body
    assert response.meta.session_header.session_id.startswith("simv1:")
    assert dict(answer.headers) == {"Content-Type": "application/json"}
    assert probed.entries() == []
    assert probed.consumed_upokt() == 0
    assert list(probed.store.client.scan_iter("ha:meter:*")) == []
    assert real_metrics(probed) == before
    assert results(probed, "success") == 1
    duration = "ha_relayer_simulated_relay_duration_seconds_count"
    assert probed.metric(duration, transport="http", service=SERVICE) == 1


def test_it_asks_the_chain_for_nothing_but_the_price_a_real_one_would_have(probed: World) -> None:
    checked_response(probed.serve(simulated_request(), HEADERS))
    assert {question[0] for question in probed.chain.asked} <= {
        "compute_units", "shared_params", "shared_params_at"
    }  # fmt: skip


def test_without_the_header_or_while_off_it_is_a_real_relay(make_world: MakeWorld) -> None:
    assert make_world().serve(simulated_request()).status == 403
    off = make_world(SimulationSection(enabled=False, identities=(identity(),)))
    checked_response(off.serve(relay_request(), HEADERS))
    assert len(off.entries()) == 1


def forged(request: RelayRequest) -> RelayRequest:
    request.meta.session_header.session_id += "x"
    return request


def unaddressed(request: RelayRequest) -> RelayRequest:
    request.meta.supplier_operator_address = ""
    return request


REFUSALS: dict[str, tuple[Callable[[], RelayRequest], dict[str, str], int, str, str]] = {
    "unknown key": (simulated_request, {"pocket-simulation-key-id": "who"}, 403, "unknown key_id", "verify_failed"),
    "no supplier": (
        lambda: unaddressed(simulated_request()), HEADERS, 400, "supplier operator address required", "supplier_not_loaded"),
    "another's supplier": (
        lambda: simulated_request(supplier="supplier2"), HEADERS, 403,
        "supplier signing key not loaded on this relayer", "supplier_not_loaded"),
    "another application": (
        lambda: simulated_request(app="lone", members=[public_key("app"), public_key("gateway")]), HEADERS, 403,
        "request application address does not match pinned identity", "identity_mismatch"),
    "too old": (
        lambda: simulated_request(age_s=31), HEADERS, 403, "request timestamp outside freshness window", "verify_failed"),
    "from the future": (
        lambda: simulated_request(age_s=-40), HEADERS, 403, "request timestamp outside freshness window", "verify_failed"),
    "not a synthetic session": (
        lambda: simulated_request(header={"session_id": "abc"}), HEADERS, 400, "malformed synthetic session id", "verify_failed"),
    "no nonce": (
        lambda: simulated_request(header={"session_id": "simv1:1700000000:"}), HEADERS, 400,
        "malformed synthetic session id", "verify_failed"),
    "no number": (
        lambda: simulated_request(header={"session_id": "simv1:\u0661:x"}), HEADERS, 400,
        "malformed synthetic session id", "verify_failed"),
    "huge number": (
        lambda: simulated_request(header={"session_id": f"simv1:{'9' * 5000}:x"}), HEADERS, 400,
        "malformed synthetic session id", "verify_failed"),
    "no heights": (
        lambda: simulated_request(header={"session_end_block_height": 1}), HEADERS, 403, "basic validation failed", "verify_failed"),
    "forged": (
        lambda: forged(simulated_request()), HEADERS, 403, "ring signature verification failed", "verify_failed"),
    "keys that are not pinned": (
        lambda: simulated_request(signer="gateway2", members=[public_key("app"), public_key("gateway2")]), HEADERS, 403,
        "ring signature verification failed", "verify_failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("mode", ["eager", "optimistic"])
def test_what_is_refused_never_reaches_a_backend(make_world: MakeWorld, name: str, mode: str) -> None:
    make, headers, status, text, result = REFUSALS[name]
    probed = make_world(default_validation_mode=mode)
    before = real_metrics(probed)
    answer = probed.serve(make(), headers)
    assert (answer.status, error_of(answer)) == (status, f"simulation rejected: simulation: {text}")
    assert probed.server.requests == []
    assert real_metrics(probed) == before
    assert results(probed, result) + results(probed, result, "unknown") == 1


@pytest.mark.parametrize(
    ("changes", "text", "result"),
    [
        ({"enabled": False}, "identity disabled", "verify_failed"),
        ({"not_after": "2020-01-01T00:00:00Z"}, "identity expired (not_after)", "verify_failed"),
        ({"allowed_services": ("other",)}, "service not allowed for this identity", "service_not_allowed"),
    ],
)
def test_what_an_identity_may_not_do(
    make_world: MakeWorld, changes: dict[str, Any], text: str, result: str
) -> None:
    probed = make_world(section(identity(**changes)))
    answer = probed.serve(simulated_request(), HEADERS)
    assert (answer.status, error_of(answer)) == (403, f"simulation rejected: simulation: {text}")
    assert results(probed, result) == 1


def test_an_identity_with_an_end_ahead_is_served(make_world: MakeWorld) -> None:
    probed = make_world(section(identity(not_after="2999-01-01T00:00:00Z", allowed_services=(SERVICE,))))
    checked_response(probed.serve(simulated_request(), HEADERS))


def test_an_unusable_identity_does_not_matter_while_simulation_is_off(make_world: MakeWorld) -> None:
    off = make_world(SimulationSection(enabled=False, identities=(identity(app_pubkey_hex="zz"),)))
    checked_response(off.serve(relay_request()))


def rotated(request: RelayRequest) -> RelayRequest:
    """The same signing act, the ring started at its other member."""
    from pocket_protocol import relay as relay_protocol

    signable = relay_protocol.signable_request(request)
    verified = verify_ring(
        the_curve(), signable, request.meta.signature, {public_key("app"), public_key("gateway")}
    )
    ring = verified.signature
    turned = [ring.members[1], ring.members[0]]
    request.meta.signature = encode_ring(verified.challenges[1], ring.key_image, turned)
    return request


def with_trailing_byte(request: RelayRequest) -> RelayRequest:
    request.meta.signature += b"\0"
    return request


def with_large_scalar(request: RelayRequest) -> RelayRequest:
    ring = parse_ring(request.meta.signature)
    first = ring.members[0]
    large = (int.from_bytes(first.scalar, "big") + ORDER) % 2**256
    members = [RingMember(large.to_bytes(32, "big"), first.public_key), *ring.members[1:]]
    request.meta.signature = encode_ring(int.from_bytes(ring.challenge, "big"), ring.key_image, members)
    return request


REPLAY = "simulation rejected: simulation: request already seen (replay)"
STRANGE = "simulation rejected: simulation: ring signature verification failed"


@pytest.mark.parametrize(
    ("respelled", "status", "text"),
    [
        (lambda request: request, 409, REPLAY),
        (rotated, 409, REPLAY),
        (with_trailing_byte, 403, STRANGE),
        (with_large_scalar, 403, STRANGE),
    ],
    ids=["as it was", "rotated", "trailing byte", "large scalar"],
)
def test_a_replay_is_refused_however_its_signature_is_spelled(
    probed: World, respelled: Callable[[RelayRequest], RelayRequest], status: int, text: str
) -> None:
    request = simulated_request()
    checked_response(probed.serve(request, HEADERS))
    answer = probed.serve(respelled(request), HEADERS)
    assert (answer.status, error_of(answer)) == (status, text)
    assert len(probed.server.requests) == 1
    assert results(probed, "replay_rejected" if status == 409 else "verify_failed") == 1


def test_a_replay_to_another_process_is_refused(make_world: MakeWorld) -> None:
    one, other = make_world(), make_world()
    request = simulated_request()
    checked_response(one.serve(request, HEADERS))
    assert other.serve(request, HEADERS).status == 409


def test_an_invalid_signature_does_not_use_up_the_relay_of_the_key_s_holder(probed: World) -> None:
    request = simulated_request()
    stolen = RelayRequest()
    stolen.CopyFrom(request)
    stolen.meta.signature = simulated_request("2").meta.signature
    assert probed.serve(stolen, HEADERS).status == 403
    checked_response(probed.serve(request, HEADERS))


def test_replays_are_remembered_for_twice_the_window(probed: World) -> None:
    checked_response(probed.serve(simulated_request(), HEADERS))
    lifetimes = [probed.store.client.ttl(key) for key in probed.store.client.scan_iter("ha:sim:replay:*")]
    assert len(lifetimes) == 2
    assert all(55 < lifetime <= 60 for lifetime in lifetimes)


def test_each_identity_has_its_own_rate(make_world: MakeWorld) -> None:
    slow, other = identity(max_rps=2), identity(key_id="other", max_rps=2)
    probed = make_world(section(slow, other))
    statuses = [probed.serve(simulated_request(str(number)), HEADERS).status for number in range(3)]
    assert statuses == [200, 200, 429]
    answer = probed.serve(simulated_request("x"), {"pocket-simulation-key-id": "other"})
    assert answer.status == 200
    assert error_of(probed.serve(simulated_request("y"), HEADERS)) == "simulation rate limit reached"
    assert results(probed, "rate_limited") == 2


def test_only_so_many_are_served_at_once(make_world: MakeWorld) -> None:
    probed = make_world(section(max_concurrent=1))
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(10)

    probed.server.before_answer = hold
    first = threading.Thread(target=lambda: probed.serve(simulated_request("1"), HEADERS))
    first.start()
    assert inside.wait(10)
    answer = probed.serve(simulated_request("2"), HEADERS)
    assert (answer.status, error_of(answer)) == (429, "simulation concurrency limit reached")
    go_on.set()
    first.join()
    probed.server.before_answer = None
    checked_response(probed.serve(simulated_request("3"), HEADERS))


def test_a_backend_that_fails_is_said_to(probed: World) -> None:
    probed.server.status = 503
    answer = probed.serve(simulated_request("1"), HEADERS)
    assert (answer.status, error_of(answer)) == (503, "backend service error")
    probed.backends.healthy = False
    answer = probed.serve(simulated_request("2"), HEADERS)
    assert (answer.status, error_of(answer)) == (502, "backend error")
    answer = probed.serve(simulated_request("3"), {**HEADERS, "rpc-type": "5"})
    assert (answer.status, error_of(answer)) == (502, "backend error")
    assert results(probed, "backend_error") == 3


def test_a_meter_that_would_not_work_is_seen(probed: World) -> None:
    from pocket_chain.node_errors import NodeUnavailable

    probed.chain.error = NodeUnavailable(text="away")
    checked_response(probed.serve(simulated_request(), HEADERS))
    assert results(probed, "meter_degraded") == 1


def test_without_the_store_none_is_served(tmp_path: Any, backend_server: BackendServer) -> None:
    from relay_store.connection import connect

    with private_server(tmp_path) as server:
        store = connect(server.connection_url)
        with made_world(store, server.connection_url, backend_server, simulation=section()) as probed:
            kill_server(server)
            answer = probed.serve(simulated_request(), HEADERS)
            assert answer.status == 503
            assert error_of(answer) == "simulation rejected: simulation: replay dedup store unavailable"
            assert probed.server.requests == []
            assert results(probed, "dedup_unavailable") == 1
        store.close()
