"""Relay messages to draw examples from."""

from __future__ import annotations

from hypothesis import strategies as st

from pocket_protocol.pb.pocket.service_pb2 import (
    RelayMinerError,
    RelayRequest,
    RelayRequestMetadata,
    RelayResponse,
    RelayResponseMetadata,
)
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader

texts = st.text(max_size=12)
heights = st.integers(-(2**63), 2**63 - 1)
blobs = st.binary(max_size=300)
optional = st.none()

headers = st.builds(
    SessionHeader,
    application_address=texts,
    service_id=texts,
    session_id=texts,
    session_start_block_height=heights,
    session_end_block_height=heights,
)
requests = st.builds(
    RelayRequest,
    meta=optional
    | st.builds(
        RelayRequestMetadata,
        session_header=optional | headers,
        signature=blobs,
        supplier_operator_address=texts,
    ),
    payload=blobs,
)
responses = st.builds(
    RelayResponse,
    meta=optional
    | st.builds(RelayResponseMetadata, session_header=optional | headers, supplier_operator_signature=blobs),
    payload=blobs,
    relay_miner_error=optional
    | st.builds(
        RelayMinerError, codespace=texts, code=st.integers(0, 2**32 - 1), description=texts, message=texts
    ),
    payload_hash=st.binary(max_size=32),
)
