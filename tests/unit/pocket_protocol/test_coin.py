"""Amounts in uPOKT out of coins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.coin import UnusableCoin, coin_of, upokt_of
from pocket_protocol.pb.cosmos.base.v1beta1_pb2 import Coin


@given(st.integers(0, 2**255))
@settings(max_examples=50)
def test_an_amount_survives_its_coin(amount):
    assert upokt_of(coin_of(amount)) == amount


@pytest.mark.parametrize(
    ("denom", "amount"),
    [
        ("upokt", ""),
        ("upokt", "-1"),
        ("upokt", "+1"),
        ("upokt", "1.5"),
        ("upokt", "1_000"),
        ("upokt", " 1"),
        ("upokt", "٣"),
        ("upokt", "9" * 5000),
        ("pokt", "1"),
        ("", "1"),
    ],
)
def test_anything_but_a_plain_amount_of_upokt_is_refused(denom, amount):
    with pytest.raises(UnusableCoin):
        upokt_of(Coin(denom=denom, amount=amount))
