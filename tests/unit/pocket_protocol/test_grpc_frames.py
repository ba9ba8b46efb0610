"""gRPC frames: round trips, known bytes, and every way to be broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.errors import Malformed
from pocket_protocol.grpc_frames import (
    COMPRESSED,
    PLAIN,
    TRAILERS,
    BrokenFrames,
    Frame,
    decode_status_text,
    encode_frame,
    encode_status_text,
    encode_trailers,
    split_frames,
)

frames = st.lists(st.tuples(st.sampled_from((PLAIN, COMPRESSED)), st.binary(max_size=50)), max_size=5)


def test_known_bytes() -> None:
    """The recorded answer of GetBlockHeight, and the request with an empty message."""
    assert encode_frame(b"\x08\x01") == bytes.fromhex("00000000020801")
    assert split_frames(bytes.fromhex("0000000000")) == [Frame(PLAIN, b"")]
    assert split_frames(b"") == []


@settings(max_examples=60)
@given(frames)
def test_frames_come_back(listed: list[tuple[int, bytes]]) -> None:
    body = b"".join(encode_frame(message, flag) for flag, message in listed)
    assert split_frames(body) == listed


@settings(max_examples=60)
@given(st.binary(max_size=40))
def test_any_bytes_are_frames_or_refused(body: bytes) -> None:
    try:
        found = split_frames(body)
    except Malformed as error:
        assert isinstance(error, BrokenFrames)
    else:
        assert b"".join(encode_frame(message, flag) for flag, message in found) == body


@pytest.mark.parametrize(
    "body", ["00", "00000000", "0000000001", "0000000000ff", "02000000016a", "8000000000"]
)
def test_broken_frames(body: str) -> None:
    with pytest.raises(BrokenFrames):
        split_frames(bytes.fromhex(body))


def test_no_more_frames_are_read_than_asked_for() -> None:
    body = encode_frame(b"a") * 3
    assert len(split_frames(body, most=3)) == 3
    with pytest.raises(BrokenFrames, match="more frames"):
        split_frames(body, most=2)
    with pytest.raises(BrokenFrames, match="more frames"):
        split_frames(encode_frame(b"") * 2 + b"broken", most=1)  # the rest is not looked at


def test_trailers_end_a_web_body() -> None:
    body = encode_frame(b"x") + encode_trailers([("Grpc-Status", "0"), ("grpc-message", "")])
    assert split_frames(body, (PLAIN, TRAILERS))[1] == Frame(
        TRAILERS, b"grpc-status: 0\r\ngrpc-message: \r\n"
    )


def test_known_status_texts() -> None:
    assert encode_status_text("unknown method: /foo.Bar/Baz") == "unknown method: /foo.Bar/Baz"
    assert encode_status_text("50 %\n\u00e9") == "50 %25%0A%C3%A9"
    assert decode_status_text("down%20now %") == "down now %"


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_status_texts_come_back(text: str) -> None:
    encoded = encode_status_text(text)
    assert encoded.isascii() and encoded.isprintable()
    assert decode_status_text(encoded) == text
