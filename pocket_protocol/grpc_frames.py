"""gRPC messages as they stand in a body: a flag byte, a big-endian length, the message (spec/relayer.md §1.8, §8.2).

A relay to a gRPC service carries such frames in its inner request and its inner response; gRPC-Web carries them in
HTTP bodies, with the trailers in a last frame whose flag has the top bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from pocket_protocol.errors import Malformed

PLAIN: Final = 0
COMPRESSED: Final = 1
TRAILERS: Final = 0x80
_PREFIX_BYTES: Final = 5
_STATUS_TEXT_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class BrokenFrames(Malformed):
    """Bytes that are not a whole number of gRPC frames."""

    reason = "broken_grpc_frames"
    summary = "not a sequence of gRPC frames"


class Frame(NamedTuple):
    """One frame. `flag`: PLAIN, COMPRESSED or TRAILERS; the message is as it was on the wire."""

    flag: int
    message: bytes


def encode_frame(message: bytes, flag: int = PLAIN) -> bytes:
    """Return `message` (less than 2**32 bytes) with its prefix."""
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def split_frames(
    body: bytes, flags: Iterable[int] = (PLAIN, COMPRESSED), most: int | None = None
) -> list[Frame]:
    """Return the frames of a body, none for an empty one. Raises `BrokenFrames`, also for another flag.

    A body with more than `most` frames is refused at the first that is too many: empty ones cost their sender little.
    """
    allowed = frozenset(flags)
    frames: list[Frame] = []
    position = 0
    while position < len(body):
        if len(frames) == most:
            raise BrokenFrames("more frames than expected", most=most)
        start = position + _PREFIX_BYTES
        end = start + int.from_bytes(body[position + 1 : start], "big")
        if end > len(body) or start > len(body):
            raise BrokenFrames("a gRPC frame is cut off")
        if body[position] not in allowed:
            raise BrokenFrames(flag=body[position])
        frames.append(Frame(body[position], body[start:end]))
        position = end
    return frames


def encode_trailers(trailers: Sequence[tuple[str, str]]) -> bytes:
    """Return the frame that ends a gRPC-Web body; names are written in lower case."""
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in trailers)
    return encode_frame(lines.encode("latin-1", "replace"), TRAILERS)


def encode_status_text(text: str) -> str:
    """Return a status message as the header `grpc-message` carries it: UTF-8, percent-encoded."""
    return quote(text, safe=_STATUS_TEXT_SAFE, errors="replace")


def decode_status_text(text: str) -> str:
    """Return the status message that `grpc-message` carries; what is no percent-encoding stays as it is."""
    return unquote_to_bytes(text).decode("utf-8", "replace")
