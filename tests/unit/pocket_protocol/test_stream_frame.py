"""Frames of streaming answers, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_protocol.stream_frame import DELIMITER, FrameCutOff, FrameDecoder, FrameTooLarge, encode_frame

bodies = st.lists(
    st.binary(max_size=40).filter(lambda body: DELIMITER not in body + DELIMITER[:-1]), max_size=6
)


@given(bodies, st.lists(st.integers(0, 300), max_size=8))
def test_frames_return_from_any_cuts(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode_frame, frames))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = FrameDecoder()
    received = [
        frame for start, end in itertools.pairwise(edges) for frame in decoder.feed(stream[start:end])
    ]
    decoder.finish()
    assert received == stream.split(DELIMITER)[:-1]


def test_byte_by_byte() -> None:
    decoder = FrameDecoder()
    stream = encode_frame(b"one|") + encode_frame(b"") + encode_frame(b"||POKT_")
    assert [frame for byte in stream for frame in decoder.feed(bytes((byte,)))] == [
        b"one|",
        b"",
        b"||POKT_",
    ]


def test_a_stream_cut_inside_a_frame_is_told() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encode_frame(b"whole") + b"half") == [b"whole"]
    with pytest.raises(FrameCutOff):
        decoder.finish()


def test_an_endless_frame_is_refused_and_a_frame_of_the_limit_is_not() -> None:
    assert FrameDecoder(100).feed(encode_frame(b"x" * 100)) == [b"x" * 100]
    with pytest.raises(FrameTooLarge):
        FrameDecoder(100).feed(encode_frame(b"x" * 101))
    decoder = FrameDecoder(100)
    with pytest.raises(FrameTooLarge):
        for _ in range(200):
            decoder.feed(b"x")
