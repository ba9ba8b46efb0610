"""Spliced connections: what comes in goes out, ends are passed on, nothing grows and nothing hangs.

The sockets are gevent's, so everything runs in this thread's hub without patching anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.socket
import pytest

from relayer_web.grpc_sockets import GrpcProcessAway
from relayer_web.splice import Http2Handover, Splice
from relayer_web.sweeper import Sweeper

WAIT_S = 5.0


@contextmanager
def spliced(
    first: bytes = b"", write_timeout_s: float = WAIT_S
) -> Iterator[tuple[Any, Any, gevent.Greenlet]]:
    """The client's and the server's ends of a splice that runs, and the greenlet that runs it."""
    client, front = gevent.socket.socketpair()
    behind, server = gevent.socket.socketpair()
    client.settimeout(WAIT_S)
    server.settimeout(WAIT_S)
    sweeper = Sweeper(lambda: False)
    sweeper.start()

    def run() -> None:
        with front, behind:
            Splice(front, behind, first, write_timeout_s=write_timeout_s).run(sweeper)

    running = gevent.spawn(run)
    yield client, server, running
    client.close()
    server.close()
    running.join(WAIT_S)
    assert running.dead and running.successful()
    assert len(sweeper) == 0


def read_all(sock: Any) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_bytes_go_both_ways_in_order() -> None:
    with spliced(b"first ") as (client, server, _):
        client.sendall(b"second")
        received = b""
        while len(received) < 12:
            received += server.recv(100)
        assert received == b"first second"
        server.sendall(b"answer")
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize("size", [1, 65536, 3_000_000])
def test_any_amount_passes(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    with spliced() as (client, server, _):
        sending = gevent.spawn(client.sendall, body)
        received = b""
        while len(received) < len(body):
            received += server.recv(1 << 20)
        assert received == body
        sending.join()


def test_a_half_that_ends_leaves_the_other_open() -> None:
    with spliced() as (client, server, _):
        client.sendall(b"question")
        client.shutdown(gevent.socket.SHUT_WR)
        assert read_all(server) == b"question"
        server.sendall(b"late answer")
        server.close()
        assert read_all(client) == b"late answer"


def test_the_last_answer_arrives_though_the_server_reads_no_more() -> None:
    """A reset towards the client would take it along."""
    with spliced() as (client, server, running):
        client.sendall(b"unread")
        gevent.sleep(0)
        server.sendall(b"the last answer")
        server.close()
        client.sendall(b"more that nobody reads")
        assert read_all(client) == b"the last answer"
        client.close()
        running.join(WAIT_S)
        assert running.dead


def test_a_client_that_left_ends_the_connection_behind() -> None:
    with spliced() as (client, server, running):
        client.close()
        assert server.recv(10) == b""
        server.close()
        running.join(WAIT_S)
        assert running.dead


def test_a_client_that_does_not_read_is_cut_off_and_holds_back_its_server() -> None:
    with spliced(write_timeout_s=0.3) as (_client, server, running):
        sent = 0
        with pytest.raises(OSError):
            while True:
                sent += server.send(bytes(65536))
        assert sent < 4_000_000, "what stands in the sockets' own buffers"
        running.join(WAIT_S)
        assert running.dead


def test_a_client_that_stays_after_the_end_is_cut_off() -> None:
    with spliced(write_timeout_s=0.3) as (_, server, running):
        server.close()
        running.join(WAIT_S)
        assert running.dead


def test_a_handover_needs_somebody_to_take_it() -> None:
    def nobody(peer: str) -> Any:
        raise GrpcProcessAway

    client, _ = gevent.socket.socketpair()
    handover = Http2Handover(nobody, Sweeper(lambda: False), write_timeout_s=1)
    assert handover.take(client, b"PRI", "192.0.2.1") is False
