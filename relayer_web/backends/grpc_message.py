"""An inner request as a gRPC call, and a gRPC answer as an inner response (spec/relayer.md §1.8).

The gateway's frames become messages and the backend's messages frames again, byte for byte, whatever the method.
What the library sends itself (content type, encodings, time-out, user agent) is not taken from the sender.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pocket_protocol.grpc_frames import COMPRESSED, BrokenFrames, Frame, encode_status_text, split_frames
from relayer_web.backends.contract import ForbiddenRequest
from relayer_web.backends.http_client import OutgoingRequest

CONTENT_TYPE: Final = "application/grpc"
BINARY_SUFFIX: Final = "-bin"
_OWN_NAMES: Final = frozenset({"content-type", "user-agent", "accept-encoding"})
_OWN_PREFIX: Final = "grpc-"
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]*")
_WBITS: Final = {"gzip": 31, "deflate": 15}

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """A call: the method's full path, metadata, and the messages to send."""

    path: str
    metadata: Metadata
    messages: Sequence[bytes]


def grpc_call(request: OutgoingRequest, max_message_bytes: int) -> GrpcCall:
    """Read an inner HTTP request as a gRPC call. Raises `ForbiddenRequest` for one that is none."""
    headers = {name.lower(): value for name, value in request.headers}
    if request.method != "POST" or not headers.get("content-type", "").lower().startswith(CONTENT_TYPE):
        raise ForbiddenRequest(what="not a gRPC request")
    try:
        frames = split_frames(request.body)
    except BrokenFrames as error:
        raise ForbiddenRequest(what="not gRPC frames") from error
    encoding = headers.get("grpc-encoding", "identity")
    messages = [_plain(frame, encoding, max_message_bytes) for frame in frames]
    return GrpcCall(request.target, _metadata(request.headers), messages)


def response_headers(
    initial: Iterable[tuple[str, str | bytes]],
    trailing: Iterable[tuple[str, str | bytes]],
    status: int,
    text: str,
) -> list[tuple[str, str]]:
    """Return headers and trailers of an answer as one list, the trailers last."""
    headers = [("Content-Type", CONTENT_TYPE)]
    headers += [(name, _header_value(value)) for name, value in (*initial, *trailing)]
    return [*headers, ("Grpc-Status", str(status)), ("Grpc-Message", encode_status_text(text))]


def _metadata(headers: Sequence[tuple[str, str]]) -> Metadata:
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        key = name.lower()
        if key in _OWN_NAMES or key.startswith(_OWN_PREFIX):
            continue
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ForbiddenRequest(what="header")
        metadata.append((key, _binary(value) if key.endswith(BINARY_SUFFIX) else value.strip()))
    return metadata


def _binary(value: str) -> bytes:
    try:
        return base64.b64decode(
            value.strip().rstrip("=") + "=" * (-len(value.strip().rstrip("=")) % 4), validate=True
        )
    except binascii.Error as error:
        raise ForbiddenRequest(what="header") from error


def _header_value(value: str | bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value


def _plain(frame: Frame, encoding: str, max_bytes: int) -> bytes:
    """The message of a frame; the library compresses nothing, so what came compressed is unpacked."""
    if frame.flag != COMPRESSED:
        return frame.message
    wbits = _WBITS.get(encoding.strip().lower())
    if wbits is None:
        raise ForbiddenRequest(what="grpc-encoding")
    stream = zlib.decompressobj(wbits=wbits)
    try:
        plain = stream.decompress(frame.message, max_bytes + 1)
    except zlib.error as error:
        raise ForbiddenRequest(what="compressed message") from error
    if not stream.eof or len(plain) > max_bytes:
        raise ForbiddenRequest(what="compressed message")
    return plain
