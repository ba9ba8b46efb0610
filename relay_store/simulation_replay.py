"""Which simulated relays were seen already (decisions D4; spec/relayer.md §2.10)."""

from __future__ import annotations

from pocket_protocol.errors import Refused
from relay_store.group_commit import GroupCommit
from relay_store.keys import Keys


class SimulationReplayed(Refused):
    """The same simulated relay came before."""

    reason = "replay_rejected"
    summary = "simulation: request already seen (replay)"


class SimulationReplays:
    """Remembers simulated relays for twice the freshness window, over all front ends."""

    def __init__(self, commits: GroupCommit, keys: Keys, *, ttl_s: int) -> None:
        self._commits = commits
        self._keys = keys
        self._ttl_s = ttl_s

    def claim(self, signable_hash: bytes) -> None:
        """Note a relay's 32-byte signable hash: what was signed, however the signature is written.

        Raises `SimulationReplayed`, or the store's `Unavailable` (the relay must then be refused).
        """
        key = self._keys.simulation_replay(signable_hash.hex())
        (stored,) = self._commits.run(("SET", key, 1, "NX", "EX", self._ttl_s))
        if stored is None:
            raise SimulationReplayed
