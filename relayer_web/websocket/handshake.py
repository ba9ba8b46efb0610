"""The upgrade request: which service it is for, and whether it is one (spec/relayer.md §1.7.1)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from pocket_protocol.errors import Unavailable
from relayer_web.inbound import Answer
from relayer_web.websocket.peer import LOG

SERVICE_HEADERS: Final = ("target-service-id", "pocket-service-id", "x-forwarded-host")
SWITCHING: Final = 101
BAD_REQUEST: Final = Answer(
    400,
    [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Sec-Websocket-Version", "13"),
        ("X-Content-Type-Options", "nosniff"),
    ],
    b"Bad Request\n",
)


class TooManyConnections(Unavailable):
    """This process has as many WebSockets as it may have."""

    reason = "too_many_connections"
    summary = "too many connections"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request to become a WebSocket. `head`: as received; `received`: what came after it.

    `headers`: names in lower case, first value of each. `peer`: the client's address without its port.
    """

    sock: socket.socket
    head: bytes
    received: bytes
    headers: Mapping[str, str]
    path: bytes
    peer: str


def asked_service(upgrade: Upgrade) -> str:
    """The service a connection is for: of the headers the first that says one, else the path's first segment."""
    for name in SERVICE_HEADERS:
        if value := upgrade.headers.get(name, "").strip():
            return value
    return unquote(upgrade.path.decode("latin-1")).lstrip("/").partition("/")[0]


def accept(upgrade: Upgrade, message_bytes: int) -> tuple[ServerProtocol, Response] | None:
    """Return the protocol and the answer that opens it; None for a malformed upgrade.

    `message_bytes` is the largest message. Any origin is accepted, no sub-protocol chosen, compression declined.
    """
    protocol = ServerProtocol(max_size=message_bytes, logger=LOG)
    protocol.receive_data(upgrade.head)
    request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
    if request is None:
        return None
    response = protocol.accept(request)
    if response.status_code != SWITCHING:
        return None
    del response.headers["Date"]
    return protocol, response
