"""What every refusal has in common, and relays that do not verify."""

from __future__ import annotations

from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relayer_web.inbound import Answer
from tests.unit.relayer_web.relay_world import (
    SERVICE,
    World,
    error_of,
    relay_request,
)


def refused(
    world: World, answer: Answer, status: int, reason: str, *, service: str = SERVICE, rpc: str = "jsonrpc"
) -> str:
    """Check what every refusal has in common; return its text."""
    assert answer.status == status, answer.body
    assert world.entries() == []
    assert world.consumed_upokt() == 0
    labels = {"service_id": service, "rpc_type": rpc}
    assert world.metric("ha_relayer_relays_rejected_total", **labels, reason=reason) == 1
    assert world.metric("ha_relayer_relays_received_total", **labels) == 1
    return error_of(answer)


def flipped_signature() -> RelayRequest:
    request = relay_request()
    signature = bytearray(request.meta.signature)
    signature[80] ^= 1
    request.meta.signature = bytes(signature)
    return request


def changed_payload() -> RelayRequest:
    request = relay_request()
    request.payload += b"\x22\x01x"
    return request
