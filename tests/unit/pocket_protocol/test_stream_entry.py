"""The stream entry: its bytes, its defaults, its refusals. Real entries are in `ENTRY`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_protocol.errors import Malformed
from pocket_protocol.stream_entry import StreamEntry, decode_stream_entry, encode_stream_entry
from pocket_protocol.types import (
    ApplicationAddress,
    ComputeUnits,
    Height,
    RelayHash,
    ServiceId,
    SessionId,
    SupplierAddress,
)
from pocket_protocol.wire import Undecodable

EMPTY = StreamEntry(
    RelayHash(b""),
    b"",
    ComputeUnits(0),
    SessionId(""),
    Height(0),
    SupplierAddress(""),
    ServiceId(""),
    ApplicationAddress(""),
    Height(0),
    0,
    Height(0),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
signed = st.integers(-(2**63), 2**63 - 1)
entries = st.builds(
    StreamEntry,
    st.binary(max_size=32),
    st.binary(max_size=200),
    st.integers(0, 2**64 - 1),
    texts,
    signed,
    texts,
    texts,
    texts,
    signed,
    signed,
    signed,
)


@given(entries)
def test_entries_return(entry: StreamEntry) -> None:
    assert decode_stream_entry(encode_stream_entry(entry)) == entry


def test_fields_stand_in_the_reference_order_and_zeros_are_left_out() -> None:
    entry = StreamEntry(
        RelayHash(b"\xaa"),
        b"\xbb",
        ComputeUnits(300),
        SessionId("s"),
        Height(10),
        SupplierAddress("o"),
        ServiceId("v"),
        ApplicationAddress("a"),
        Height(9),
        7,
        Height(1),
    )
    expected = "0a01aa" "1201bb" "18ac02" "220173" "280a" "32016f" "3a0176" "420161" "4809" "5007" "5801"  # fmt: skip
    assert encode_stream_entry(entry).hex() == expected
    assert encode_stream_entry(EMPTY) == b""
    assert decode_stream_entry(b"") == EMPTY


@pytest.mark.parametrize("data", ["0a05aa", "0801", "1a0101", "0001", "2202fffe", "0c"])
def test_entries_that_are_none_are_refused(data: str) -> None:
    with pytest.raises(Undecodable):
        decode_stream_entry(bytes.fromhex(data))


def test_fields_of_a_later_writer_are_ignored() -> None:
    assert decode_stream_entry(bytes.fromhex("62017a" "220173")).session_id == "s"  # fmt: skip


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_an_entry_or_a_typed_refusal(data: bytes) -> None:
    try:
        decode_stream_entry(data)
    except Malformed:
        pass
