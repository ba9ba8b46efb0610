"""Gas and fees of transactions (spec/chain.md §7, decisions.md C5, I)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from pocket_protocol.coin import DENOM
from pocket_protocol.errors import Malformed
from pocket_protocol.types import Upokt

DEFAULT_ADJUSTMENT: Final = 1.7
_DECIMALS: Final = 18
_PRICE = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,18}))?" + DENOM, re.ASCII)


class BadGasPrice(Malformed):
    """A gas price that is not a decimal number of uPOKT such as `0.00001upokt`."""

    reason = "bad_gas_price"
    summary = "not a gas price"


@dataclass(frozen=True, slots=True)
class GasPrice:
    """A price of one unit of gas, exact: 18 decimals, as the chain's decimals have."""

    attoupokt: int  # 10**-18 uPOKT


@dataclass(frozen=True, slots=True)
class GasCost:
    """What a batch of messages of one kind uses, as measured on a real node."""

    base: int
    per_message: int

    def of(self, message_count: int) -> int:
        """Return the gas a transaction of `message_count` such messages uses."""
        return self.base + self.per_message * message_count


CLAIM_GAS: Final = GasCost(37_000, 56_000)
PROOF_GAS: Final = GasCost(41_000, 162_000)


def parse_gas_price(text: str) -> GasPrice:
    """Read a price like `0.00001upokt`. Raises `BadGasPrice`."""
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise BadGasPrice(price=text[:64])
    whole, fraction = match[1], match[2] or ""
    return GasPrice(int(whole) * 10**_DECIMALS + int(fraction.ljust(_DECIMALS, "0")))


def fee_upokt(gas_limit: int, price: GasPrice) -> Upokt:
    """Return ceil(gas_limit * price): what a transaction of that limit offers."""
    return Upokt(-(-gas_limit * price.attoupokt // 10**_DECIMALS))


def adjusted_gas(gas_used: int, adjustment: float = DEFAULT_ADJUSTMENT) -> int:
    """Return the gas limit for a simulated use: trunc(double(gas_used) * adjustment).

    Raises ValueError unless `adjustment` is a finite number >= 1.
    """
    if not (math.isfinite(adjustment) and adjustment >= 1):
        raise ValueError(f"gas adjustment must be a number of at least 1, got {adjustment}")
    return int(float(gas_used) * adjustment)
