"""Lines of a streamed body, gathered into batches that are signed one by one (spec/relayer.md §1.6).

A batch goes out at 100 lines, at 100 KiB, 100 ms after its first line came, and at the end of the stream. Lines end
in `\\n` whatever they ended in before; the last one gains its end.
"""

from __future__ import annotations

from typing import Final

from relayer_web.backends.contract import BackendFailed

MAX_LINES: Final = 100
MAX_BATCH_BYTES: Final = 100 * 1024
MAX_LINE_BYTES: Final = 256 * 1024
MAX_AGE_S: Final = 0.1


class LineTooLong(BackendFailed):
    """A line no client of streams could read; the stream ends with it."""

    reason = "stream_line_too_long"
    summary = "a line of the stream is too long"


class LineBatches:
    """Takes a body as it comes, gives batches of whole lines. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._opened_at = 0.0

    def feed(self, chunk: bytes, now: float) -> list[bytes]:
        """Take `chunk`; return the batches that are full. Raises `LineTooLong`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise LineTooLong
        full = []
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise LineTooLong
            self._add(line, now)
            if len(self._lines) >= MAX_LINES or self._size >= MAX_BATCH_BYTES:
                full.append(self.flush())
        return full

    def due_in_s(self, now: float) -> float:
        """Time until the open batch has to go out; infinite when there is none."""
        return max(0.0, self._opened_at + MAX_AGE_S - now) if self._lines else float("inf")

    def flush(self) -> bytes:
        """Return the open batch, b"" when there is none."""
        batch = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        return batch

    def finish(self, now: float) -> bytes:
        """The body is complete: return what is left of it."""
        if self._rest:
            self._add(self._rest, now)
            self._rest = b""
        return self.flush()

    def _add(self, line: bytes, now: float) -> None:
        if not self._lines:
            self._opened_at = now
        line = line.removesuffix(b"\r") + b"\n"
        self._lines.append(line)
        self._size += len(line)
