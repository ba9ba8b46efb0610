"""Answers that clients do not read are bounded over all connections of a process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from relayer_web.connection import ClientConnection, ConnectionLimits, Shell
from relayer_web.inbound import Answer, Inbound
from relayer_web.sweeper import Sweeper

ANSWER = bytes(8 << 20)
WAIT_S = 10.0


class Client:
    """One client of a connection that runs in a thread."""

    def __init__(self, shell: Shell) -> None:
        ours, self.sock = socket.socketpair()
        self.sock.settimeout(WAIT_S)
        self._connection = ClientConnection(ours, "192.0.2.1", shell, lambda *_: False, takes_relays=True)
        self._ours = ours
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            self._connection.run()
        except OSError:
            pass
        finally:
            self._ours.close()

    def ask(self) -> Client:
        self.sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        return self

    def whole_answer(self) -> bool:
        """Read; whether all of the answer came."""
        received = b""
        try:
            while len(received) < len(ANSWER) and (more := self.sock.recv(1 << 20)):
                received += more
        except ConnectionResetError:
            pass
        return len(received) > len(ANSWER)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_slowest_is_cut_off_when_too_much_is_unread() -> None:
    unanswered: list[Inbound] = []
    shell = Shell(
        limits=ConnectionLimits(max_buffered_bytes=2 * len(ANSWER) + (1 << 20)),
        relay=lambda inbound: Answer(200, [], ANSWER),
        websocket=lambda upgrade: None,
        on_unanswered=lambda inbound, answer: unanswered.append(inbound),
        sweeper=Sweeper(lambda: False),
        is_stopping=lambda: False,
    )
    first, second, third = (Client(shell) for _ in range(3))
    for number, client in enumerate((first, second), 1):
        client.ask()
        until(lambda number=number: shell.unread.held_bytes > number * len(ANSWER))
    third.ask()
    first.thread.join(WAIT_S)
    assert len(unanswered) == 1
    assert not first.whole_answer()
    assert second.whole_answer()
    assert third.whole_answer()
    until(lambda: shell.unread.held_bytes == 0)
    for client in (first, second, third):
        client.sock.close()
    assert len(unanswered) == 1
