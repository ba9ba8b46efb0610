"""The session grid, ids, headers and the first look at a request's heights."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.pb.pocket import session_pb2
from pocket_protocol.session import (
    HeaderMismatch,
    ImplausibleHeights,
    check_header,
    check_heights_plausible,
    session_end,
    session_header,
    session_id,
    session_id_preimage,
    session_number,
    session_start,
)
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.wire import encode
from tests.vectors import load

APPLICATION = "pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4"
BLOCK_1151 = bytes.fromhex("dd04339655791d2a388843d30078f3523a5794d51ea153896cb99f0036574a07")
SESSION_116 = "a062fd964bafc01a80cf5e11581d1e48957427768c2e26af169df4c734d11832"
LOCALNET = SharedParams(10, 1, 1, 8, 0, 8, 20, 2, 1, 100, 1)


def _params(length: int, anchor: int = 0, number: int = 0) -> SharedParams:
    return SharedParams(length, 0, 1, 4, 0, 4, 1, 1, 1, 1, 1, anchor, number)


@pytest.mark.parametrize(
    ("length", "anchor", "number", "height", "expected"),
    [
        (10, 0, 0, 0, (0, 0, 0)),
        (10, 0, 0, -7, (0, 0, 0)),
        (10, 0, 0, 1, (1, 10, 1)),
        (10, 0, 0, 10, (1, 10, 1)),
        (10, 0, 0, 11, (11, 20, 2)),
        (1, 1, 1, 5, (5, 5, 5)),
        (20, 600_001, 10_001, 600_001, (600_001, 600_020, 10_001)),
        (20, 600_001, 10_001, 600_021, (600_021, 600_040, 10_002)),
        (20, 600_001, 10_001, 599_999, (599_981, 600_000, 30_000)),  # before the anchor: the legacy grid
        (7, 1234, 0, 1240, (1234, 1240, 1)),
    ],
)
def test_grid(length, anchor, number, height, expected):
    params = _params(length, anchor, number)
    got = session_start(params, height), session_end(params, height), session_number(params, height)
    assert got == expected


@given(st.integers(1, 500), st.integers(0, 10_000), st.integers(0, 1000), st.integers(1, 100_000))
@settings(max_examples=200)
def test_a_height_is_in_its_session_and_all_of_it_is_one_session(length, anchor, number, height):
    params = _params(length, anchor, number)
    start, end = session_start(params, height), session_end(params, height)
    assert start <= height <= end
    assert end - start + 1 == length
    if height >= anchor or end < anchor:  # a session of the old grid that the anchor cuts has no end there
        assert session_start(params, end) == start
        assert session_number(params, end) == session_number(params, start)


def test_the_id_a_real_node_gave():
    assert session_id(APPLICATION, "develop-http", 1151, BLOCK_1151) == SESSION_116


def test_the_header_a_real_node_gave():
    header = session_header(LOCALNET, APPLICATION, "develop-http", 1157, BLOCK_1151)
    assert encode(header).hex() == load("chain_live")["session_header"]["marshaled_hex"]


def test_empty_parts_keep_their_delimiters():
    assert session_id_preimage("", "", 0, b"") == b"..." + bytes(8)


@given(
    st.binary(max_size=32), st.text("abc-", max_size=5), st.text("pokt1", max_size=5), st.integers(0, 2**40)
)
@settings(max_examples=50)
def test_each_part_of_the_preimage_moves_the_id(block_hash, service, application, start):
    ids = {
        session_id(application, service, start, block_hash),
        session_id(application + "x", service, start, block_hash),
        session_id(application, service + "x", start, block_hash),
        session_id(application, service, start + 1, block_hash),
        session_id(application, service, start, block_hash + b"x"),
    }
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("start", "end", "current", "plausible"),
    [
        (1, 10, 0, True),
        (0, 10, 0, False),
        (-1, 10, 0, False),
        (10, 10, 10, False),
        (11, 10, 10, False),
        (1, 10_001, 1, True),
        (1, 10_002, 1, False),
        (10_011, 10_020, 11, True),
        (10_012, 10_020, 11, False),
        (91, 100, 10_100, True),
        (91, 100, 10_101, False),
        (2**63 - 10, 2**63 - 1, 0, True),
        (2**63 - 10, 2**63 - 1, 5, False),
    ],
)
def test_plausible_heights(start, end, current, plausible):
    if plausible:
        check_heights_plausible(start, end, current)
    else:
        with pytest.raises(ImplausibleHeights, match=f"start {start}, end {end}"):
            check_heights_plausible(start, end, current)


HEADER = session_pb2.SessionHeader(
    application_address="A",
    service_id="s",
    session_id="i",
    session_start_block_height=101,
    session_end_block_height=110,
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"application_address": "B"},
            'session header application address mismatch, expecting: "A", got: "B"',
        ),
        ({"service_id": "t"}, 'session header service ID mismatch, expecting: "s", got: "t"'),
        (
            {"session_start_block_height": 103},
            "session header session start height mismatch, expecting: 101, got: 103",
        ),
        (
            {"session_end_block_height": 111},
            "session header session end height mismatch, expecting: 110, got: 111",
        ),
        ({"session_id": "j"}, "session ID mismatch, expected: i, got: j"),
    ],
)
def test_a_foreign_header_is_refused_by_the_field_that_differs(change, text):
    got = session_pb2.SessionHeader()
    got.CopyFrom(HEADER)
    for field, value in change.items():
        setattr(got, field, value)
    with pytest.raises(HeaderMismatch) as refused:
        check_header(HEADER, got)
    assert str(refused.value) == text


def test_the_chains_own_header_passes():
    check_header(HEADER, HEADER)
