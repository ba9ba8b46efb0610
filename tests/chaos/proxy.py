"""A small TCP proxy whose connections can be cut, held or refused: `python -m tests.chaos.proxy CONTROL NAME=LISTEN,TARGET…`.

One process and one thread. Orders are lines on the control port, each answered `ok`:

    cut NAME      reset all connections now
    hold NAME     pass nothing on, in either direction
    refuse NAME   reset all connections, and new ones as they come
    pass NAME     the opposite of hold and refuse
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from operations.setting import split_address

CHUNK = 262_144
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Pair:
    """One connection: the client's socket, the target's, and what waits to be written to each."""

    sockets: tuple[socket.socket, socket.socket]
    waiting: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))


@dataclass(eq=False)
class Route:
    """One listening address and where it leads."""

    name: str
    target: tuple[str, int]
    listener: socket.socket
    mode: str = "pass"
    pairs: set[Pair] = field(default_factory=set)


class Proxy:
    """All routes over one selector."""

    def __init__(self, control: str, routes: dict[str, tuple[str, str]]) -> None:
        self._selector = selectors.DefaultSelector()
        self._routes: dict[str, Route] = {}
        for name, (listen, target) in routes.items():
            route = Route(name, split_address(target), _listener(listen))
            self._routes[name] = route
            self._register(route.listener, selectors.EVENT_READ, lambda route=route: self._accept(route))
        orders = _listener(control)
        self._register(orders, selectors.EVENT_READ, lambda: self._take_orders(orders))

    def serve(self) -> None:
        """Work until the process ends."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj.fileno() >= 0:  # type: ignore[union-attr]
                    key.data()

    def _register(self, sock: socket.socket, events: int, do: Callable[[], None]) -> None:
        self._selector.register(sock, events, do)

    def _take_orders(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as lines:
            connection.settimeout(2)
            verb, _, name = lines.readline().strip().partition(" ")
            self._obey(verb, self._routes[name])
            lines.write("ok\n")

    def _obey(self, verb: str, route: Route) -> None:
        if verb != "cut":
            route.mode = verb
        if verb in ("cut", "refuse"):
            for pair in list(route.pairs):
                self._reset(route, pair)
        for pair in list(route.pairs):
            self._listen_again(route, pair)

    # --- connections

    def _accept(self, route: Route) -> None:
        client, _ = route.listener.accept()
        if route.mode == "refuse":
            _reset_socket(client)
            return
        target = socket.socket()
        try:
            target.settimeout(1)
            target.connect(route.target)
        except OSError:
            _reset_socket(client)
            target.close()
            return
        for sock in (client, target):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair((client, target))
        route.pairs.add(pair)
        self._listen_again(route, pair)

    def _listen_again(self, route: Route, pair: Pair) -> None:
        """Say for each side whether it is to be read from and written to now."""
        for side, sock in enumerate(pair.sockets):
            events = 0
            if route.mode != "hold":
                events |= selectors.EVENT_READ if not pair.waiting[1 - side] else 0
                events |= selectors.EVENT_WRITE if pair.waiting[side] else 0
            with suppress(KeyError):
                self._selector.unregister(sock)
            if events:
                self._register(sock, events, lambda side=side: self._move(route, pair, side))  # type: ignore[misc]

    def _move(self, route: Route, pair: Pair, side: int) -> None:
        """Write what waits for this side, and pass on what it sent."""
        sock, other = pair.sockets[side], pair.sockets[1 - side]
        mine, theirs = pair.waiting[side], pair.waiting[1 - side]
        try:
            if mine:
                _write(sock, mine)
            if not theirs:
                with suppress(BlockingIOError):
                    received = sock.recv(CHUNK)
                    if not received:
                        self._close(route, pair)
                        return
                    theirs += received
                    _write(other, theirs)
        except OSError:
            self._close(route, pair)
            return
        registered = self._selector.get_map().get(sock)
        if mine or theirs or registered is None or registered.events != selectors.EVENT_READ:
            self._listen_again(route, pair)

    def _close(self, route: Route, pair: Pair) -> None:
        self._forget(route, pair)
        for sock, waiting in zip(pair.sockets, pair.waiting, strict=True):
            with suppress(OSError):
                _write(sock, waiting)
            sock.close()

    def _reset(self, route: Route, pair: Pair) -> None:
        self._forget(route, pair)
        for sock in pair.sockets:
            _reset_socket(sock)

    def _forget(self, route: Route, pair: Pair) -> None:
        route.pairs.discard(pair)
        for sock in pair.sockets:
            with suppress(KeyError):
                self._selector.unregister(sock)


def _write(sock: socket.socket, waiting: bytearray) -> None:
    with suppress(BlockingIOError):
        while waiting:
            del waiting[: sock.send(waiting)]


def _reset_socket(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def _listener(address: str) -> socket.socket:
    return socket.create_server(split_address(address), backlog=512)


def order(control: str, verb: str, name: str) -> None:
    """Give one order to a running proxy. Raises OSError."""
    with (
        socket.create_connection(split_address(control), timeout=5) as connection,
        connection.makefile("rw") as lines,
    ):
        lines.write(f"{verb} {name}\n")
        lines.flush()
        if lines.readline() != "ok\n":
            raise OSError(f"the proxy did not obey: {verb} {name}")


def main(arguments: list[str]) -> None:
    """Serve the routes of the command line."""
    control, *routes = arguments
    named = (route.partition("=") for route in routes)
    Proxy(
        control,
        {name: tuple(addresses.split(",")) for name, _, addresses in named},  # type: ignore[misc]
    ).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
