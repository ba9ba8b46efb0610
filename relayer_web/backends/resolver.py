"""Addresses of one backend host: asked once, kept for a while, asked again when nothing there answers.

The system's resolver may block for long and cannot be interrupted, so it runs in a thread of its own and callers
wait for it no longer than their own deadline.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

Address = tuple[int, tuple[Any, ...]]  # family, sockaddr
Lookup = Callable[..., Sequence[tuple[Any, ...]]]
LIFETIME_S: Final = 30.0
RETRY_S: Final = 1.0  # old addresses serve this much longer after a look-up that failed


class Resolver:
    """Resolves `host`:`port`. `lookup` is socket.getaddrinfo or looks like it."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        lifetime_s: float = LIFETIME_S,
        lookup: Lookup = socket.getaddrinfo,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._lifetime_s = lifetime_s
        self._lookup = lookup
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: threading.Event | None = None
        self._error: OSError | None = None
        self._addresses: list[Address] = _literal(host, port)
        self._expires_at = float("inf") if self._addresses else float("-inf")

    def addresses(self, deadline: float) -> list[Address]:
        """Return the addresses, old ones while new ones are asked for. `deadline` is in monotonic seconds.

        Raises TimeoutError, or the OSError of the look-up when no addresses are known at all.
        """
        if self._monotonic() < self._expires_at:
            return self._addresses
        running = self._start()
        if self._addresses:
            return self._addresses
        if not running.wait(max(0.0, deadline - self._monotonic())):
            raise TimeoutError("name resolution")
        if not self._addresses:
            raise self._error or OSError("no address")
        return self._addresses

    def renewed(self, deadline: float) -> list[Address]:
        """Ask again now, because none of the known addresses answered; [] when there is nothing new."""
        if self._expires_at == float("inf"):
            return []
        old = self._addresses
        self._start().wait(max(0.0, deadline - self._monotonic()))
        return [] if self._addresses == old else self._addresses

    def _start(self) -> threading.Event:
        with self._lock:
            if self._running is None:
                self._running = threading.Event()
                threading.Thread(target=self._resolve, args=(self._running,), daemon=True).start()
            return self._running

    def _resolve(self, done: threading.Event) -> None:
        found: list[Address] = []
        error: OSError | None = None
        try:
            entries = self._lookup(self._host, self._port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys((entry[0], entry[4]) for entry in entries))
        except OSError as failure:
            error = failure
        except UnicodeError as failure:  # a host that is no valid IDN
            error = OSError(str(failure))
        with self._lock:  # whoever starts a look-up from here on sees what this one found
            self._running = None
            self._error = error
            if found:
                self._addresses = found
                self._expires_at = self._monotonic() + self._lifetime_s
            elif self._addresses:
                self._expires_at = self._monotonic() + RETRY_S
        done.set()


def _literal(host: str, port: int) -> list[Address]:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []
    if address.version == 4:
        return [(socket.AF_INET, (host, port))]
    return [(socket.AF_INET6, (host, port, 0, 0))]
