"""Cached documents are the reference's, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.session_pb2 import Session
from pocket_protocol.pb.pocket.shared_pb2 import Params
from relay_store.go_json import UnreadableDocument, decode_go_json, encode_go_json

PARAMS = (
    b'{"num_blocks_per_session":10,"grace_period_end_offset_blocks":1,"claim_window_open_offset_blocks":1,'
    b'"claim_window_close_offset_blocks":4,"proof_window_open_offset_blocks":0,'
    b'"proof_window_close_offset_blocks":4,"supplier_unbonding_period_sessions":20,'
    b'"application_unbonding_period_sessions":2,"compute_units_to_tokens_multiplier":100,'
    b'"gateway_unbonding_period_sessions":1,"compute_unit_cost_granularity":1,'
    b'"session_grid_anchor_height":0,"session_number_at_anchor":0}'
)
SESSION = (
    b'{"header":{"application_address":"pokt12ryynu5yjz38fa3azy97zahhnxjrt97jnr04u9","service_id":"anvil",'
    b'"session_id":"90392eddd0828a78bf68ffe4de6d9b7c0307b9a33313a5e4755a9fa5a39b4da7",'
    b'"session_start_block_height":661,"session_end_block_height":670},'
    b'"session_id":"90392eddd0828a78bf68ffe4de6d9b7c0307b9a33313a5e4755a9fa5a39b4da7","session_number":67,'
    b'"num_blocks_per_session":10,"application":{"address":"pokt12ryynu5yjz38fa3azy97zahhnxjrt97jnr04u9",'
    b'"stake":{"denom":"upokt","amount":"999998490000"},"service_configs":[{"service_id":"anvil"}],'
    b'"pending_undelegations":null},"suppliers":[{"owner_address":"pokt1j6dun0x8eyq5mmsmq83zs3c2utt85q8478c89u",'
    b'"operator_address":"pokt1j6dun0x8eyq5mmsmq83zs3c2utt85q8478c89u",'
    b'"stake":{"denom":"upokt","amount":"100000000"},"services":[{"service_id":"anvil",'
    b'"endpoints":[{"url":"http://127.0.0.1:28080","rpc_type":3},{"url":"ws://127.0.0.1:28080","rpc_type":2}],'
    b'"rev_share":[{"address":"pokt1j6dun0x8eyq5mmsmq83zs3c2utt85q8478c89u","rev_share_percentage":100}]}]}]}'
)


def test_recorded_documents_round_trip() -> None:
    assert encode_go_json(decode_go_json(Params, PARAMS), zeros=True) == PARAMS
    assert encode_go_json(decode_go_json(Session, SESSION)) == SESSION


def test_maps_round_trip() -> None:
    application = Application(address="pokt1x")
    application.pending_undelegations[7].gateway_addresses.append("pokt1g")
    assert decode_go_json(Application, encode_go_json(application)) == application


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"5",
        b'{"header":5}',
        b'{"suppliers":{}}x',
        b'{"session_number":"a"}',
        b'{"session_id":7}',
        b'{"session_number":99999999999999999999}',
        b'{"suppliers":[5]}',
        b"[" * 9000,
        b"\xff",
    ],
)
def test_other_documents_are_refused(document: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        decode_go_json(Session, document)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_a_refusal(document: bytes) -> None:
    try:
        decode_go_json(Session, document)
    except UnreadableDocument:
        pass
