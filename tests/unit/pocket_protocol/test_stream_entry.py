"""The stream entry: its bytes, its defaults, its refusals; and entries that the reference wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_protocol import wire
from pocket_protocol.envelope import (
    decode_http_request,
    decode_http_response,
    encode_http_request,
    encode_http_response,
)
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.relay import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    mined_relay,
    payload_hash,
    relay_hash,
)
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
from tests import recorded

# As the reference's relayer put it into a stream of a real node's session.
WRITTEN_BY_THE_REFERENCE = bytes.fromhex(
    "0a202e1761d72184066a5257dc5187cdd113dac73a96a26ea1bb4e2e910b65965fb412e9050af6030afd020a83010a2b706f"
    "6b74316d7271743566377168387578733237636a6d397437763965373461397676646e71356a766134120c646576656c6f70"
    "2d687474701a4066656233383563303032363065616666313932306263353938343662633033336639613963323161336162"
    "36343863303862316431336437663237333632646220b30528bc0512c7010000000224b293fbebe360707a97100e5e315663"
    "78eb206df8dbe76d5be9213c6bb17f89036681039ed5725aba4a69951c737fcda5d909af0d7ebb008309f5646365f5cf25fd"
    "8cf0e11e09acf12190917f0ca39d97d79d95d9147e323d218f949e880442c4025821a2ac597a034250ac14b772efccf9297a"
    "a7c4bea5444564059a7cfb152063cbb1a621aa588bc300b25e01fa407d09785bfd155c8f4f3583843a753913aeee0397896e"
    "9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc51a2b706f6b7431396133743479756e7030646c7066"
    "6a72703771776e7a776c727a6435667a7332676a6161616a12740a04504f535412300a0c436f6e74656e742d547970651220"
    "0a0c436f6e74656e742d5479706512106170706c69636174696f6e2f6a736f6e1a012f22377b226a736f6e727063223a2232"
    "2e30222c226d6574686f64223a226661743a333030222c22706172616d73223a5b5d2c226964223a397d12ed010ac8010a83"
    "010a2b706f6b74316d7271743566377168387578733237636a6d397437763965373461397676646e71356a766134120c6465"
    "76656c6f702d687474701a406665623338356330303236306561666631393230626335393834366263303333663961396332"
    "316133616236343863303862316431336437663237333632646220b30528bc0512407c962ff4c115be69cf0104d3f706a509"
    "029b190de0c756cf3953005b25afcd400ceca98c8a2784a09d196acba11222685a8415907fd40baa0168ece5233d4a682220"
    "11fee02ddec6c84bc9d20ec7a771615b81245ac577130a9341fe4d18c058c8d518e807224066656233383563303032363065"
    "6166663139323062633539383436626330333366396139633231613361623634386330386231643133643766323733363264"
    "6228bc05322b706f6b7431396133743479756e7030646c70666a72703771776e7a776c727a6435667a7332676a6161616a3a"
    "0c646576656c6f702d68747470422b706f6b74316d7271743566377168387578733237636a6d397437763965373461397676"
    "646e71356a76613448b90550aee0d3b5a6c996f51858b305"
)

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


def test_an_entry_of_the_reference_is_read_and_written_to_the_byte() -> None:
    entry = decode_stream_entry(WRITTEN_BY_THE_REFERENCE)
    assert encode_stream_entry(entry) == WRITTEN_BY_THE_REFERENCE
    assert entry.relay_hash == relay_hash(entry.relay_bytes)
    assert (entry.compute_units_per_relay, entry.published_at_ns) == (1000, 1795346677057777710)
    assert (entry.session_start_height, entry.session_end_height, entry.arrival_block_height) == (
        691,
        700,
        697,
    )
    mined = wire.decode_strict(Relay, entry.relay_bytes)
    header = mined.req.meta.session_header
    assert (entry.session_id, entry.service_id, entry.application_address) == (
        header.session_id,
        header.service_id,
        header.application_address,
    )
    assert entry.supplier_operator_address == mined.req.meta.supplier_operator_address
    assert mined_relay(mined.req, mined.res) == entry.relay_bytes


@recorded.needs_recordings
def test_all_recorded_entries_and_relays_return() -> None:
    dumped = recorded.load("localnet/redis/stream-entries-decoded.json")
    for entry in dumped:
        data = bytes.fromhex(entry["fields"][0][1]["hex"])
        assert encode_stream_entry(decode_stream_entry(data)) == data
    relays = [
        json.loads(path.read_text()) for path in recorded.path("localnet/relays").glob("http*/[!_]*.json")
    ]
    for relay in relays:
        request = decode_request(bytes.fromhex(relay["request_hex"]))
        response = decode_response(bytes.fromhex(relay["response_hex"]))
        assert encode_request(request).hex() == relay["request_hex"]
        assert encode_response(response).hex() == relay["response_hex"]
        assert payload_hash(response.payload) == response.payload_hash
        assert encode_http_request(decode_http_request(request.payload)) == request.payload
        assert encode_http_response(decode_http_response(response.payload)) == response.payload
    assert min(len(dumped), len(relays)) > 0


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
