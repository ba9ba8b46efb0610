"""The gob bytes of a proof: exact when written, bounded and strict when read."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import gob
from pocket_protocol.gob import BadGob, CompactClosestProof, CompactProof
from tests.vectors import load

_TREES = load("smst")["trees"]
_PROOFS = [bytes.fromhex(c["proof"]) for tree in _TREES for c in tree["closest"] if "proof" in c]
_BYTES = st.binary(max_size=40) | st.binary(min_size=120, max_size=300)
_LISTS = st.lists(st.binary(max_size=50), max_size=12).map(tuple)
_INTS = st.integers(-(2**63), 2**63 - 1)
_COMPACT = st.builds(CompactProof, _LISTS, _BYTES, _BYTES, _INTS, _BYTES)
_CLOSEST = st.builds(CompactClosestProof, _BYTES, _LISTS, _BYTES, _BYTES, _BYTES, st.none() | _COMPACT)


def test_type_section():
    assert len(gob.TYPE_SECTION) == 286
    digest = "abc030532ee74acf6039c22b4c8e679ce7082adc4bb8ec0792f0796737c46925"
    assert sha256(gob.TYPE_SECTION).hexdigest() == digest


def test_every_recorded_proof_round_trips():
    assert len(_PROOFS) > 400
    for proof in _PROOFS:
        assert gob.encode(gob.decode(proof)) == proof


def test_other_type_ids():
    for stream in load("smst")["gob_other_type_ids"]:
        other = gob.decode(bytes.fromhex(stream["same_proof_other_type_ids"]))
        assert gob.encode(other).hex() == stream["canonical"]


@settings(max_examples=150, deadline=None)
@given(_CLOSEST)
def test_round_trip(proof: CompactClosestProof):
    assert gob.decode(gob.encode(proof)) == proof


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (127, "7f"), (128, "ff80"), (1000, "fe03e8"), (2**64 - 1, "f8" + "ff" * 8)],
)
def test_unsigned_numbers(value: int, encoded: str):
    assert gob._uint(value).hex() == encoded
    data = bytes.fromhex(encoded)
    assert gob._Reader(data, 0, len(data)).read_uint() == value


@pytest.mark.parametrize(("value", "encoded"), [(64, "ff80"), (-64, "7f"), (-1, "01"), (0, "00")])
def test_signed_numbers(value: int, encoded: str):
    assert gob._int(value).hex() == encoded
    data = bytes.fromhex(encoded)
    assert gob._Reader(data, 0, len(data)).read_int() == value


def _decode_or_refuse(data: bytes) -> None:
    try:
        gob.decode(data)
    except BadGob:
        pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes):
    with pytest.raises(BadGob):
        gob.decode(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_value_message_never_escapes(data: bytes):
    _decode_or_refuse(gob.TYPE_SECTION + gob._bytes(gob._VALUE_ID + data))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_PROOFS[:60]), st.data())
def test_mutated_proof_never_escapes(proof: bytes, data):
    position = data.draw(st.integers(0, len(proof) - 1))
    replacement = data.draw(st.binary(max_size=4))
    _decode_or_refuse(proof[:position] + replacement + proof[position + 1 :])


def test_every_truncation_is_refused():
    proof = _PROOFS[-1]
    for length in range(len(proof)):
        with pytest.raises(BadGob):
            gob.decode(proof[:length])


def test_announced_lengths_allocate_nothing():
    huge = b"\xf8" + b"\x7f" * 8
    value = gob._VALUE_ID + b"\x02" + huge  # FlippedBits with 2^63 elements
    for data in (huge, gob.TYPE_SECTION + huge, gob.TYPE_SECTION + gob._bytes(value)):
        with pytest.raises(BadGob):
            gob.decode(data)


def _message(body: bytes) -> bytes:
    return gob._bytes(body)


def _struct_definition(type_id: int, *fields: tuple[bytes, int]) -> bytes:
    listed = b"".join(
        b"\x01" + gob._bytes(name) + b"\x01" + gob._int(kind) + b"\x00" for name, kind in fields
    )
    common = b"\x01\x01\x01T\x01" + gob._int(type_id) + b"\x00"
    return _message(
        gob._int(-type_id) + b"\x03" + common + b"\x01" + gob._uint(len(fields)) + listed + b"\x00\x00"
    )


def _value(type_id: int, body: bytes = b"\x00") -> bytes:
    return _message(gob._int(type_id) + body)


def test_definition_with_fewer_fields_is_read():
    stream = _struct_definition(70, (b"Depth", gob.BYTES_ID)) + _value(70, b"\x01\x01\x05\x00")
    assert gob.decode(stream) == CompactClosestProof(depth=b"\x05", proof=None)


@pytest.mark.parametrize(
    "stream",
    [
        _value(64),
        _value(gob.BYTES_ID),
        _struct_definition(70, (b"Depth", gob.INT_ID)) + _value(70),
        _struct_definition(70, (b"Surprise", gob.BYTES_ID)) + _value(70),
        _struct_definition(70, (b"Path", 5), (b"Path", 5)) + _value(70),
        _struct_definition(70, (b"FlippedBits", 70)) + _value(70),
        _struct_definition(70, (b"ClosestProof", 70)) + _value(70),
        _struct_definition(70, (b"ClosestProof", 71)) + _value(70),
        _struct_definition(70) + _struct_definition(70) + _value(70),
        _struct_definition(5) + _value(5),
        b"".join(_struct_definition(70 + i) for i in range(17)) + _value(70),
        _struct_definition(70, (b"Depth", gob.BYTES_ID)) + _value(70, b"\x02\x01\x05\x00"),
        _message(gob._int(-70) + b"\x04\x00"),  # a map
        _message(gob._int(-70) + b"\x00"),
        _message(b""),
    ],
)
def test_streams_no_proof_has(stream: bytes):
    with pytest.raises(BadGob):
        gob.decode(stream)
