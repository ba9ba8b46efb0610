"""Encoding and decoding agree with a second implementation of the network's rules, written from its spec."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import canonical, wire
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import AuthInfo, Fee, Tx
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.ha_pb2 import MinedRelayMessage
from pocket_protocol.pb.pocket.proof_pb2 import Params, QueryAllClaimsResponse, QueryParamsResponse
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest, RelayResponse
from pocket_protocol.pb.pocket.shared_pb2 import Supplier
from pocket_protocol.wire import Undecodable
from tests.unit.pocket_protocol.relay_messages import requests, responses
from tests.vectors import load

MESSAGE_TYPES = [
    RelayRequest,
    RelayResponse,
    Relay,
    MinedRelayMessage,
    QueryAllClaimsResponse,
    Application,
    Supplier,
    Tx,
]
CASES = load("chain_relays")["decode_reencode"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_decode_then_encode_equals_the_network(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["input_hex"])
    if case["unmarshal_error"]:
        with pytest.raises(Undecodable):
            wire.decode_strict(RelayRequest, data)
        with pytest.raises(Undecodable):
            canonical.recode(RelayRequest.DESCRIPTOR, data)
        return
    assert canonical.recode(RelayRequest.DESCRIPTOR, data).hex() == case["reencoded_hex"]
    if "utf-8" not in case["case"]:
        assert wire.encode(wire.decode_strict(RelayRequest, data)).hex() == case["reencoded_hex"]


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Undecodable):
        wire.decode_strict(RelayRequest, bytes.fromhex("0a041a02fffe"))


def test_empty_members_marked_in_proto_are_written() -> None:
    assert wire.encode(QueryParamsResponse()) == b"\x0a\x00"
    assert wire.encode(QueryParamsResponse(params=Params())) == b"\x0a\x00"
    assert wire.encode(AuthInfo()) == b""
    assert wire.encode(AuthInfo(fee=Fee())) == b"\x12\x00"


@settings(max_examples=150)
@given(st.one_of(requests, responses))
def test_encoding_equals_the_second_implementation(message: RelayRequest | RelayResponse) -> None:
    encoded = wire.encode(message)
    assert canonical.recode(type(message).DESCRIPTOR, encoded) == encoded
    assert wire.encode(wire.decode_strict(type(message), encoded)) == encoded


def _wire_fields(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    def field(number: int, wire_type: int, value: int, blob: bytes) -> bytes:
        tag = canonical.varint(number << 3 | wire_type)
        if wire_type == 0:
            return tag + canonical.varint(value)
        if wire_type == 2:
            return tag + canonical.varint(len(blob)) + blob
        return tag + (value % 2**32).to_bytes(4, "little") * (2 if wire_type == 1 else 1)

    inner = st.lists(
        st.builds(
            field,
            st.integers(1, 6),
            st.sampled_from([0, 2]),
            st.integers(0, 2**64 - 1),
            st.binary(max_size=5),
        ),
        max_size=4,
    ).map(b"".join)
    return st.builds(
        field,
        numbers,
        st.sampled_from([0, 1, 2, 5]),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=6) | inner,
    )


@settings(max_examples=400)
@given(
    st.sampled_from([RelayRequest, RelayResponse, Relay, MinedRelayMessage]),
    st.lists(_wire_fields(st.integers(1, 12)), max_size=5).map(b"".join),
    st.integers(0, 3),
)
def test_strict_decoding_accepts_and_yields_what_the_second_implementation_does(
    message_type: type, data: bytes, cut: int
) -> None:
    data = data[: len(data) - cut]
    try:
        expected = canonical.recode(message_type.DESCRIPTOR, data)
    except Undecodable:
        with pytest.raises(Undecodable):
            wire.decode_strict(message_type, data)
        return
    try:
        message = wire.decode_strict(message_type, data)
    except Undecodable:  # the one allowed difference: text that is not UTF-8
        assert _has_text_that_is_not_utf8(
            message_type.DESCRIPTOR, canonical.parse(message_type.DESCRIPTOR, data), data
        )
        return
    assert wire.encode(message) == expected


def _has_text_that_is_not_utf8(descriptor, tree, data) -> bool:
    """Whether any string on the wire, overwritten ones too, is not UTF-8."""
    for number, wire_type, value in canonical.scan(data):
        field = descriptor.fields_by_number.get(number)
        if field is None or wire_type != 2:
            continue
        if field.message_type is not None and _has_text_that_is_not_utf8(field.message_type, tree, value):
            return True
        if field.type == field.TYPE_STRING:
            try:
                value.decode()
            except UnicodeDecodeError:
                return True
    return False


@settings(max_examples=150)
@given(st.sampled_from(MESSAGE_TYPES), st.binary(max_size=60))
def test_arbitrary_bytes_give_a_message_or_a_typed_refusal(message_type: type, data: bytes) -> None:
    for decode in (wire.decode, wire.decode_strict):
        try:
            wire.encode(decode(message_type, data))
        except Malformed:
            pass
    try:
        canonical.recode(message_type.DESCRIPTOR, data)
    except Malformed:
        pass


def test_a_flood_of_unknown_fields_is_cut_short() -> None:
    with pytest.raises(Undecodable, match="too many fields"):
        wire.decode_strict(RelayRequest, b"\x78\x05" * 100_000)
    with pytest.raises(Undecodable, match="too many fields"):
        wire.decode_strict(RelayRequest, b"\x7b" + b"\x08\x05" * 100_000 + b"\x7c")


def test_unknown_groups_are_dropped_and_stray_ends_refused() -> None:
    assert wire.encode(wire.decode_strict(RelayRequest, b"\x12\x01p\x7b\x08\x05\x7c")) == b"\x0a\x00\x12\x01p"
    for data in (b"\x7c", b"\x7b\x08\x05", b"\x7b\x74", b"\x7b" * 200 + b"\x7c" * 200):
        with pytest.raises(Undecodable):
            wire.decode_strict(RelayRequest, data)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_varints_return(value: int) -> None:
    encoded = canonical.varint(value)
    assert canonical.read_varint(encoded, 0) == (value, len(encoded))


def test_maps_are_written_in_ascending_order_of_their_keys() -> None:
    application = Application(address="a")
    for height in (300, 2, 10):
        application.pending_undelegations[height].gateway_addresses.append(f"g{height}")
    encoded = wire.encode(application)
    assert canonical.recode(Application.DESCRIPTOR, encoded) == encoded
    assert encoded.index(b"g2") < encoded.index(b"g10") < encoded.index(b"g300")
