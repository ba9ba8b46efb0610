"""What a claim is worth (spec/chain.md §5.1, §5.2).

Difficulty and the two price parameters are those at the session's start. One exact rational, one floor.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from pocket_protocol.difficulty import multiplier
from pocket_protocol.errors import Refused
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.smst import Root
from pocket_protocol.types import Upokt

_UINT64: Final = 2**64


class NoPrice(Refused):
    """A cost granularity of 0: compute units have no price."""

    reason = "no_price"
    summary = "compute unit cost granularity is 0"


def price_per_compute_unit(params: SharedParams) -> Fraction:
    """Return uPOKT per compute unit, exactly. Raises `NoPrice`."""
    if params.compute_unit_cost_granularity == 0:
        raise NoPrice()
    return Fraction(params.compute_units_to_tokens_multiplier, params.compute_unit_cost_granularity)


def claimed_upokt(root: Root, target: bytes, params: SharedParams) -> Upokt:
    """Return what the work under `root` is worth under difficulty `target`. Raises `UnusableTarget`, `NoPrice`."""
    return Upokt(int(root.sum * multiplier(target) * price_per_compute_unit(params)))


def estimated_compute_units(root: Root, target: bytes) -> int:
    """Return the compute units served in all, as the uint64 the chain's events carry. Raises `UnusableTarget`."""
    return int(root.sum * multiplier(target)) % _UINT64


def estimated_relays(root: Root, target: bytes) -> int:
    """Return the relays served in all, as the chain's events have it; 0 when the root's counts allow none."""
    if root.count == 0 or root.sum < root.count:
        return 0
    return estimated_compute_units(root, target) // (root.sum // root.count)
