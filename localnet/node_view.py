"""The chain as one node shows it: perhaps behind, slow, or refusing (decisions.md I)."""

from __future__ import annotations

import fnmatch
import threading
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from localnet.blocks import Block
from localnet.chain import LocalChain, NoSuchHeight
from localnet.context import Context
from pocket_protocol.errors import Malformed, Refused


class FaultInvalid(Malformed):
    """Fault settings that mean nothing."""

    reason = "fault_invalid"
    summary = "fault settings cannot be used"


class Refusing(Refused):
    """The node was told to refuse this call."""

    reason = "refusing"
    summary = "this node refuses"


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the node. Patterns are shell patterns over gRPC paths and RPC method names."""

    lag_blocks: int = 0  # it has committed that many blocks fewer
    slow_s: float = 0.0  # each matching call takes that much longer
    slow_methods: tuple[str, ...] = ("*",)
    refuse_methods: tuple[str, ...] = ()  # gRPC UNAVAILABLE, RPC internal error
    lose_answers: int = 0  # that many of the next broadcasts are taken, but answered UNAVAILABLE
    silent_websocket: bool = False  # subscriptions stay open and say nothing


@dataclass(slots=True)
class NodeView:
    """What the servers read from. `faults` may be changed at any time, also while calls wait."""

    chain: LocalChain
    faults: Faults = field(default_factory=Faults)
    stopping: threading.Event = field(default_factory=threading.Event)

    def set_faults(self, values: dict[str, Any]) -> None:
        """Replace some of the faults. Raises `FaultInvalid`."""
        known = {member.name: member for member in fields(Faults)}
        prepared: dict[str, Any] = {}
        for name, value in values.items():
            default = getattr(Faults(), name) if name in known else None
            wanted = (int, float) if isinstance(default, float) else type(default)
            value = tuple(value) if isinstance(value, list) else value
            if name not in known or not isinstance(value, wanted):
                raise FaultInvalid(f"{name}: {value!r} cannot be set")
            prepared[name] = value
        self.faults = replace(self.faults, **prepared)

    def faults_json(self) -> dict[str, Any]:
        return asdict(self.faults)

    @property
    def height(self) -> int:
        """The last block this node has."""
        return max(self.chain.height - self.faults.lag_blocks, min(1, self.chain.height))

    def context(self, height: int = 0) -> Context:
        """Return a context for reading at `height`, the node's last block when 0. Raises `NoSuchHeight`."""
        if height > self.height:
            raise NoSuchHeight(height)
        return self.chain.at(height or self.height)

    def block(self, height: int) -> Block:
        """Return a block this node has. Raises `NoSuchHeight`."""
        if height > self.height:
            raise NoSuchHeight(height)
        return self.chain.block(height)

    def admit(self, method: str) -> None:
        """Let a call wait or refuse it, as the faults say. Raises `Refusing`."""
        faults = self.faults
        if faults.slow_s and _matches(method, faults.slow_methods):
            self.stopping.wait(faults.slow_s)
        if _matches(method, faults.refuse_methods):
            raise Refusing(method=method)

    def loses_answer(self) -> bool:
        """Return whether the answer of this broadcast is to be lost, and count it."""
        if not self.faults.lose_answers:
            return False
        self.faults = replace(self.faults, lose_answers=self.faults.lose_answers - 1)
        return True


def _matches(method: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(method, pattern) for pattern in patterns)
