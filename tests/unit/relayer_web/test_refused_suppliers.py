"""Suppliers: which of their states serve and which refuse (spec/relayer.md §1.3)."""

from __future__ import annotations

import json

import pytest

from relayer_web import wiring
from tests.logs import captured
from tests.unit.relayer_web.refused_relays import refused
from tests.unit.relayer_web.relay_world import (
    SERVICE,
    World,
    address,
    checked_response,
    relay_request,
)


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


def test_a_supplier_whose_key_has_gone_meanwhile(world: World) -> None:
    world.server.before_answer = world.signing_keys.clear
    assert refused(world, world.serve(relay_request()), 500, "signing_error") == "failed to sign response"


def test_a_supplier_that_is_not_ours(world: World) -> None:
    key = world.keys.supplier(address("supplier2"))
    world.store.client.set(key, json.dumps({"status": "active", "staked": True, "services": [SERVICE]}))
    text = refused(world, world.serve(relay_request(supplier="supplier2")), 403, "validation_failed")
    assert text == f"relay validation failed: supplier {address('supplier2')} is not allowed by this relayer"


def test_a_supplier_that_is_not_in_the_session(world: World) -> None:
    world.chain.suppliers = [address("supplier2")]
    text = refused(world, world.serve(relay_request()), 403, "validation_failed")
    assert text == f"relay validation failed: supplier {address('supplier')} not found in session"
