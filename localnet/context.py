"""What a message, a query or the end of a block works on: state, position, and the facts outside the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localnet.candidates import Candidates
from localnet.events import Event
from localnet.fixture import Fixture
from localnet.recorded import value_at
from localnet.state import PARAMS, SESSION_HISTORY, SHARED_HISTORY, State
from pocket_protocol.curve import Curve
from pocket_protocol.params_history import ParamsHistory
from pocket_protocol.pb.pocket import session_pb2
from pocket_protocol.shared_params import SharedParams


@dataclass(frozen=True, slots=True)
class Chain:
    """What does not change while a block is made."""

    chain_id: str
    curve: Curve
    fixture: Fixture
    block_hash: Callable[[int], bytes]  # of a committed block; b"" for one that is not
    candidates: Candidates = field(default_factory=Candidates)


@dataclass(slots=True)
class Context:
    """One execution. `height` is that of the block being made, or of the last committed one in a query."""

    chain: Chain
    state: State
    height: int
    time_ns: int
    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def layer(self) -> Context:
        """Return a context over a new layer of state, with no events yet."""
        return Context(self.chain, self.state.layer(), self.height, self.time_ns)

    def params(self, module: str) -> Any:
        """Return the live parameters message of `module`."""
        return self.state.get(PARAMS, module)

    @property
    def shared_history(self) -> ParamsHistory:
        history: ParamsHistory = self.state.get(SHARED_HISTORY)
        return history

    @property
    def shared(self) -> SharedParams:
        """The live shared parameters."""
        return self.shared_history.live

    def shared_at(self, height: int) -> SharedParams:
        return self.shared_history.at(height)

    def session_params_at(self, height: int) -> session_pb2.Params:
        """Return the session parameters at `height`: the last recorded ones not above it, else the live ones."""
        recorded = value_at(self.state.get(SESSION_HISTORY, "", ()), height)
        return recorded or self.params("session")
