"""What is driven together: the sessions of one supplier that end at one height, in one phase."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from mining_tasks.phase import Phase
from pocket_protocol.types import BlockPosition, SupplierAddress
from pocket_protocol.windows import Windows


@dataclass(frozen=True, slots=True)
class Member:
    """One session's message, on its way into a transaction."""

    session_id: str
    message: Message


@dataclass(frozen=True, slots=True)
class Group:
    """A supplier's sessions of one end height in one phase, and the block everything is decided at."""

    phase: Phase
    supplier: SupplierAddress
    windows: Windows
    position: BlockPosition

    @property
    def opens(self) -> int:
        """The first block that may contain the message."""
        return self.phase.opens(self.windows)

    @property
    def closes(self) -> int:
        """The last block that may contain the message."""
        return self.phase.closes(self.windows)
