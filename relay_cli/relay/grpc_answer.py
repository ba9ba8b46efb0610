"""What a relay to a gRPC service asks by default, and what of the answer is checked and shown (spec/relayer.md §8.2, §8.3)."""

from __future__ import annotations

from typing import Final

from pocket_protocol.canonical import Undecodable, read_varint
from pocket_protocol.envelope import HttpRequest, HttpResponse
from pocket_protocol.grpc_frames import PLAIN, BrokenFrames, decode_status_text, encode_frame, split_frames
from relay_cli.relay.outcome import BackendError

BLOCK_HEIGHT: Final = "/demo.DemoService/GetBlockHeight"
_HEIGHT_TAG: Final = 1 << 3


def native_request(path: str) -> HttpRequest:
    """Return the call of a method with an empty message."""
    headers = (("Content-Type", ("application/grpc",)), ("Te", ("trailers",)))
    return HttpRequest("POST", path, headers, encode_frame(b""))


def check_grpc_answer(response: HttpResponse) -> None:
    """Raise `BackendError` unless a call ended well with at least one message."""
    fields = {name.lower(): values[0] for name, values in response.headers if values}
    status = fields.get("grpc-status")
    if status is None:
        raise BackendError("the service's answer has no Grpc-Status")
    if status != "0":
        raise BackendError(f"gRPC status {status}: {decode_status_text(fields.get('grpc-message', ''))}")
    try:
        frames = split_frames(response.body, (PLAIN,))
    except BrokenFrames as error:
        raise BackendError(f"the service's answer is broken: {error}") from error
    if not frames:
        raise BackendError("the service's answer has no message")


def block_height(response: HttpResponse) -> int | None:
    """Return the height in an answer of GetBlockHeight; None when it is no such answer."""
    try:
        message = split_frames(response.body, (PLAIN,))[0].message
        if message[:1] != bytes((_HEIGHT_TAG,)):
            return None
        return read_varint(message, 1)[0]
    except (BrokenFrames, Undecodable, IndexError):
        return None
