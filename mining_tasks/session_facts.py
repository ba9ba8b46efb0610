"""What the chain says about a session of a supplier, as accumulation and sealing need it (decisions.md B, C7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pocket_protocol.difficulty import TARGET_BYTES, is_applicable
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.types import ComputeUnits, Height
from pocket_protocol.windows import Windows


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """A session as the chain gives it. None stands for what could not be asked now."""

    header: SessionHeader
    windows: Windows | None = None  # under the shared params at the session's end
    cupr: ComputeUnits | None = None  # compute units per relay of the service at the session's start
    target: bytes | None = None  # 32 bytes: relay mining difficulty of the service at the session's start

    def __post_init__(self) -> None:
        """Raise `UnusableTarget` for a target no relay can be compared with: whoever asked has to repair it."""
        if self.target is not None:
            is_applicable(bytes(TARGET_BYTES), self.target)

    @property
    def weight(self) -> ComputeUnits:
        """The weight to write a leaf with: the session's, or 0 while a leaf cannot be checked in full."""
        return ComputeUnits(0) if self.cupr is None or self.target is None else self.cupr


class SessionLookup(Protocol):
    """Gives the facts of a session. Cached by who implements it: it is called for each batch."""

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        """Return the session that application, service and start height of `header` name on the chain.

        None when the chain cannot be asked now. Raises a `Refused` leaf when it has no such session or
        `supplier` is not in it. The returned header is the chain's and may differ from `header`.
        """

    def height(self) -> Height:
        """Return the last block's height as far as known, 0 when unknown."""
