"""Lines of a stream become batches (spec/relayer.md §1.6)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer_web.line_batches import MAX_AGE_S, MAX_BATCH_BYTES, MAX_LINE_BYTES, LineBatches, LineTooLong


def all_batches(chunks: list[bytes]) -> list[bytes]:
    lines = LineBatches()
    batches = [batch for chunk in chunks for batch in lines.feed(chunk, 0.0)]
    return [*batches, lines.finish(0.0)]


def test_250_lines_in_one_burst() -> None:
    """As measured at the reference: 100, 100, 50."""
    batches = all_batches([b"".join(b'{"n":%d}\n' % n for n in range(250))])
    assert [batch.count(b"\n") for batch in batches] == [100, 100, 50]


def test_a_batch_of_100_kib_goes_out() -> None:
    line = b"x" * 1023 + b"\n"
    lines = LineBatches()
    assert lines.feed(line * 99, 0.0) == []
    assert lines.feed(line, 0.0) == [line * 100]
    assert [len(batch) for batch in LineBatches().feed(b"y" * (MAX_BATCH_BYTES - 1) + b"\nz\n", 0.0)] == [
        MAX_BATCH_BYTES
    ]


def test_line_ends_are_made_equal_and_the_last_line_gains_one() -> None:
    assert all_batches([b"a\r\nb\n\r\n\nc"]) == [b"a\nb\n\n\nc\n"]
    assert all_batches([b"a\r", b"\nb\r"]) == [b"a\nb\n"]
    assert all_batches([b""]) == [b""]


def test_the_open_batch_is_due_100_ms_after_its_first_line() -> None:
    lines = LineBatches()
    assert lines.due_in_s(5.0) == float("inf")
    lines.feed(b"unfinished", 5.0)
    assert lines.due_in_s(5.0) == float("inf")
    lines.feed(b"\n", 6.0)
    lines.feed(b"another\n", 6.05)
    assert lines.due_in_s(6.05) == pytest.approx(MAX_AGE_S - 0.05)
    assert lines.due_in_s(7.0) == 0.0
    assert lines.flush() == b"unfinished\nanother\n"
    assert lines.due_in_s(7.0) == float("inf")


@pytest.mark.parametrize("chunks", [[b"x" * (MAX_LINE_BYTES + 1)], [b"x" * (MAX_LINE_BYTES + 1) + b"\n"]])
def test_a_line_over_256_kib_ends_the_stream(chunks: list[bytes]) -> None:
    with pytest.raises(LineTooLong):
        all_batches(chunks)


def test_a_line_of_256_kib_is_served() -> None:
    line = b"x" * MAX_LINE_BYTES
    assert b"".join(all_batches([line[:1000], line[1000:], b"\n"])) == line + b"\n"


@given(st.lists(st.binary(max_size=60)))
@settings(max_examples=50)
def test_however_a_body_is_cut_its_lines_are_the_same(chunks: list[bytes]) -> None:
    body = b"".join(chunks)
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    expected = b"".join(line.removesuffix(b"\r") + b"\n" for line in lines)
    assert b"".join(all_batches(chunks)) == expected
