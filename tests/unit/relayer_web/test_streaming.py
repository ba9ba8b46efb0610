"""What becomes of a streamed relay, by how it ends (spec/relayer.md §1.6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice

import pytest
from gevent import GreenletExit

from relayer_web.backends.contract import BackendFailed
from relayer_web.publisher import PublishFailed
from relayer_web.streaming import DELIMITER, ClientLeft, RelayStream, StreamCut

Said = bytes | BaseException | None
BURST = b"".join(b"line %d\n" % number for number in range(100))  # one whole batch


class Body:
    """A backend that says these things, one a read."""

    def __init__(self, *said: Said) -> None:
        self._said: Iterator[Said] = iter(said)
        self.is_closed = False

    def read(self, wait_s: float) -> bytes | None:
        said = next(self._said)
        if isinstance(said, BaseException):
            raise said
        return said

    def close(self) -> None:
        self.is_closed = True

    def on_close(self, call: Callable[[str], None]) -> None:
        pass


class Told:
    """A stream of those things, and all that is heard of it."""

    def __init__(self, *said: Said, settle_error: Exception | None = None) -> None:
        self.settled: list[bytes] = []
        self.ends: list[Exception | None] = []
        self.left = 0
        self.released = 0
        self._settle_error = settle_error
        self.body = Body(*said)
        held = ExitStack()
        held.callback(self._release)
        self.stream = RelayStream(
            self.body,
            200,
            sign=lambda payload: payload,
            settle=self._settle,
            on_end=lambda error, batches, size: self.ends.append(error),
            on_left=self._leave,
            held=held,
        )

    def take(self, count: int) -> list[bytes]:
        """The next chunks, all but the last known to be sent."""
        return list(islice(self.stream, count))

    def _settle(self, payload_hash: bytes) -> None:
        if self._settle_error is not None:
            raise self._settle_error
        self.settled.append(payload_hash)

    def _leave(self) -> None:
        self.left += 1

    def _release(self) -> None:
        self.released += 1


def test_a_stream_to_its_end_is_settled_once_over_all_lines() -> None:
    told = Told(BURST, b"more\n", None)
    *_, last = list(told.stream)
    assert last.endswith(DELIMITER)
    told.stream.close()
    told.stream.close()
    assert told.settled == [hashlib.sha256(BURST + b"more\n").digest()]
    assert (told.ends, told.left, told.released, told.body.is_closed) == ([None], 0, 1, True)


def test_who_leaves_pays_for_the_batches_that_were_sent_whole() -> None:
    told = Told(BURST + BURST, None)
    told.take(3)  # the head, a batch, and one that could not be sent
    told.stream.close()
    told.stream.close()
    assert told.settled == [hashlib.sha256(BURST).digest()]
    assert (told.ends, told.left, told.released) == ([None], 1, 1)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_who_was_sent_nothing_pays_nothing(taken: int) -> None:
    told = Told(BURST, None)
    told.take(taken)
    told.stream.close()
    (end,) = told.ends
    assert isinstance(end, ClientLeft)
    assert (told.settled, told.left, told.released) == ([], 0, 1)


def test_who_leaves_before_the_last_batch_is_counted() -> None:
    told = Told(b"only\n", None)
    told.take(2)
    told.stream.close()
    assert (len(told.settled), told.ends, told.left) == (1, [None], 1)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [(BackendFailed(what="reset"), ConnectionAbortedError), (GreenletExit(), GreenletExit)],
)
def test_what_breaks_off_on_our_side_is_given_back(fault: BaseException, seen: type[BaseException]) -> None:
    told = Told(BURST, b"half", fault)
    with pytest.raises(seen):
        list(told.stream)
    told.stream.close()
    (end,) = told.ends
    assert isinstance(end, BackendFailed | StreamCut)
    assert (told.settled, told.left, told.released) == ([], 0, 1)


def test_a_store_that_fails_when_the_client_leaves_is_told() -> None:
    failure = PublishFailed(may_exist=False)
    told = Told(BURST + BURST, None, settle_error=failure)
    told.take(3)
    told.stream.close()
    assert (told.ends, told.left, told.released, told.body.is_closed) == ([failure], 0, 1, True)
