"""Balances: transfers, mint and burn, with the bank module's events (spec/chain.md §2, §6.4)."""

from __future__ import annotations

from collections.abc import Callable

from localnet.events import Event, plain
from localnet.state import BALANCE, SUPPLY, State
from pocket_protocol.errors import Refused

DENOM = "upokt"

Emit = Callable[[Event], None]


class InsufficientFunds(Refused):
    """An account that has less than is to be taken from it."""

    reason = "insufficient_funds"
    summary = "insufficient funds"


def coin(amount: int) -> str:
    """Return `amount` uPOKT as the network prints it."""
    return f"{amount}{DENOM}"


def coin_or_nothing(amount: int) -> str:
    """As `coin`, but an empty list of coins prints as nothing."""
    return coin(amount) if amount else ""


def balance(state: State, address: str) -> int:
    return int(state.get(BALANCE, address, 0))


def add(state: State, address: str, amount: int) -> None:
    """Change a balance. Raises `InsufficientFunds` when it would fall below 0."""
    have = balance(state, address)
    if have + amount < 0:
        raise InsufficientFunds(
            f"spendable balance {coin(have)} is smaller than {coin(-amount)}: insufficient funds"
        )
    state.put(BALANCE, address, have + amount)


def send(state: State, emit: Emit, sender: str, recipient: str, amount: int) -> None:
    """Move `amount` uPOKT. Raises `InsufficientFunds`."""
    add(state, sender, -amount)
    add(state, recipient, amount)
    text = coin_or_nothing(amount)
    emit(plain("coin_spent", spender=sender, amount=text))
    emit(plain("coin_received", receiver=recipient, amount=text))
    emit(plain("transfer", recipient=recipient, sender=sender, amount=text))
    emit(plain("message", sender=sender))


def mint(state: State, emit: Emit, minter: str, amount: int) -> None:
    """Create `amount` uPOKT in a module account."""
    add(state, minter, amount)
    state.put(SUPPLY, "", state.get(SUPPLY, "", 0) + amount)
    emit(plain("coin_received", receiver=minter, amount=coin(amount)))
    emit(plain("coinbase", minter=minter, amount=coin(amount)))


def burn(state: State, emit: Emit, burner: str, amount: int) -> None:
    """Destroy `amount` uPOKT of a module account. Raises `InsufficientFunds`."""
    add(state, burner, -amount)
    state.put(SUPPLY, "", state.get(SUPPLY, "", 0) - amount)
    emit(plain("coin_spent", spender=burner, amount=coin(amount)))
    emit(plain("burn", burner=burner, amount=coin(amount)))
