"""Relays that do not verify, and what of the chain they are judged by (spec/relayer.md §1.3)."""

from __future__ import annotations

import threading

import pytest

from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relayer_web.throttle import FailureThrottle
from tests.unit.relayer_web.refused_relays import changed_payload, flipped_signature, refused
from tests.unit.relayer_web.relay_world import (
    World,
    address,
    application,
    checked_response,
    public_key,
    relay_request,
    sign_request,
)


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


def test_signing_a_request_again_makes_it_valid(world: World) -> None:
    """The forgeries above fail for their signature's sake and nothing else."""
    request = changed_payload()
    sign_request(request, "gateway", [public_key("app"), public_key("gateway")])
    checked_response(world.serve(request))
