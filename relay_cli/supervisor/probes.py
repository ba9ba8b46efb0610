"""Whether something answers: short questions for readiness, none of which raises."""

from __future__ import annotations

import errno
import socket
import urllib.request
from collections.abc import Callable

from operations.setting import split_address
from relay_cli.supervisor.spec import Port, PortTaken, ProcessSpec

PROBE_TIMEOUT_S = 1.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_ok(url: str) -> Callable[[], bool]:
    """Answers with a 2xx."""

    def probe() -> bool:
        try:
            with _DIRECT.open(url, timeout=PROBE_TIMEOUT_S) as answer:
                return bool(200 <= answer.status < 300)
        except (OSError, ValueError):
            return False

    return probe


def accepts(address: str) -> Callable[[], bool]:
    """Accepts TCP connections."""

    def probe() -> bool:
        try:
            with socket.create_connection(split_address(address), PROBE_TIMEOUT_S):
                return True
        except OSError:
            return False

    return probe


def pongs(address: str) -> Callable[[], bool]:
    """Answers PING as a Redis or Valkey that has loaded its data."""

    def probe() -> bool:
        try:
            with socket.create_connection(split_address(address), PROBE_TIMEOUT_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    return probe


def check_free(port: Port, spec: ProcessSpec) -> None:
    """Raise `PortTaken` when the port cannot be listened on."""
    host, number = split_address(port.address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            text = "is taken by another process" if taken else f"cannot be used: {error.strerror}"
            raise PortTaken(f"{port.address} for {spec.name} {text}; move it with {port.setting}") from None
