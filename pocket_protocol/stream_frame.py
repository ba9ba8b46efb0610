"""Frames of a streaming answer: `<RelayResponse bytes>||POKT_STREAM||`, again and again (spec/relayer.md §1.6).

Every frame ends in the delimiter, the last one too. The delimiter is not escaped inside a frame; that
is the network's format, and a frame that holds it comes out of the decoder in pieces.
"""

from __future__ import annotations

from pocket_protocol.errors import Malformed

DELIMITER = b"||POKT_STREAM||"
MAX_FRAME_BYTES = 104_857_600  # what a gateway reads of one answer: 100 MiB


class FrameTooLarge(Malformed):
    """A frame that goes on without its delimiter."""

    reason = "frame_too_large"
    summary = "stream frame too large"


class FrameCutOff(Malformed):
    """A stream that ends inside a frame."""

    reason = "frame_cut_off"
    summary = "stream ended inside a frame"


def encode_frame(response_bytes: bytes) -> bytes:
    """Return one frame of a streaming answer."""
    return response_bytes + DELIMITER


class FrameDecoder:
    """Takes the bytes of a streaming answer as they come and gives its frames, in linear time."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._pending = bytearray()

    def feed(self, received: bytes) -> list[bytes]:
        """Return the frames completed by `received`, delimiters removed. Raises `FrameTooLarge`."""
        searched = max(0, len(self._pending) - len(DELIMITER) + 1)
        self._pending += received
        frames = []
        start = 0
        while (end := self._pending.find(DELIMITER, max(start, searched))) >= 0:
            self._require_size(end - start)
            frames.append(bytes(self._pending[start:end]))
            start = end + len(DELIMITER)
        del self._pending[:start]
        self._require_size(len(self._pending) - len(DELIMITER) + 1)
        return frames

    def finish(self) -> None:
        """The answer is over. Raises `FrameCutOff` when bytes are left without a delimiter."""
        if self._pending:
            raise FrameCutOff(length=len(self._pending))

    def _require_size(self, size: int) -> None:
        if size > self._max_frame_bytes:
            self._pending.clear()
            raise FrameTooLarge(size=size, limit=self._max_frame_bytes)
