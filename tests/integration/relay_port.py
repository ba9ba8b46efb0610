"""A raw client of the relay port, and the settings of a relayer whose service answers with what it was asked."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.relayer_process import RelayerProcess

BODY_LIMIT = 100_000
SETTINGS = (
    f"default_max_body_size_bytes: {BODY_LIMIT}\n"
    "services:\n"
    "  svc: {pool_profile: high, backends: {jsonrpc: {url: 'http://127.0.0.1:9'}}}\n"
)


@dataclass
class Reply:
    """One answer as it was on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class Client:
    """A raw connection that reads answers one at a time."""

    def __init__(self, relayer: RelayerProcess, port: int = 0) -> None:
        self.sock = relayer.connect(port)
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, data: bytes) -> Reply:
        self.send(data)
        return self.reply()

    def reply(self, head_only: bool = False) -> Reply:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        length = 0 if head_only else int(headers.get("content-length", 0))
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Reply(int(lines[0].split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Wait for the end; False when something else comes or nothing within the socket's time."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _more(self) -> None:
        chunk = self.sock.recv(65536)
        assert chunk, f"the connection ended after {self.buffer!r}"
        self.buffer += chunk


def relay(body: bytes = b"abc", extra: bytes = b"", method: bytes = b"POST", path: bytes = b"/") -> bytes:
    head = b"%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n" % (method, path, len(body), extra)
    return head + body


def chunked(body: bytes, extra: bytes = b"") -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%s\r\n" % extra
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
