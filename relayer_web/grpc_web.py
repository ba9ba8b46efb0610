"""gRPC-Web over HTTP/1.1: the same call in an HTTP body, for browsers (spec/relayer.md §1.8).

| request | answer |
|---|---|
| POST, Content-Type `application/grpc-web…` | 200, frames, the trailers as the last frame |
| the same with `grpc-web-text` | the same in base64 |
| OPTIONS that asks for `x-grpc-web` | 204: any origin may |

A call that ends badly says so in the headers, too, as calls without a message do.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

from pocket_protocol.grpc_frames import (
    COMPRESSED,
    PLAIN,
    TRAILERS,
    BrokenFrames,
    encode_frame,
    encode_status_text,
    encode_trailers,
    split_frames,
)
from relayer_web.admission import UnreadBody
from relayer_web.grpc_refusals import UNIMPLEMENTED, grpc_refusal
from relayer_web.grpc_relay import SEND_RELAY, GrpcAnswer, relay_metadata
from relayer_web.inbound import Answer, Inbound
from relayer_web.refusals import INVALID_ARGUMENT, RESOURCE_EXHAUSTED

CONTENT_TYPE: Final = "application/grpc-web"
TEXT_TYPE: Final = "application/grpc-web-text"
MAX_FRAMES: Final = 16  # a message and its trailers, and room for clients that cut them up
_EXPOSED: Final = "Grpc-Status, Grpc-Message"
_DAY_S: Final = 86400

Serve = Callable[[Inbound], GrpcAnswer]


class NoRequest(UnreadBody):
    """A body without exactly one plain message in it."""

    summary = "not one uncompressed gRPC-Web message"


def is_grpc_web(inbound: Inbound) -> bool:
    return inbound.headers.get("content-type", "").lower().startswith(CONTENT_TYPE)


def is_preflight(inbound: Inbound) -> bool:
    """Tell whether a browser asks if it may send a gRPC-Web call."""
    return (
        inbound.method == "OPTIONS"
        and "x-grpc-web" in inbound.headers.get("access-control-request-headers", "").lower()
    )


def preflight_answer(inbound: Inbound) -> Answer:
    """Return the permission: any origin, the headers asked for."""
    headers = [
        *_origin_headers(),
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", inbound.headers["access-control-request-headers"]),
        ("Access-Control-Max-Age", str(_DAY_S)),
    ]
    return Answer(204, headers, b"")


def serve_grpc_web(inbound: Inbound, serve: Serve) -> Answer:
    """Answer one call. Never raises."""
    is_text = inbound.headers["content-type"].lower().startswith(TEXT_TYPE)
    answer = _called(inbound, serve, is_text)
    status = [("Grpc-Status", str(answer.code)), ("Grpc-Message", encode_status_text(answer.text))]
    body = encode_frame(answer.message) if answer.message else b""
    body += encode_trailers(status)
    content_type = f"{TEXT_TYPE if is_text else CONTENT_TYPE}+proto"
    headers = [("Content-Type", content_type), *status, *_origin_headers()]
    return Answer(200, headers, base64.b64encode(body) if is_text else body)


def _called(inbound: Inbound, serve: Serve, is_text: bool) -> GrpcAnswer:
    if inbound.path.partition("?")[0] != SEND_RELAY:
        return GrpcAnswer(UNIMPLEMENTED, f"unknown method: {inbound.path.partition('?')[0]}")
    if inbound.oversize:
        return GrpcAnswer(RESOURCE_EXHAUSTED, "request body too large")
    try:
        message = _message(inbound.body, is_text)
    except NoRequest as error:
        return GrpcAnswer(INVALID_ARGUMENT, grpc_refusal(error, None, b"")[1])
    metadata = relay_metadata(inbound.headers.items())
    return serve(Inbound(message, metadata, inbound.peer, is_grpc=True))


def _message(body: bytes, is_text: bool) -> bytes:
    """The one message of a request; trailers after it do not matter. Raises `NoRequest`."""
    try:
        plain = base64.b64decode(body, validate=True) if is_text else body
        frames = split_frames(plain, (PLAIN, COMPRESSED, TRAILERS), MAX_FRAMES)
    except (binascii.Error, BrokenFrames) as error:
        raise NoRequest from error
    messages = [frame for frame in frames if frame.flag != TRAILERS]
    if len(messages) != 1 or messages[0].flag != PLAIN:
        raise NoRequest
    return messages[0].message


def _origin_headers() -> list[tuple[str, str]]:
    return [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED)]
