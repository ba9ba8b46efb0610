"""Relay mining difficulty: which relays count, how much one stands for, how it moves (spec/chain.md §4.4, §4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pocket_protocol.errors import Malformed

TARGET_BYTES: Final = 32
BASE_TARGET: Final = b"\xff" * TARGET_BYTES  # the easiest: each relay counts, but one that hashes to all ff
_BASE: Final = 2**256 - 1
_ALPHA: Final = Fraction(0.1)  # the IEEE double, not a tenth
_MANTISSA_BITS: Final = 64
_MAX_UINT64: Final = 2**64 - 1


class UnusableTarget(Malformed):
    """A target that is not 32 bytes or is zero, or a relay count no target can be derived from."""

    reason = "unusable_difficulty"
    summary = "unusable relay mining difficulty"


def _number(target: bytes) -> int:
    number = int.from_bytes(target, "big")
    if len(target) != TARGET_BYTES or number == 0:
        raise UnusableTarget(target=target.hex()[: 2 * TARGET_BYTES], length=len(target))
    return number


def is_applicable(relay_hash: bytes, target: bytes) -> bool:
    """Return whether a relay of that hash counts: strictly below the target. Raises `UnusableTarget`."""
    if len(target) != TARGET_BYTES:
        raise UnusableTarget(length=len(target))
    return relay_hash < target


def probability(target: bytes) -> Fraction:
    """Return the share of relays that count under `target`. Raises `UnusableTarget`."""
    return Fraction(_number(target), _BASE)


def multiplier(target: bytes) -> Fraction:
    """Return how many relays each counted one stands for. Raises `UnusableTarget`."""
    return Fraction(_BASE, _number(target))


def target_for(target_num_relays: int, num_relays_ema: int) -> bytes:
    """Return the target that lets `target_num_relays` of `num_relays_ema` relays through; both are uint64.

    The chain always scales the base target, never the previous one. Raises `UnusableTarget` when the average
    is 0 and the wanted number is not.
    """
    if target_num_relays == num_relays_ema:
        return BASE_TARGET
    if num_relays_ema == 0:
        raise UnusableTarget("no target from an average of 0 relays", target_num_relays=target_num_relays)
    # The chain casts both to int64, then takes the bytes of the floor's absolute value.
    ratio = Fraction(_as_int64(target_num_relays), _as_int64(num_relays_ema))
    scaled = abs(_BASE * ratio.numerator // ratio.denominator)
    return BASE_TARGET if scaled > _BASE else scaled.to_bytes(TARGET_BYTES, "big")


def _as_int64(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _round_to_mantissa(value: Fraction) -> Fraction:
    """Round to a 64-bit mantissa, ties to even, as the chain's big floats do after each operation."""
    if value == 0:
        return value
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - _MANTISSA_BITS
    scaled = value / Fraction(2) ** exponent
    if scaled >= 2**_MANTISSA_BITS:
        exponent += 1
        scaled /= 2
    return round(scaled) * Fraction(2) ** exponent


def next_ema(num_relays: int, previous_ema: int) -> int:
    """Return the moving average after a block that settled `num_relays`; all are uint64."""
    current = _round_to_mantissa(_ALPHA * num_relays)
    previous = _round_to_mantissa((1 - _ALPHA) * previous_ema)  # 1 - alpha fits a mantissa
    return min(int(_round_to_mantissa(current + previous)), _MAX_UINT64)


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A service's difficulty: the moving average of its settled relays and the target that follows from it."""

    num_relays_ema: int
    target: bytes

    @classmethod
    def first(cls, num_relays: int, target_num_relays: int) -> Difficulty:
        """Return the difficulty of a service that had none, taken as its previous one."""
        return cls(num_relays, target_for(target_num_relays, num_relays))

    def updated(self, num_relays: int, target_num_relays: int) -> Difficulty:
        """Return the difficulty after a block that settled `num_relays` of the service."""
        ema = next_ema(num_relays, self.num_relays_ema)
        return Difficulty(ema, target_for(target_num_relays, ema))
