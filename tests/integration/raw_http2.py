"""HTTP/2 frames and gRPC calls made by hand, so that they may be wrong."""

from __future__ import annotations

from collections.abc import Mapping

from pocket_protocol.grpc_frames import encode_frame
from relayer_web.grpc_relay import SEND_RELAY

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header_block(fields: Mapping[str | bytes, str | bytes]) -> bytes:
    """HPACK in its plainest form: literal names and values, nothing indexed, nothing compressed."""
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields.items())


def _literal(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return bytes((len(raw),)) + raw


def call(
    stream: int, message: bytes, path: str = SEND_RELAY, more: Mapping[str | bytes, str | bytes] | None = None
) -> bytes:
    """One gRPC call with its message; `more` are header fields beside the usual ones."""
    fields: dict[str | bytes, str | bytes] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "a",
        "content-type": "application/grpc",
        "te": "trailers",
        "rpc-type": "3",
        **(more or {}),
    }
    return frame(HEADERS, END_HEADERS, stream, header_block(fields)) + frame(
        DATA, END_STREAM, stream, encode_frame(message)
    )
