"""Kept-alive connections to one origin: last in first out, bounded, closed when idle for too long."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from relayer_web.backends.contract import BackendFailed, BackendTimeout
from relayer_web.backends.resolver import Address, Resolver


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of the connections to one origin."""

    max_open: int = 500
    max_idle: int = 100
    idle_s: float = 90.0
    dial_s: float = 5.0
    tls_s: float = 10.0
    keep_alive_probe_s: int = 30


class ConnectionPool:
    """Connections to `resolver`'s host. `tls`: context and server name, or None for clear text."""

    def __init__(
        self,
        resolver: Resolver,
        limits: ConnectionLimits,
        tls: tuple[ssl.SSLContext, str] | None = None,
        *,
        on_wait: Callable[[float], None] = lambda seconds: None,
        on_dial: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._resolver = resolver
        self._limits = limits
        self._tls = tls
        self._on_wait = on_wait
        self._on_dial = on_dial
        self._free = threading.Condition()
        self._idle: list[tuple[socket.socket, float]] = []
        self._open = 0

    def take(self, deadline: float, *, fresh: bool = False) -> tuple[socket.socket, bool]:
        """Return a connection and whether it was used before; `fresh` never reuses.

        Whoever takes one gives it back with `give_back` or `discard`. Raises `BackendTimeout` when none is free
        before `deadline` (monotonic seconds) and `BackendFailed` when none can be made.
        """
        self._reserve(deadline)
        try:
            sock = None if fresh else self._reuse()
            if sock is not None:
                return sock, True
            started = time.monotonic()
            sock = self._dial(deadline)
            self._on_dial(time.monotonic() - started)
            return sock, False
        except BaseException:
            self._release()
            raise

    def give_back(self, sock: socket.socket) -> None:
        """Keep a connection for the next request."""
        now = time.monotonic()
        idle, spare = self._idle, []
        with self._free:
            idle.append((sock, now))
            while idle and (len(idle) > self._limits.max_idle or now - idle[0][1] > self._limits.idle_s):
                spare.append(idle.pop(0)[0])
        for old in spare:
            old.close()
        self._release()

    def discard(self, sock: socket.socket) -> None:
        """Close a connection whose state is not known."""
        sock.close()
        self._release()

    def connect(self, deadline: float) -> socket.socket:
        """Return a new connection outside the pool and its bounds. Raises like `take`."""
        started = time.monotonic()
        sock = self._dial(deadline)
        self._on_dial(time.monotonic() - started)
        return sock

    def close(self) -> None:
        """Close what is idle."""
        with self._free:
            spare, self._idle[:] = [sock for sock, _ in self._idle], []
        for sock in spare:
            sock.close()

    def _reserve(self, deadline: float) -> None:
        with self._free:
            if self._open >= self._limits.max_open:
                started = time.monotonic()
                enough = self._free.wait_for(
                    lambda: self._open < self._limits.max_open, max(0.0, deadline - started)
                )
                self._on_wait(time.monotonic() - started)
                if not enough:
                    raise BackendTimeout(what="no free connection")
            self._open += 1

    def _release(self) -> None:
        with self._free:
            self._open -= 1
            self._free.notify()

    def _reuse(self) -> socket.socket | None:
        expired_at = time.monotonic() - self._limits.idle_s
        while True:
            with self._free:
                if not self._idle:
                    return None
                sock, idle_since = self._idle.pop()
            if idle_since >= expired_at and _is_quiet(sock):
                return sock
            sock.close()

    def _dial(self, deadline: float) -> socket.socket:
        try:
            addresses = self._resolver.addresses(deadline)
        except TimeoutError:
            raise BackendTimeout(what="name resolution") from None
        except OSError as error:
            raise BackendFailed(what=f"name resolution: {error.strerror or error}", sent=False) from None
        try:
            return self._first_connected(addresses, deadline)
        except BackendFailed:
            addresses = self._resolver.renewed(deadline)
            if not addresses:
                raise
            return self._first_connected(addresses, deadline)

    def _first_connected(self, addresses: list[Address], deadline: float) -> socket.socket:
        cause = "no address"
        for family, address in addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                return self._connected(sock, address, deadline)
            except OSError as error:
                sock.close()
                if time.monotonic() >= deadline:
                    raise BackendTimeout(what="dial") from None
                cause = error.strerror or str(error) or type(error).__name__
            except BaseException:
                sock.close()
                raise
        raise BackendFailed(what=f"dial: {cause}", sent=False)

    def _connected(self, sock: socket.socket, address: tuple[object, ...], deadline: float) -> socket.socket:
        limits = self._limits
        sock.settimeout(_remaining(deadline, limits.dial_s))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if limits.keep_alive_probe_s:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.keep_alive_probe_s)
        if self._tls is None:
            return sock
        context, server_name = self._tls
        secured = context.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False)
        try:
            secured.settimeout(_remaining(deadline, limits.tls_s))
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured


def _remaining(deadline: float, limit_s: float) -> float:
    remaining = min(limit_s, deadline - time.monotonic())
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _is_quiet(sock: socket.socket) -> bool:
    """Tell whether an idle connection is open with nothing to read: bytes nobody asked for are as bad as an end."""
    try:
        sock.settimeout(0.0)
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False
