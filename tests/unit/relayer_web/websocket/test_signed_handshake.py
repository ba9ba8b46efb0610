"""Handshakes signed by a gateway: what their signature is worth, and what depends on it (spec/relayer.md §1.7.1)."""

from __future__ import annotations

import base64
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_chain.node_errors import NodeUnavailable
from relayer_web.inbound import Answer
from relayer_web.websocket import signed_handshake
from relayer_web.websocket.bridges import Bridges
from relayer_web.websocket.handshake import Upgrade
from relayer_web.websocket.signed_handshake import HandshakeCheck, MalformedHandshake, signed_relay
from tests.logs import captured
from tests.unit.relayer_web.relay_world import SERVICE, World, address, error_of, relay_request


def signed_headers(**changes: Any) -> dict[str, str]:
    """What a gateway sends for a relay without payload."""
    meta = relay_request(payload=b"", **changes).meta
    header = meta.session_header
    return {
        "target-service-id": SERVICE,
        "app-address": header.application_address,
        "pocket-session-id": header.session_id,
        "pocket-session-start-height": str(header.session_start_block_height),
        "pocket-session-end-height": str(header.session_end_block_height),
        "pocket-supplier-address": meta.supplier_operator_address,
        "pocket-signature": base64.b64encode(meta.signature).decode(),
    }


SIGNED = signed_headers()


def upgrade(headers: Mapping[str, str], sock: Any = None) -> Upgrade:
    head = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return Upgrade(sock, head, b"", headers, b"/", "192.0.2.1")


def counted(world: World, version: str, result: str) -> float:
    labels = {"service_id": SERVICE, "version": version, "result": result}
    return world.metric("ha_relayer_websocket_handshakes_total", **labels)


def test_a_sound_signature_is_seen(world: World) -> None:
    HandshakeCheck(world.runtime).check(SERVICE, upgrade(signed_headers()))
    assert counted(world, "v2", "valid") == 1


def test_an_older_gateway_sends_none_and_is_asked_nothing(world: World) -> None:
    HandshakeCheck(world.runtime).check(SERVICE, upgrade({"target-service-id": SERVICE, "rpc-type": "2"}))
    assert counted(world, "v1", "unsigned") == 1
    assert world.chain.asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"pocket-supplier-address": address("supplier2")},
        {"app-address": address("app2")},
        {"app-address": ""},
        {"pocket-session-id": "0" * 64},
        {"pocket-session-start-height": "91"},
        {"pocket-session-start-height": "-1"},
        {"pocket-session-end-height": ""},
        {"pocket-session-end-height": "9" * 4000},
        {"pocket-session-end-height": "999999999999"},
        {"pocket-signature": "not base64"},
        {"pocket-signature": "AAAA"},
        {"pocket-signature": base64.b64encode(bytes(300)).decode()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_verify_is_counted_and_let_through(world: World, change: dict[str, str]) -> None:
    """The relays on the connection are judged one by one; a gateway must not lose them to a check nobody else makes."""
    HandshakeCheck(world.runtime).check(SERVICE, upgrade(signed_headers() | change))
    assert counted(world, "v2", "invalid") == 1
    assert counted(world, "v2", "valid") == 0


@given(st.dictionaries(st.sampled_from(sorted(SIGNED)), st.text(st.characters(max_codepoint=255))))
def test_any_headers_are_a_relay_or_malformed(changes: dict[str, str]) -> None:
    with suppress(MalformedHandshake):
        relay = signed_relay(SERVICE, upgrade(SIGNED | changes))
        assert relay is None or relay.request.payload == b""


def test_a_signature_for_another_service_is_none_for_this_one(world: World) -> None:
    headers = signed_headers(service_id="other")
    HandshakeCheck(world.runtime).check(SERVICE, upgrade(headers))
    assert counted(world, "v2", "invalid") == 1


def test_a_bad_one_is_said_once_a_minute(world: World) -> None:
    check = HandshakeCheck(world.runtime)
    with captured(signed_handshake) as lines:
        for _ in range(3):
            check.check(SERVICE, upgrade(signed_headers() | {"pocket-session-id": "0" * 64}))
    assert [line["reason"] for line in lines] == ["ring_signature_invalid"]


def test_what_cannot_be_told_is_neither(world: World) -> None:
    world.chain.error = NodeUnavailable(text="away")
    HandshakeCheck(world.runtime).check(SERVICE, upgrade(signed_headers()))
    assert counted(world, "v2", "undecided") == 1


class TestRequired:
    """`extensions.require_signed_handshakes`: nothing is dialled for who cannot show a session."""

    def refused(self, world: World, headers: Mapping[str, str]) -> Answer:
        world.runtime.requires_signed_handshakes = True
        world.backends.transports.add("websocket")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            bridges = Bridges(
                world.runtime, lambda service: pytest.fail("a backend was dialled"), lambda _: 1.0
            )
            answer = bridges.serve(upgrade(headers, ours))
        assert answer is not None
        return answer

    def test_without_a_signature(self, world: World) -> None:
        answer = self.refused(world, {"target-service-id": SERVICE})
        assert (answer.status, error_of(answer)) == (403, "the handshake is not signed")

    def test_with_a_bad_one(self, world: World) -> None:
        answer = self.refused(world, signed_headers() | {"pocket-session-id": "0" * 64})
        assert answer.status == 403
        assert error_of(answer).startswith("relay validation failed: ring signature verification failed")

    def test_with_one_that_is_no_signature(self, world: World) -> None:
        answer = self.refused(world, signed_headers() | {"pocket-signature": "?"})
        assert (answer.status, error_of(answer)) == (400, "malformed handshake")

    def test_while_nothing_can_be_told(self, world: World) -> None:
        world.chain.error = NodeUnavailable(text="away")
        assert self.refused(world, signed_headers()).status == 503
