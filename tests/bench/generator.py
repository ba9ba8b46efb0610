"""A load generator that is not the bottleneck: presigned requests over kept-alive sockets, one thread, epoll.

It looks at status and length of an answer and at nothing else; about 25 µs of CPU a relay.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

RECEIVE_BYTES = 65536
PATIENCE_S = 30.0


@dataclass(slots=True)
class LoadFigures:
    """What one load was like, as its client saw it. `latencies_s` is of answers with status 200."""

    duration_s: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    answer_bytes: int = 0


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    sent_at: float = 0.0
    received: bytes = b""
    wanted: int = 0  # bytes of the whole answer, once its head is there


def http_request(path: str, host: str, headers: dict[str, str], body: bytes) -> bytes:
    """Encode a POST."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send_all(address: tuple[str, int], requests: Sequence[bytes], concurrency: int) -> LoadFigures:
    """Send every request once, `concurrency` at a time, each connection asking again as soon as it was answered."""
    figures, waiting = LoadFigures(), iter(requests)
    selector = selectors.DefaultSelector()
    connections = [_connect(address) for _ in range(min(concurrency, len(requests)))]
    started, cpu = time.perf_counter(), time.thread_time()
    open_connections = 0
    for connection in connections:
        selector.register(connection.sock, selectors.EVENT_READ, connection)
        open_connections += _ask_next(connection, waiting)
    while open_connections:
        events = selector.select(PATIENCE_S)
        if not events:
            figures.failures["no answer in time"] += open_connections
            break
        for key, _ in events:
            connection = key.data
            ended = _receive(connection, figures)
            if ended is None:
                continue
            if not ended or not _ask_next(connection, waiting):
                selector.unregister(connection.sock)
                open_connections -= 1
    figures.duration_s = time.perf_counter() - started
    figures.cpu_s = time.thread_time() - cpu
    for connection in connections:
        connection.sock.close()
    return figures


def _connect(address: tuple[str, int]) -> _Connection:
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Connection(sock)


def _ask_next(connection: _Connection, waiting: object) -> bool:
    """Send the next request; False when there is none."""
    request = next(waiting, None)  # type: ignore[call-overload]
    if request is None:
        return False
    connection.sent_at = time.perf_counter()
    connection.sock.sendall(request)
    return True


def _receive(connection: _Connection, figures: LoadFigures) -> bool | None:
    """Take what arrived. None: the answer is not complete; False: the connection is of no use any more."""
    chunk = connection.sock.recv(RECEIVE_BYTES)
    if not chunk:
        figures.failures["connection closed"] += 1
        return False
    received = connection.received = connection.received + chunk
    if not connection.wanted:
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        lowered = received[:end].lower()
        at = lowered.find(b"content-length:") + len(b"content-length:")
        connection.wanted = end + 4 + int(lowered[at:].split(b"\r\n", 1)[0])
    if len(received) < connection.wanted:
        return None
    if received[9:12] == b"200":
        figures.latencies_s.append(time.perf_counter() - connection.sent_at)
    else:
        figures.failures[received[9:12].decode() + " " + received[-120:].decode("utf-8", "replace")] += 1
    figures.answer_bytes += connection.wanted
    connection.received, connection.wanted = b"", 0
    return True
