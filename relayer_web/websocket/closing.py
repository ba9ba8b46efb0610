"""What both sides of a bridge are told when it ends (spec/relayer.md §1.7.5).

No code is sent that may not be on the wire: a peer that vanished is 1001 or 1011 to the other side (T-WS-1006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pocket_protocol.errors import Malformed, PocketError, Refused, Unavailable
from relay_store.meter import StakeExhausted
from relayer_web.simulation import SimulationBusy, SimulationTooFast
from relayer_web.websocket.peer import Peer

NO_STATUS: Final = 1005
LAST_STANDARD: Final = 1015
BACKEND_FAILED: Final = 4003


class Farewell(NamedTuple):
    """A close frame; without a code it is empty."""

    code: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """The close frames of an end; a side that closed first answers for itself and ignores its own."""

    client: Farewell
    backend: Farewell


REJECTED: Final = Ending(Farewell(4001, "relay validation failed"), Farewell(1008, "request rejected"))
EXHAUSTED: Final = Ending(Farewell(4002, "stake limit exceeded"), Farewell(1013, "rate limited"))
SESSION_OVER: Final = Ending(Farewell(4000, "session expired"), Farewell(1001, "session ended"))
STOPPING: Final = Ending(Farewell(1001, "relayer is stopping"), Farewell(1001, "connection closing"))
AWAY: Final = Ending(Farewell(1013, "service temporarily unavailable"), Farewell(1001, "connection closing"))
DEFECT: Final = Ending(Farewell(1011, "internal error"), Farewell(1001, "connection closing"))
CLIENT_SILENT: Final = Ending(Farewell(1001, "ping timeout"), Farewell(1001, "peer disconnected"))
BACKEND_SILENT: Final = Ending(Farewell(1001, "peer disconnected"), Farewell(1001, "ping timeout"))
CLIENT_STUCK: Final = Ending(Farewell(1011, "client write failed"), Farewell(1011, "client write failed"))
BACKEND_STUCK: Final = Ending(Farewell(1011, "backend write failed"), Farewell(1011, "backend write failed"))
SIMULATION_REJECTED: Final = Ending(Farewell(4001, "simulation rejected"), Farewell(1008, "request rejected"))
_TOO_BIG: Final = Farewell(1009, "message too big")
_PEER_GONE: Final = Farewell(1001, "peer disconnected")
_BACKEND_GONE: Final = Farewell(1011, "backend connection lost")


def ending_of(error: PocketError, *, simulated: bool = False) -> Ending:
    """How a bridge, perhaps one for simulated relays, ends after a relay that could not be served."""
    if isinstance(error, StakeExhausted):
        return EXHAUSTED
    if isinstance(error, SimulationBusy | SimulationTooFast):
        return Ending(Farewell(1013, error.summary), Farewell(1013, "rate limited"))
    if isinstance(error, Malformed | Refused):
        return SIMULATION_REJECTED if simulated else REJECTED
    return AWAY if isinstance(error, Unavailable) else DEFECT


def after_client(client: Peer) -> Ending:
    """How a bridge ends whose client ended the connection, well or not."""
    close = client.close_received
    if client.sent_too_much:
        backend = _TOO_BIG
    elif close is None or client.broke_rules:
        backend = _PEER_GONE
    elif close.code == NO_STATUS:
        backend = Farewell(None)
    elif close.code <= LAST_STANDARD:
        backend = Farewell(close.code, close.reason)
    elif close.code == BACKEND_FAILED:
        backend = Farewell(1011, "connection failed")
    else:
        backend = Farewell(1001, "connection closing")
    return Ending(_PEER_GONE, backend)


def after_backend(backend: Peer) -> Ending:
    """How a bridge ends whose backend ended the connection: the client gets its very words."""
    close = backend.close_received
    if backend.sent_too_much:
        client = _TOO_BIG
    elif close is None or backend.broke_rules:
        client = _BACKEND_GONE
    elif close.code == NO_STATUS:
        client = Farewell(None)
    else:
        client = Farewell(close.code, close.reason)
    return Ending(client, _PEER_GONE)
