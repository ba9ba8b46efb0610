"""Relayers are replaced one after the other under load, and no gateway loses a relay."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pocket_protocol import smst
from tests.integration.mixed_load import SUPPLIERS, MixedLoad
from tests.integration.relayers import Relayers
from tests.integration.sender import Sender, address
from tests.integration.stage import RELAYER, STILL_S, deployment, wait_until

SERVICE, HEIGHT = "develop-http", 25


@pytest.mark.stress
@pytest.mark.timeout(120)
def test_every_answered_relay_is_mined_and_only_documented_refusals_are_seen(tmp_path: Path) -> None:
    relayers = Relayers(2)
    with deployment(
        tmp_path,
        RELAYER,
        more=relayers.specs,
        roles=relayers.roles,
        block_time_s=STILL_S,
        front_end_workers=1,
    ) as running:
        running.step_to(HEIGHT)
        sender = Sender(running.layout.ports.address("grpc"), [SERVICE], HEIGHT)
        with MixedLoad(sender, relayers.addresses(running), lambda: HEIGHT) as load:
            wait_until(lambda: load.has_served_all(2, Counter()), "traffic")
            for name in relayers.names:
                relayers.replace(running, name)
                since = Counter(load.by_transport)
                wait_until(lambda since=since: load.has_served_all(2, since), "more traffic")
        assert load.problems() == []
        assert running.supervisor.restarts == dict.fromkeys(relayers.names, 1)
        mined = [
            bytes(smst.path_of(entry.relay_hash))
            for supplier in SUPPLIERS
            for entry in running.entries(address(supplier))
        ]
        answered = {path for paths in load.counted.answered.values() for path in paths}
        assert sorted(mined) == sorted(answered)
