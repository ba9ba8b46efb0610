"""What shares the relay port with plain HTTP relays and is not one (spec/relayer.md §1.2).

Each is recognised before a relay is seen in it, and refused clearly where this process does not serve it.

| what | recognised by | answer |
|---|---|---|
| HTTP/2 (gRPC) | the connection preface | carried to a gRPC process (splice); where none takes it: SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED and a text |
| WebSocket | `Upgrade: websocket` | handed to a bridge (websocket/) |
| gRPC-Web | Content-Type `application/grpc-web…` | the front end's own (grpc_web) |
| gRPC over HTTP/1.1 | any other Content-Type `application/grpc…` | 505 `gRPC requires HTTP/2` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from relayer_web.inbound import Answer

HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP_1_1_REQUIRED: Final = 0xD
_GOAWAY_TEXT: Final = b"HTTP/2 and gRPC are not served on this connection"
HTTP2_REFUSAL: Final = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # SETTINGS, empty
    + (8 + len(_GOAWAY_TEXT)).to_bytes(3, "big")
    + b"\x07\x00\x00\x00\x00\x00"  # GOAWAY
    + (0).to_bytes(4, "big")  # last stream
    + _HTTP_1_1_REQUIRED.to_bytes(4, "big")
    + _GOAWAY_TEXT
)


def may_be_http2(buffer: bytes) -> bool:
    """Tell whether a connection's first bytes are the preface or a beginning of it."""
    return HTTP2_PREFACE.startswith(buffer[: len(HTTP2_PREFACE)])


def is_websocket(headers: Mapping[str, str]) -> bool:
    """Tell whether a request wants to become a WebSocket."""
    return "upgrade" in headers and "websocket" in headers["upgrade"].lower()


def foreign_protocol_answer(headers: Mapping[str, str]) -> Answer | None:
    """Return the refusal of a request that is no plain HTTP relay, None for one that may be."""
    content_type = headers.get("content-type", "").lower()
    if content_type.startswith("application/grpc") and not content_type.startswith("application/grpc-web"):
        return Answer(505, [("Content-Type", "text/plain")], b"gRPC requires HTTP/2\n")
    return None
