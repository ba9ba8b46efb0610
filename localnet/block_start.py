"""What the beginning of each block reports: minting of nothing, and the fees of the block before."""

from __future__ import annotations

from fractions import Fraction

from localnet import bank
from localnet.ante import FEE_COLLECTOR
from localnet.context import Context
from localnet.events import plain
from localnet.rewards import validator_of
from localnet.state import NONCE, SUPPLY
from pocket_protocol.address import module_address

_PLACES = 18


def _decimal(value: Fraction) -> str:
    scaled = int(value * 10**_PLACES)
    return f"{scaled // 10**_PLACES}.{scaled % 10**_PLACES:0{_PLACES}d}"


def begin_block(context: Context) -> None:
    """Forget expired nonces, then do what the mint and distribution modules do."""
    for key, _ in list(context.state.items(NONCE)):
        if key[0] < context.time_ns:
            context.state.delete(NONCE, key)
    validator = validator_of(context)
    collector = module_address(FEE_COLLECTOR)
    bank.send(context.state, context.emit, module_address("mint"), collector, 0)
    ratio = Fraction(validator.stake_upokt, context.state.get(SUPPLY, "", 0) or 1)
    nothing = _decimal(Fraction(0))
    context.emit(
        plain(
            "mint",
            bonded_ratio=_decimal(ratio),
            inflation=nothing,
            annual_provisions=nothing,
            amount="0",
        )
    )
    fees = bank.balance(context.state, collector)
    bank.send(context.state, context.emit, collector, module_address("distribution"), fees)
    shares = (("commission", fees * validator.commission), ("rewards", Fraction(fees)))
    for kind, share in shares:
        text = f"{_decimal(share)}{bank.DENOM}" if share else ""
        context.emit(plain(kind, amount=text, validator=validator.operator_address))
