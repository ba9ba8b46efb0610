"""Supplier states: the reference's documents, the contaminated rule, and what a relayer makes of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.registry import (
    ManagedSuppliers,
    RegistryUnavailable,
    SupplierNotRegistered,
    SupplierRegistry,
    SupplierState,
    UnreadableSupplier,
    decode_supplier_state,
    encode_managed_supplier,
    encode_supplier_state,
)

KEYS = Keys()
S = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
RECORDED = (
    b'{"status":"active","staked":true,"services":["anvil","develop-http"],"staked_endpoints":['
    b'{"service_id":"anvil","rpc_type":"jsonrpc"},{"service_id":"anvil","rpc_type":"websocket"}],'
    b'"unstake_session_end_height":0,"operator_address":"pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj",'
    b'"owner_address":"","last_updated":1795346660,"updated_by":"miner-vm-18088"}'
)


def registry(store: Store, clock=lambda: 0.0, contaminated=lambda source: None) -> SupplierRegistry:
    return SupplierRegistry(
        store.client,
        supplier_key=KEYS.supplier,
        invalidation_channel=KEYS.invalidation_channel("supplier"),
        monotonic=clock,
        count_contaminated=contaminated,
    )


def test_recorded_documents_round_trip() -> None:
    assert encode_supplier_state(decode_supplier_state(RECORDED)) == RECORDED


@given(
    st.builds(
        SupplierState,
        operator_address=st.text(max_size=10),
        status=st.sampled_from(["active", "unstaking", "not_staked"]),
        staked=st.booleans(),
        services=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        staked_endpoints=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=3).map(tuple),
        unstake_session_end_height=st.integers(0, 2**64 - 1),
        owner_address=st.text(max_size=10),
        last_updated=st.integers(0, 2**40),
        last_refresh_session_start=st.integers(0, 2**40),
        updated_by=st.text(max_size=10),
    )
)
def test_states_round_trip(state: SupplierState) -> None:
    assert decode_supplier_state(encode_supplier_state(state)) == state


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"services":"a"}',
        b'{"services":[1]}',
        b'{"staked":1}',
        b'{"status":2}',
        b'{"staked_endpoints":[1]}',
        b'{"staked_endpoints":5}',
        b'{"last_updated":"x"}',
        b"[" * 9000,
        b"\xff",
    ],
)
def test_unreadable_documents(document: bytes) -> None:
    with pytest.raises(UnreadableSupplier):
        decode_supplier_state(document)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_state_or_a_refusal(document: bytes) -> None:
    try:
        decode_supplier_state(document)
    except UnreadableSupplier:
        pass


@pytest.mark.parametrize(
    ("status", "staked", "services", "active", "contaminated"),
    [
        ("active", True, ("a",), True, False),
        ("active", True, (), True, True),
        ("unstaking", True, ("a",), True, False),
        ("unstaking", True, (), True, False),
        ("not_staked", True, (), False, False),
        ("not_staked", False, (), False, False),
        ("active", False, (), False, False),
    ],
)
def test_what_a_state_means(
    status: str, staked: bool, services: tuple[str, ...], active: bool, contaminated: bool
) -> None:
    state = SupplierState(S, status, staked, services)
    assert (state.is_active, state.is_contaminated) == (active, contaminated)


def test_transports_are_declared_exactly_and_old_documents_declare_all() -> None:
    state = decode_supplier_state(RECORDED)
    assert state.declares("anvil", "jsonrpc")
    assert not state.declares("anvil", "rest")
    assert not state.declares("develop-http", "jsonrpc")
    assert SupplierState(S, "active", True, ("a",)).declares("a", "grpc")


def test_read_write_remove_and_announce(store: Store) -> None:
    listener = store.client.pubsub()
    listener.subscribe(KEYS.invalidation_channel("supplier"))
    assert listener.get_message(timeout=5)["type"] == "subscribe"
    suppliers = registry(store)
    with pytest.raises(SupplierNotRegistered):
        suppliers.state(S)
    suppliers.write(decode_supplier_state(RECORDED))
    assert listener.get_message(timeout=5)["data"] == f'{{"operator_address": "{S}"}}'.encode()
    suppliers.forget(S)
    assert suppliers.state(S).services == ("anvil", "develop-http")
    assert store.client.get(f"ha:supplier:{S}") == RECORDED
    suppliers.remove(S)
    assert suppliers.state(S).services  # this process still has it …
    suppliers.forget(S)
    with pytest.raises(SupplierNotRegistered):  # … until it hears the message
        suppliers.state(S)


def test_states_are_read_again_after_a_minute(store: Store) -> None:
    now = 0.0
    suppliers = registry(store, lambda: now)
    store.client.set(KEYS.supplier(S), RECORDED)
    assert suppliers.state(S).status == "active"
    store.client.set(KEYS.supplier(S), RECORDED.replace(b"active", b"not_staked"))
    now = 59.0
    assert suppliers.state(S).status == "active"
    now = 60.0
    assert suppliers.state(S).status == "not_staked"


def test_contaminated_documents_are_absent_and_never_written(store: Store) -> None:
    counted: list[str] = []
    suppliers = registry(store, contaminated=counted.append)
    document = RECORDED.replace(b'["anvil","develop-http"]', b"[]")
    store.client.set(KEYS.supplier(S), document)
    with pytest.raises(SupplierNotRegistered):
        suppliers.state(S)
    assert counted == ["l2_read"]
    with pytest.raises(ValueError):
        suppliers.write(decode_supplier_state(document))


def test_bad_documents_and_a_store_that_is_away_are_told_apart(store: Store) -> None:
    store.client.set(KEYS.supplier(S), b"{bad")
    with pytest.raises(UnreadableSupplier):
        registry(store).state(S)
    away = connect("redis://127.0.0.1:1", timeout_s=0.2, connect_timeout_s=0.2)
    with pytest.raises(RegistryUnavailable):
        registry(away).state(S)


def test_managed_suppliers(store: Store) -> None:
    assert encode_managed_supplier(S, (), "active", 1795345910) == (
        f'{{"operator_addr":"{S}","services":null,"status":"active","updated_at":1795345910}}'.encode()
    )
    managed = ManagedSuppliers(
        store.client,
        managed_key=KEYS.registered_supplier,
        index_key=KEYS.registered_suppliers(),
        update_channel=KEYS.supplier_update_channel(),
    )
    assert [managed.put(S, ["anvil"], "active", number) for number in (5, 6)] == ["add", "update"]
    assert managed.all() == {S}
    assert json.loads(store.client.get(KEYS.registered_supplier(S)))["services"] == ["anvil"]
    managed.remove(S, "key removed")
    assert managed.all() == set()
    assert store.client.exists(KEYS.registered_supplier(S)) == 0
