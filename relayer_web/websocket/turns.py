"""Relays of a bridge that were sent on and are not answered yet, each with its reservation.

Answers carry no number the relayer could read, so they are taken to come in the order of their requests: each is
concluded with the oldest open request, and what comes when none is open with the latest one (a subscription).
Were all concluded with the latest, equal answers to two requests in flight would be one leaf for two paid relays.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from relayer_web.admission import Relay
from relayer_web.metering import Charge
from relayer_web.position import ChainPosition

MAX_OPEN: Final = 100
MAX_OPEN_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class Turn:
    """One relay to be concluded. `held` gives back what was reserved and not kept. Simulated ones have no charge."""

    relay: Relay
    position: ChainPosition | None
    charge: Charge | None
    held: ExitStack


class Turns:
    """The open relays of one bridge. Over the bounds the oldest is given up: a backend need not answer everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: deque[Turn] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def add(self, turn: Turn) -> None:
        """Wait for the answer to `turn`."""
        given_up = []
        with self._lock:
            self._open.append(turn)
            self._bytes += turn.relay.size
            while len(self._open) > MAX_OPEN or (len(self._open) > 1 and self._bytes > MAX_OPEN_BYTES):
                given_up.append(self._pop())
        for old in given_up:
            old.held.close()

    def take(self) -> Turn | None:
        """The turn an answer belongs to, None when none is open."""
        with self._lock:
            return self._pop() if self._open else None

    def give_up(self) -> None:
        """No more answers will come."""
        while (turn := self.take()) is not None:
            turn.held.close()

    def _pop(self) -> Turn:
        turn = self._open.popleft()
        self._bytes -= turn.relay.size
        return turn
