"""A relay whose answer is streamed: signed batches while the backend speaks, one mined relay at its end (spec/relayer.md §1.6).

    <RelayResponse>||POKT_STREAM||<RelayResponse>||POKT_STREAM|| ...

Each batch is a signed response of its own. The mined relay's response is signed over all lines together; it is
acknowledged before the client sees the end of the stream. A stream that breaks off on our side or the backend's is
not mined and not charged, and its client can tell: the body does not end as HTTP says it must.

A client that leaves early has got what it was sent: once it was sent a whole batch, the relay is mined over the lines
of the batches that were sent. Else the last line would be all that a stream costs, and whoever has read it could go
without paying (ARCHITECTURE.md).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from gevent import GreenletExit

from pocket_protocol.envelope import HttpResponse, encode_http_response
from pocket_protocol.errors import PocketError, Refused, Unavailable
from relayer_web.backends.contract import BodyStream
from relayer_web.line_batches import LineBatches
from relayer_web.responses import SigningFailed

DELIMITER: Final = b"||POKT_STREAM||"
CLIENT_LOOK_S: Final = 1.0  # a client that left is noticed within this time
_OURS: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class ClientLeft(Refused):
    """The client left a stream before anything was sent."""

    reason = "client_disconnected"
    summary = "the client left"


class StreamCut(Unavailable):
    """The relayer had to end before the stream did."""

    reason = "stream_cut"
    summary = "the relayer is stopping"


def passed_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The backend's headers without those that frame its body or concern its own connection."""
    nominated = {
        part.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for part in value.split(",")
    }
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in _OURS | nominated and not name.lower().startswith("proxy-")
    ]


class RelayStream:
    """The chunks of one streamed answer. `close` frees everything, however it ended.

    `sign(payload)` gives the bytes of a signed response, `settle(payload_hash)` sees the relay into its stream,
    `on_end(error, batches, bytes)` is called once, with None after the relay was settled; `on_left` once, when a
    settled relay's client has not got everything. `held` is the reservation: closing it gives back what was not kept.
    """

    def __init__(
        self,
        body: BodyStream,
        status: int,
        *,
        sign: Callable[[bytes], bytes],
        settle: Callable[[bytes], None],
        on_end: Callable[[Exception | None, int, int], None],
        on_left: Callable[[], None],
        held: ExitStack,
    ) -> None:
        self._body = body
        self._status = status
        self._sign = sign
        self._settle = settle
        self._on_end = on_end
        self._on_left = on_left
        self._held = held
        self._hash = hashlib.sha256()
        self._sent_hash = b""  # of the lines of all batches sent whole
        self._is_settled = False
        self._is_sent = False  # all of it
        self._batches = 0
        self._bytes = 0
        self._ended = False
        self._chunks = self._run()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._chunks.close()
        if not self._ended:
            self._settle_for_who_left()
        if self._is_settled and not self._is_sent:
            self._is_sent = True
            self._on_left()
        self._body.close()
        self._held.close()

    def _run(self) -> Generator[bytes, None, None]:
        lines = LineBatches()
        yield b""  # the client gets the head at once
        try:
            while True:
                chunk = self._body.read(min(lines.due_in_s(time.monotonic()), CLIENT_LOOK_S))
                if chunk is None:
                    break
                for batch in lines.feed(chunk, time.monotonic()):
                    yield from self._sent(batch)
                if not lines.due_in_s(time.monotonic()):
                    yield from self._sent(lines.flush())
                elif not chunk:
                    yield b""
            last = self._last_batch(lines)
        except Exception as error:
            self._end(error)
            if isinstance(error, PocketError) and (rest := lines.flush()):
                yield self._batch(rest)
            raise ConnectionAbortedError("stream broken off") from error
        except GreenletExit:
            self._end(StreamCut())
            raise
        if last:
            yield last
        self._is_sent = True

    def _settle_for_who_left(self) -> None:
        """The client did not stay to the end: what it took of a stream is a relay."""
        error: Exception | None = None if self._sent_hash else ClientLeft()
        if error is None:
            try:
                self._settle(self._sent_hash)
            except Exception as failure:
                error = failure
        self._end(error)

    def _last_batch(self, lines: LineBatches) -> bytes:
        """Settle the relay, then give what is left to send."""
        rest = lines.finish(time.monotonic())
        last = self._batch(rest) if rest else b""
        if not self._bytes:
            raise SigningFailed(detail="empty stream")
        self._settle(self._hash.digest())
        self._end(None)
        return last

    def _sent(self, lines: bytes) -> Iterator[bytes]:
        yield self._batch(lines)
        self._sent_hash = self._hash.digest()

    def _batch(self, lines: bytes) -> bytes:
        self._hash.update(lines)
        self._batches += 1
        self._bytes += len(lines)
        return self._sign(encode_http_response(HttpResponse(self._status, (), lines))) + DELIMITER

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._is_settled = error is None
            self._on_end(error, self._batches, self._bytes)
