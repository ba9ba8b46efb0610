"""Which session a height belongs to, and what a session is called (spec/chain.md §3.1, §3.3)."""

from __future__ import annotations

import hashlib
from typing import Final

from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.pb.pocket import session_pb2
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import Height, SessionId

# Heights further than this from the chain's are not worth a question to a node (spec/relayer.md §2.4).
MAX_HEIGHT_DISTANCE_BLOCKS: Final = 10_000
_DELIMITER: Final = b"."
_HEADER_FIELDS: Final = (
    ("application_address", "application address"),
    ("service_id", "service ID"),
    ("session_start_block_height", "session start height"),
    ("session_end_block_height", "session end height"),
    ("session_id", "session ID"),
)


class ImplausibleHeights(Malformed):
    """Session heights that no session near the chain's height can have."""

    reason = "implausible_heights"
    summary = "implausible session heights"


class HeaderMismatch(Refused):
    """A session header that is not the one the chain gives for its application, service and height."""

    reason = "session_header_mismatch"
    summary = "session header mismatch"


def _grid(params: SharedParams, height: int) -> tuple[int, int]:
    """Return (height of a session's first block, that session's number) to count sessions from."""
    anchor, number = params.session_grid_anchor_height, params.session_number_at_anchor
    if anchor <= 0 or anchor > height:
        return 1, 1
    return anchor, number if number > 0 else 1


def session_start(params: SharedParams, height: int) -> Height:
    """Return the first block of the session that `height` is in; 0 for a height not above 0."""
    if height <= 0:
        return Height(0)
    anchor, _ = _grid(params, height)
    length = params.num_blocks_per_session
    return Height(anchor + (height - anchor) // length * length)


def session_end(params: SharedParams, height: int) -> Height:
    """Return the last block of the session that `height` is in; 0 for a height not above 0."""
    if height <= 0:
        return Height(0)
    return Height(session_start(params, height) + params.num_blocks_per_session - 1)


def session_number(params: SharedParams, height: int) -> int:
    """Return the number of the session that `height` is in, counted from 1; 0 for a height not above 0."""
    if height <= 0:
        return 0
    anchor, number = _grid(params, height)
    return number + (height - anchor) // params.num_blocks_per_session


def session_id_preimage(
    application_address: str, service_id: str, start_height: int, start_block_hash: bytes
) -> bytes:
    """Return the bytes a session id is the hash of; supplier selection hashes them too (spec/chain.md §3.3).

    `start_block_hash` is the 32-byte hash of the session's first block, empty when `start_height` is 0.
    """
    return _DELIMITER.join(
        (
            start_block_hash,
            service_id.encode(),
            application_address.encode(),
            start_height.to_bytes(8, "little", signed=True),
        )
    )


def session_id_of(preimage: bytes) -> SessionId:
    """Return the session id of `session_id_preimage`: 64 lower-case hex characters."""
    return SessionId(hashlib.sha3_256(preimage).hexdigest())


def session_id(
    application_address: str, service_id: str, start_height: int, start_block_hash: bytes
) -> SessionId:
    """Return the id of the session of an application for a service that starts at `start_height`."""
    return session_id_of(session_id_preimage(application_address, service_id, start_height, start_block_hash))


def session_header(
    params: SharedParams, application_address: str, service_id: str, height: int, start_block_hash: bytes
) -> session_pb2.SessionHeader:
    """Return the header of the session that `height` is in; `params` are those at `height`."""
    start = session_start(params, height)
    return session_pb2.SessionHeader(
        application_address=application_address,
        service_id=service_id,
        session_id=session_id(application_address, service_id, start, start_block_hash),
        session_start_block_height=start,
        session_end_block_height=session_end(params, height),
    )


def check_heights_plausible(start_height: int, end_height: int, current_height: int) -> None:
    """Raise `ImplausibleHeights` for a session no chain near `current_height` has (spec/relayer.md §2.4).

    `current_height` 0 means not known: then only the session's own shape is looked at.
    """
    far = MAX_HEIGHT_DISTANCE_BLOCKS
    plausible = 0 < start_height < end_height and end_height - start_height <= far
    if plausible and current_height > 0:
        plausible = start_height <= current_height + far and end_height >= current_height - far
    if not plausible:
        raise ImplausibleHeights(
            f"implausible session heights: start {start_height}, end {end_height} "
            f"(current height {current_height})"
        )


def check_header(expected: session_pb2.SessionHeader, got: session_pb2.SessionHeader) -> None:
    """Raise `HeaderMismatch` for the first field of `got` that is not the chain's (spec/relayer.md §2.5)."""
    for field, label in _HEADER_FIELDS:
        want, have = getattr(expected, field), getattr(got, field)
        if want == have:
            continue
        if field == "session_id":
            raise HeaderMismatch(f"session ID mismatch, expected: {want}, got: {have}")
        quoted = (f'"{want}"', f'"{have}"') if isinstance(want, str) else (want, have)
        raise HeaderMismatch(f"session header {label} mismatch, expecting: {quoted[0]}, got: {quoted[1]}")
