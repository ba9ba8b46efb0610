"""What clients of a running relayer start from, by transport. No relay among it is soundly signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from websockets.frames import Opcode

from pocket_protocol import relay as relay_protocol
from pocket_protocol.grpc_frames import encode_frame
from relayer_web.grpc_relay import SEND_RELAY
from relayer_web.handover import HTTP2_PREFACE
from tests.fuzz.corpus import recorded_files
from tests.fuzz.targets.http import WORDS as HTTP_WORDS
from tests.fuzz.targets.messages import PROTOBUF_WORDS
from tests.fuzz.targets.websocket import WORDS as FRAME_WORDS
from tests.fuzz.targets.websocket import client_frame
from tests.integration.bad_relays import flip
from tests.integration.raw_http import post
from tests.integration.raw_http2 import (
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    RESET,
    SETTINGS,
    WINDOW,
    call,
    frame,
    header_block,
)
from tests.integration.sender import Sender, changed

SERVICE: Final = "develop-http"
UPGRADE = (
    b"GET /%b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n" % SERVICE.encode()
)
MAX_RECORDED = 8192


def forged(sender: Sender) -> bytes:
    """A relay that is sound but for one bit of its ring signature: refused by the last of the checks."""
    return relay_protocol.encode_request(changed(sender.request(SERVICE), flip(80)))


def http_seeds(sender: Sender) -> list[bytes]:
    body = forged(sender)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    web = encode_frame(body)
    return [
        post(body, "Rpc-Type: 3"),
        post(body, "Rpc-Type: 3") * 3,
        post(body, "Rpc-Type: 4", method="PUT", target="/a/b?c=d"),
        post(b""),
        post(b"", method="GET", target="/health") + post(body),
        post(b"", method="GET", target=f"/ready/{SERVICE}"),
        post(web, "Content-Type: application/grpc-web+proto", target=SEND_RELAY),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked + post(body),
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body,
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2,
        *recorded_files("gateway/http-path-to-relayer.bin", MAX_RECORDED),
    ]


def websocket_seeds(sender: Sender) -> list[bytes]:
    relay = forged(sender)
    streams = [
        client_frame(relay),
        client_frame(relay, Opcode.BINARY) * 2,
        client_frame(relay[:70], fin=False)
        + client_frame(b"", Opcode.PING)
        + client_frame(relay[70:], Opcode.CONT),
        client_frame(b"", Opcode.PING) * 100,
        client_frame(b"\x03\xe8bye", Opcode.CLOSE),
        client_frame(b"\xff\xfe"),
        b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4),
        b"\x01\x80" + bytes(4) + b"\x80\x80" + bytes(4),
        b"",
    ]
    recorded = recorded_files("gateway/ws-*-path-to-relayer.bin", MAX_RECORDED)
    return [UPGRADE + stream for stream in streams] + list(recorded)


def http2_seeds(sender: Sender) -> list[bytes]:
    relay = forged(sender)
    hello = HTTP2_PREFACE + frame(SETTINGS, 0, 0, b"")
    window = frame(WINDOW, 0, 0, (1 << 20).to_bytes(4, "big"))
    headers = header_block({":method": "POST", ":scheme": "http", ":path": SEND_RELAY, ":authority": "a"})
    return [
        hello + call(1, relay),
        hello + window + call(1, relay) + call(3, b"\xff") + call(5, b""),
        hello + call(1, relay, "/pocket.service.RelayService/Nothing"),
        hello + frame(PING, 0, 0, bytes(8)) * 20,
        hello + frame(HEADERS, 0, 1, headers[:30]) + frame(CONTINUATION, END_HEADERS, 1, headers[30:]),
        hello + call(1, relay) + frame(RESET, 0, 1, b"\0\0\0\x08"),
        hello + b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, headers) for n in range(50)),
        hello + frame(GOAWAY, 0, 0, bytes(8)),
        hello + frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff\0\5\0\0\x40\0"),
        HTTP2_PREFACE[:20],
        HTTP2_PREFACE + post(relay),
    ]


@dataclass(frozen=True, slots=True)
class Transport:
    """What clients of a transport start from, and the words that are spliced in."""

    seeds: Callable[[Sender], list[bytes]]
    words: tuple[bytes, ...]


HTTP2_WORDS = (
    *PROTOBUF_WORDS,
    HTTP2_PREFACE,
    *(frame(kind, 0, 1, b"") for kind in range(10)),
    b"\x82",
    b"\x3f\xe1\x1f",
)
TRANSPORTS: Final[dict[str, Transport]] = {
    "live-http": Transport(http_seeds, HTTP_WORDS),
    "live-websocket": Transport(websocket_seeds, (*HTTP_WORDS, *FRAME_WORDS)),
    "live-http2": Transport(http2_seeds, HTTP2_WORDS),
}
