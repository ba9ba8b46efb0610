"""The ports of `up`: one per role, each movable by a flag of its name."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from relay_cli.supervisor.spec import Port

HOST: Final = "127.0.0.1"
MOVED_TO: Final = (20_000, 32_000)

# role -> (default, what listens there)
ROLES: Final[Mapping[str, tuple[int, str]]] = {
    "relayer": (8080, "relays"),
    "health": (8081, "the relayer's health"),
    "relayer-metrics": (9190, "the relayer's metrics"),
    "miner-metrics": (9092, "the miner's metrics"),
    "flower": (5555, "Flower, Celery's monitor"),
    "grpc": (9090, "the local chain's gRPC"),
    "rpc": (26657, "the local chain's CometBFT RPC"),
    "admin": (26680, "the local chain's admin side"),
    "backend": (8545, "the test backend"),
    "backend-grpc": (50051, "the test backend's gRPC"),
    "store": (6390, "the embedded store"),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """The chosen port of each role."""

    numbers: Mapping[str, int]

    def address(self, role: str) -> str:
        return f"{HOST}:{self.numbers[role]}"

    def url(self, role: str) -> str:
        return f"http://{self.address(role)}"

    def needed(self, *roles: str) -> tuple[Port, ...]:
        """Return the ports with their flags, as a process needs them."""
        return tuple(Port(self.address(role), f"--{role}-port") for role in roles)


def choose_ports(given: Mapping[str, int | None], anywhere: bool) -> Ports:
    """Return given ports and defaults; `anywhere` moves defaults that are taken to free ports."""
    chosen: dict[str, int] = {}
    for role, (default, _) in ROLES.items():
        number = given.get(role)
        if number is None:
            number = default
            if anywhere and not _is_free(number):
                number = _free_port(avoid=set(chosen.values()))
        chosen[role] = number
    return Ports(chosen)


def port_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command a `--ROLE-port` option for each role."""
    for role, (default, what) in reversed(ROLES.items()):
        option = click.option(
            f"--{role}-port",
            type=click.IntRange(1, 65535),
            metavar="PORT",
            help=f"Port of {what}.  [default: {default}]",
        )
        command = option(command)
    return command


def given_ports(options: dict[str, Any]) -> dict[str, int | None]:
    """Take the port options out of a command's options."""
    return {role: options.pop(f"{role.replace('-', '_')}_port") for role in ROLES}


def _is_free(number: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, number))
        except OSError:
            return False
    return True


def _free_port(avoid: set[int]) -> int:
    """Return a free port below those that the system gives to outgoing connections."""
    while True:
        number = random.randrange(*MOVED_TO)
        if number not in avoid and _is_free(number):
            return number
