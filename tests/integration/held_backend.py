"""A backend whose connections a test holds in its own hands: it reads a request, then the test writes what it likes."""

from __future__ import annotations

import queue
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

WAIT_S = 15.0
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class HeldRequest:
    """One request and the connection it came on."""

    head: bytes
    body: bytes
    sock: socket.socket
    left: threading.Event

    def begin_stream(self, content_type: bytes = b"text/event-stream", headers: bytes = b"") -> None:
        """Send the head of a chunked answer."""
        self.sock.sendall(STREAM_HEAD % (content_type, headers))

    def say(self, data: bytes) -> None:
        """Send one chunk; of no bytes: the end."""
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def is_left(self) -> bool:
        """Wait until the other side ends the connection."""
        return self.left.wait(WAIT_S)


class HeldBackend:
    """Requests arrive in `requests`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._requests: queue.Queue[HeldRequest] = queue.Queue()
        threading.Thread(target=self._accept, daemon=True).start()

    def next(self) -> HeldRequest:
        """The next request."""
        return self._requests.get(timeout=WAIT_S)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._read, args=(sock,), daemon=True).start()

    def _read(self, sock: socket.socket) -> None:
        """Read the requests of one connection to its end."""
        left, received = threading.Event(), b""
        with suppress(OSError):
            while more := sock.recv(65536):
                received += more
                head, end, body = received.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if end and len(body) >= (int(length[1]) if length else 0):
                    self._requests.put(HeldRequest(head, body, sock, left))
                    received = b""
        left.set()


@contextmanager
def held_backend() -> Iterator[HeldBackend]:
    backend = HeldBackend()
    try:
        yield backend
    finally:
        backend.close()
