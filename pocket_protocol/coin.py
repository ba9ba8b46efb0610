"""Amounts in uPOKT out of the network's coins (spec/chain.md, appendix A: cosmos.base.v1beta1)."""

from __future__ import annotations

from typing import Final

from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.base import v1beta1_pb2
from pocket_protocol.types import Upokt

DENOM: Final = "upokt"
_MAX_DIGITS: Final = 78  # 2**256 has 78


class UnusableCoin(Malformed):
    """A coin that is no whole, non-negative amount of uPOKT."""

    reason = "unusable_coin"
    summary = "not an amount of upokt"


def upokt_of(coin: v1beta1_pb2.Coin) -> Upokt:
    """Return the amount of `coin`. Raises `UnusableCoin` for another denomination or no plain number."""
    digits = coin.amount
    if coin.denom != DENOM or not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        raise UnusableCoin(denom=coin.denom[:32], amount=digits[:_MAX_DIGITS])
    return Upokt(int(digits))


def coin_of(amount_upokt: int) -> v1beta1_pb2.Coin:
    """Return `amount_upokt` as a coin."""
    return v1beta1_pb2.Coin(denom=DENOM, amount=str(amount_upokt))
