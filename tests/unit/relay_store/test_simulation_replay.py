"""Simulated relays are served once."""

from __future__ import annotations

import hashlib

import pytest

from relay_store.connection import Store
from relay_store.group_commit import GroupCommit
from relay_store.keys import Keys
from relay_store.simulation_replay import SimulationReplayed, SimulationReplays


def test_the_same_signed_request_is_claimed_once_by_any_front_end(store: Store) -> None:
    signable = hashlib.sha256(b"request").digest()
    SimulationReplays(GroupCommit(store), Keys(), ttl_s=60).claim(signable)
    other = SimulationReplays(GroupCommit(store), Keys(), ttl_s=60)
    with pytest.raises(SimulationReplayed):
        other.claim(signable)
    other.claim(hashlib.sha256(b"another").digest())
    assert 50 < store.client.ttl(f"ha:sim:replay:{signable.hex()}") <= 60
