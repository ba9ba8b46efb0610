"""Whether a served relay is mined, and the stream entry it becomes (decisions C2, D2; spec/relayer.md §4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pocket_chain.facts import ChainFacts
from pocket_protocol import relay as relay_protocol
from pocket_protocol.difficulty import BASE_TARGET, is_applicable
from pocket_protocol.errors import PocketError
from pocket_protocol.stream_entry import StreamEntry, encode_stream_entry
from pocket_protocol.types import (
    ApplicationAddress,
    ComputeUnits,
    Height,
    ServiceId,
    SessionId,
    SupplierAddress,
)
from pocket_protocol.windows import is_minable
from relayer_web.admission import Relay
from relayer_web.position import ChainPosition
from relayer_web.responses import SignedResponse


class Mining(Enum):
    """What becomes of a served relay. `charged`: the session's budget pays for it."""

    MINED = "mined"
    BELOW_DIFFICULTY = "below_difficulty"  # the mined ones stand for it too
    AFTER_WINDOW = "after_window"  # its claim can no longer count it

    @property
    def charged(self) -> bool:
        return self is not Mining.AFTER_WINDOW


@dataclass(frozen=True, slots=True)
class Mined:
    """The outcome, and the bytes of the stream entry when there is one."""

    outcome: Mining
    entry: bytes = b""


class Miner:
    """Turns answered relays into stream entries. `wall_clock_ns` dates them."""

    def __init__(
        self,
        facts: ChainFacts,
        *,
        margin_blocks: int = 0,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._facts = facts
        self._margin_blocks = margin_blocks
        self._wall_clock_ns = wall_clock_ns

    def mine(
        self, relay: Relay, response: SignedResponse, arrival_height: int, position: ChainPosition
    ) -> Mined:
        """Decide by `position`, the chain's position now that the answer is ready.

        Raises `Unavailable` when the session's windows cannot be known.
        """
        header = relay.header
        windows = self._facts.windows(header.session_end_block_height, position.height)
        height = position.height + self._margin_blocks
        if not is_minable(windows, height, position.age_s, position.block_time_s):
            return Mined(Mining.AFTER_WINDOW)
        relay_bytes = relay_protocol.mined_relay(relay.request, response.message)
        relay_hash = relay_protocol.relay_hash(relay_bytes)
        if not is_applicable(relay_hash, self._target(relay)):
            return Mined(Mining.BELOW_DIFFICULTY)
        entry = StreamEntry(
            relay_hash=relay_hash,
            relay_bytes=relay_bytes,
            compute_units_per_relay=ComputeUnits(self._compute_units(relay)),
            session_id=SessionId(header.session_id),
            session_end_height=Height(header.session_end_block_height),
            supplier_operator_address=SupplierAddress(relay.supplier),
            service_id=ServiceId(relay.service_id),
            application_address=ApplicationAddress(header.application_address),
            arrival_block_height=Height(arrival_height),
            published_at_ns=self._wall_clock_ns(),
            session_start_height=Height(header.session_start_block_height),
        )
        return Mined(Mining.MINED, encode_stream_entry(entry))

    def _target(self, relay: Relay) -> bytes:
        """The difficulty at the session's start; while it cannot be known every relay goes on, to be judged later."""
        try:
            return self._facts.difficulty_target(relay.service_id, relay.header.session_start_block_height)
        except PocketError:
            return BASE_TARGET

    def _compute_units(self, relay: Relay) -> int:
        """Compute units at the session's start, 1 while unknown: a hint, the worker weighs by the chain's own value."""
        try:
            return self._facts.compute_units(relay.service_id, relay.header.session_start_block_height)
        except PocketError:
            return 1
