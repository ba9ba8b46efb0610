"""What makes a session header well-formed, with the network's own texts (spec/chain.md §4.1, Appendix B)."""

from __future__ import annotations

import re
from typing import ClassVar

from pocket_protocol.address import parse_address
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader

MAX_SERVICE_ID_LENGTH = 42
_SERVICE_ID = re.compile(r"[A-Za-z0-9_-]+")


class RegisteredError(Malformed):
    """An error the network has a code for: its text is `detail: registered text` (spec/chain.md Appendix B)."""

    codespace: ClassVar[str]
    code: ClassVar[int]

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(self.summary if detail is None else f"{detail}: {self.summary}")


class InvalidApplicationAddress(RegisteredError):
    reason = "invalid_application_address"
    summary = "invalid application address for session"
    codespace, code = "session", 1105


class InvalidSessionId(RegisteredError):
    reason = "invalid_session_id"
    summary = "invalid sessionId"
    codespace, code = "session", 1108


class InvalidSessionHeights(RegisteredError):
    reason = "invalid_session_heights"
    summary = "invalid block height for session"
    codespace, code = "session", 1107


class InvalidServiceId(RegisteredError):
    reason = "invalid_service_id"
    summary = "invalid service ID"
    codespace, code = "shared", 1108


def validate_service_id(service_id: str) -> None:
    """Raise `InvalidServiceId` unless it is 1..42 of [A-Za-z0-9_-]."""
    if not service_id:
        raise InvalidServiceId("empty service ID")
    if len(service_id.encode()) > MAX_SERVICE_ID_LENGTH:
        raise InvalidServiceId(f"service ID '{service_id}' exceeds maximum length: {MAX_SERVICE_ID_LENGTH}")
    if not _SERVICE_ID.fullmatch(service_id):
        raise InvalidServiceId(f"service ID '{service_id}' contains invalid characters")


def validate_session_header(header: SessionHeader) -> None:
    """Check in the network's order: application, session id, service id, start height, end height.

    Raises `InvalidApplicationAddress`, `InvalidSessionId`, `InvalidServiceId` or `InvalidSessionHeights`.
    """
    try:
        parse_address(header.application_address)
    except Malformed as error:
        raise InvalidApplicationAddress(f'"{header.application_address}"; ({error})') from error
    if not header.session_id:
        raise InvalidSessionId('""')
    validate_service_id(header.service_id)
    if header.session_start_block_height <= 0:
        raise InvalidSessionHeights("sessions can only start at height 1 or greater")
    if header.session_end_block_height <= header.session_start_block_height:
        raise InvalidSessionHeights(
            "session end block height cannot be less than or equal to session start block height"
        )
