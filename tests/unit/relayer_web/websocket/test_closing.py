"""What both sides are told when a bridge ends: a table (spec/relayer.md §1.7.5)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from websockets.frames import Close

from pocket_protocol.errors import PocketError
from relay_store.meter import StakeExhausted
from relayer_web.admission import NotARelay, OtherService
from relayer_web.backends.contract import NoBackend
from relayer_web.position import HeightUnknown
from relayer_web.publisher import PublishFailed
from relayer_web.refusals import InternalError
from relayer_web.simulation import SignatureInvalid, SimulationBusy
from relayer_web.throttle import TooManyFailures
from relayer_web.verification import ValidationFailed
from relayer_web.websocket import closing
from relayer_web.websocket.closing import after_backend, after_client, ending_of


@dataclass
class Seen:
    """What is known of a side that is done."""

    close_received: Close | None = None
    broke_rules: bool = False
    sent_too_much: bool = False


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (Seen(Close(1000, "done")), (1000, "done")),
        (Seen(Close(1001, "")), (1001, "")),
        (Seen(Close(1005, "")), (None, "")),
        (Seen(Close(4003, "x")), (1011, "connection failed")),
        (Seen(Close(4999, "x")), (1001, "connection closing")),
        (Seen(Close(3000, "x")), (1001, "connection closing")),
        (Seen(), (1001, "peer disconnected")),
        (Seen(broke_rules=True), (1001, "peer disconnected")),
        (Seen(broke_rules=True, sent_too_much=True), (1009, "message too big")),
    ],
)
def test_what_a_backend_is_told_when_the_client_is_done(client: Seen, told: tuple[int | None, str]) -> None:
    assert tuple(after_client(client).backend) == told  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        (Seen(Close(1000, "bye")), (1000, "bye")),
        (Seen(Close(4321, "mine")), (4321, "mine")),
        (Seen(Close(1005, "")), (None, "")),
        (Seen(), (1011, "backend connection lost")),
        (Seen(broke_rules=True), (1011, "backend connection lost")),
        (Seen(broke_rules=True, sent_too_much=True), (1009, "message too big")),
    ],
)
def test_what_a_client_is_told_when_the_backend_is_done(backend: Seen, told: tuple[int | None, str]) -> None:
    assert tuple(after_backend(backend).client) == told  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "client", "backend"),
    [
        (NotARelay(), 4001, 1008),
        (OtherService(service_id="x"), 4001, 1008),
        (ValidationFailed("x", cause_reason="y"), 4001, 1008),
        (TooManyFailures(), 4001, 1008),
        (StakeExhausted(session_id="s", supplier="s"), 4002, 1013),
        (SimulationBusy(), 1013, 1013),
        (HeightUnknown(), 1013, 1001),
        (PublishFailed(may_exist=True), 1013, 1001),
        (NoBackend(configured=True), 1013, 1001),
        (InternalError(), 1011, 1001),
    ],
)
def test_how_a_bridge_ends_after_a_relay_that_cannot_be_served(
    error: PocketError, client: int, backend: int
) -> None:
    ending = ending_of(error)
    assert (ending.client.code, ending.backend.code) == (client, backend)


def test_simulated_relays_are_told_so() -> None:
    ending = ending_of(SignatureInvalid(), simulated=True)
    assert ending.client == (4001, "simulation rejected")


def test_every_close_frame_may_be_on_the_wire() -> None:
    endings = [value for value in vars(closing).values() if isinstance(value, closing.Ending)]
    assert len(endings) >= 10
    for ending in endings:
        for farewell in (ending.client, ending.backend):
            assert farewell.code is not None
            assert Close.parse(Close(*farewell).serialize()) == Close(*farewell)
