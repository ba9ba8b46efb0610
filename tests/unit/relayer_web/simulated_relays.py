"""Simulated relays for tests: pinned identities and the relays they sign."""

from __future__ import annotations

import time
from typing import Any

from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relayer_web.config_simulation import SimulationIdentity, SimulationSection
from tests.unit.relayer_web.relay_world import public_key, relay_request

KEY_ID = "probe"
HEADERS = {"pocket-simulation-key-id": KEY_ID}


def identity(**changes: Any) -> SimulationIdentity:
    values: dict[str, Any] = {
        "key_id": KEY_ID,
        "enabled": True,
        "max_rps": 100,
        "app_pubkey_hex": public_key("app").hex(),
        "gateway_pubkeys_hex": (public_key("gateway").hex(),),
    }
    return SimulationIdentity(**values | changes)


def section(*identities: SimulationIdentity, **changes: Any) -> SimulationSection:
    return SimulationSection(**{"enabled": True, "identities": identities or (identity(),)} | changes)


def session_id(nonce: str, age_s: int = 0) -> str:
    return f"simv1:{int(time.time()) - age_s}:{nonce}"


def simulated_request(nonce: str = "1", *, age_s: int = 0, **changes: Any) -> RelayRequest:
    """A request as the client signs it; `header` in `changes` replaces fields before signing."""
    header = {
        "session_id": session_id(nonce, age_s),
        "session_start_block_height": 1,
        "session_end_block_height": 2,
    }
    members = changes.pop("members", [public_key("app"), public_key("gateway")])
    return relay_request(header=header | changes.pop("header", {}), members=members, **changes)
