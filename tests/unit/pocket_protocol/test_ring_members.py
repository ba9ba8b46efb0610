"""The expected key set of an application."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.address import address_bytes
from pocket_protocol.curve import load_curve
from pocket_protocol.pb.pocket.application_pb2 import Application, UndelegatingGatewayList
from pocket_protocol.ring_members import (
    PLACEHOLDER_ADDRESS,
    PLACEHOLDER_PUBLIC_KEY,
    PLACEHOLDER_SECRET_TEXT,
    NoPublicKey,
    NotSecp256k1,
    PlaceholderRefused,
    expected_addresses,
    expected_keys,
    refuse_placeholder,
)
from pocket_protocol.signer import PrivateKey

KEY = bytes.fromhex("02b8f05abbe893f4b4332b0ce32da5528908364a5456bf371256ae77cd1a8eee77")


def application(delegated: list[str], pending: dict[int, list[str]]) -> Application:
    return Application(
        address="pokt1app",
        delegatee_gateway_addresses=delegated,
        pending_undelegations={
            height: UndelegatingGatewayList(gateway_addresses=gateways)
            for height, gateways in pending.items()
        },
    )


@pytest.mark.parametrize(
    ("delegated", "pending", "expected"),
    [
        (["pokt1b"], {}, ["pokt1app", "pokt1b"]),
        (["pokt1z", "pokt1a"], {}, ["pokt1a", "pokt1app", "pokt1z"]),
        ([], {}, [PLACEHOLDER_ADDRESS, "pokt1app"]),
        ([], {9: ["pokt1b"]}, [PLACEHOLDER_ADDRESS, "pokt1app"]),
        ([], {10: ["pokt1b"]}, ["pokt1app", "pokt1b"]),
        (
            ["pokt1b"],
            {9: ["pokt1c"], 10: ["pokt1d"], 11: ["pokt1e"]},
            ["pokt1app", "pokt1b", "pokt1d", "pokt1e"],
        ),
        ([], {10: ["pokt1b"], 20: ["pokt1c", "pokt1b"]}, ["pokt1app", "pokt1b", "pokt1c"]),
        (["pokt1b"], {10: ["pokt1b"]}, ["pokt1app", "pokt1b", "pokt1b"]),
        (["pokt1app"], {}, ["pokt1app", "pokt1app"]),
        ([], {2**64 - 1: ["pokt1b"]}, ["pokt1app", "pokt1b"]),
    ],
)
def test_members_at_session_end_10(delegated, pending, expected):
    assert expected_addresses(application(delegated, pending), 10) == expected


gateways = st.lists(st.sampled_from([f"pokt1{letter}" for letter in "bcdefg"]), max_size=4)


@given(gateways, st.dictionaries(st.integers(1, 30), gateways, max_size=4), st.integers(1, 30))
@settings(max_examples=80)
def test_the_application_is_always_a_member_and_never_alone(delegated, pending, end):
    addresses = expected_addresses(application(delegated, pending), end)
    effective = set(delegated) | {g for height, group in pending.items() if height >= end for g in group}
    assert set(addresses) == {"pokt1app"} | (effective or {PLACEHOLDER_ADDRESS})
    assert addresses == sorted(addresses)


def test_the_placeholder_is_what_its_text_gives():
    key = PrivateKey.from_secret_text(PLACEHOLDER_SECRET_TEXT)
    assert key.public_key(load_curve()) == PLACEHOLDER_PUBLIC_KEY
    assert address_bytes(PLACEHOLDER_PUBLIC_KEY).hex().upper() == PLACEHOLDER_ADDRESS


def test_keys_come_from_accounts_and_the_placeholder_from_nowhere():
    asked = []

    def account_key(address: str) -> bytes:
        asked.append(address)
        return KEY

    assert expected_keys([PLACEHOLDER_ADDRESS, "pokt1app"], account_key) == [PLACEHOLDER_PUBLIC_KEY, KEY]
    assert asked == ["pokt1app"]


def test_a_member_without_a_usable_key_refuses_the_ring():
    with pytest.raises(NoPublicKey) as refusal:
        expected_keys(["pokt1app"], {}.get)
    assert refusal.value.address == "pokt1app"
    for key in (b"", KEY[:32], b"\4" + KEY[1:], KEY + b"\0"):
        with pytest.raises(NotSecp256k1):
            expected_keys(["pokt1app"], lambda address, key=key: key)


def test_the_placeholder_can_be_refused():
    refuse_placeholder([KEY])
    refuse_placeholder([])
    with pytest.raises(PlaceholderRefused):
        refuse_placeholder(iter([KEY, PLACEHOLDER_PUBLIC_KEY]))
