"""The connection to a WebSocket backend: its URL as configured, its handshake (spec/relayer.md §1.7.1)."""

from __future__ import annotations

import socket
import time
from typing import Final

from websockets.client import ClientProtocol
from websockets.protocol import CONNECTING, State
from websockets.uri import parse_uri

from pocket_protocol.errors import PocketError
from relayer_web.backends.contract import BackendFailed, BackendRequest, BackendTimeout
from relayer_web.backends.endpoint import Endpoint
from relayer_web.backends.http_client import HttpClient
from relayer_web.websocket.peer import LOG, RECEIVE_BYTES, Peer, Unfinished

DEFAULT_DIAL_S: Final = 10.0
_FRAMING: Final = frozenset({"accept-encoding", "sec-websocket-extensions", "sec-websocket-key"})


def dial(endpoint: Endpoint, identity: dict[str, str], dial_s: float, unfinished: Unfinished) -> Peer:
    """Connect to `endpoint` and do the handshake within `dial_s` (0: 10 s); its breaker is told.

    The configured headers go along, and `identity`. Raises `BackendFailed`, `BackendTimeout`, `ForbiddenRequest`.
    """
    request = BackendRequest("GET", "/", (), b"", identity=identity)
    headers = [pair for pair in endpoint.headers(request) if pair[0].lower() not in _FRAMING]
    try:
        peer = _dialled(endpoint, headers, time.monotonic() + (dial_s or DEFAULT_DIAL_S), unfinished)
    except BackendTimeout:
        raise
    except PocketError as error:
        endpoint.breaker.relay_failed(str(error))
        raise
    endpoint.breaker.relay_succeeded()
    return peer


def _dialled(
    endpoint: Endpoint, headers: list[tuple[str, str]], deadline: float, unfinished: Unfinished
) -> Peer:
    client = endpoint.client
    assert isinstance(client, HttpClient), "a WebSocket endpoint is dialled like an HTTP one"
    sock = client.connect(deadline)
    try:
        protocol = ClientProtocol(parse_uri(endpoint.url), max_size=unfinished.message_bytes, logger=LOG)
        request = protocol.connect()
        for name, value in headers:
            request.headers[name] = value
        protocol.send_request(request)
        events = _shake_hands(sock, protocol, deadline)
        sock.settimeout(None)
        return Peer(sock, protocol, unfinished, events)
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError):
            raise BackendTimeout(what="handshake") from None
        if isinstance(error, OSError):
            raise BackendFailed(what=f"handshake: {error.strerror or error}") from None
        raise


def _shake_hands(sock: socket.socket, protocol: ClientProtocol, deadline: float) -> list[object]:
    """Return what came with the end of the handshake: frames of a backend that speaks first."""
    sock.settimeout(_left_s(deadline))
    sock.sendall(b"".join(protocol.data_to_send()))
    while protocol.state is CONNECTING and protocol.handshake_exc is None:
        sock.settimeout(_left_s(deadline))
        data = sock.recv(RECEIVE_BYTES)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
    if protocol.state is State.CONNECTING or protocol.handshake_exc is not None:
        raise BackendFailed(what=f"handshake: {protocol.handshake_exc}")
    return list(protocol.events_received())


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
