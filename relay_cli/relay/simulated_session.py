"""Sessions of simulated relays: made up by the client, known to no chain (spec/relayer.md §2.10).

A relayer serves them to keys pinned in its configuration, and neither meters nor mines them. Each relay has a
session id of its own, since the relayer takes none twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pocket_protocol.address import address_of
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.types import ApplicationAddress, PublicKey, SupplierAddress
from relay_cli.relay.relay_session import RelaySession

KEY_ID_HEADER: Final = "Pocket-Simulation-Key-Id"
_NONCE_BYTES: Final = 8
_START_HEIGHT, _END_HEIGHT = 1, 2


@dataclass(frozen=True, slots=True)
class SimulatedSessions:
    """Sessions for `supplier`, signed for by a ring of the pinned keys: the application's, then the gateways'."""

    service_id: str
    supplier: SupplierAddress
    ring: Sequence[PublicKey]
    read_account_key: Callable[[str], PublicKey | None]

    @property
    def application(self) -> ApplicationAddress:
        """The address of the pinned application key."""
        return ApplicationAddress(address_of(self.ring[0]))

    def at(self, height: int) -> RelaySession:
        """Return a new session; `height` does not matter."""
        header = SessionHeader(
            application_address=self.application,
            service_id=self.service_id,
            session_id=f"simv1:{int(time.time())}:{os.urandom(_NONCE_BYTES).hex()}",
            session_start_block_height=_START_HEIGHT,
            session_end_block_height=_END_HEIGHT,
        )
        return RelaySession(header, (self.supplier,), tuple(self.ring))

    def account_key(self, address: str) -> PublicKey | None:
        return self.read_account_key(address)
