"""What a service's work counted and cost at a height: compute units per relay and difficulty (spec/chain.md §4)."""

from __future__ import annotations

from localnet.context import Context
from localnet.recorded import value_at
from localnet.state import DIFFICULTY_HISTORY, SERVICE, UNITS_HISTORY
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.pb.pocket import service_pb2


def compute_units_per_relay_at(context: Context, service_id: str, height: int) -> int | None:
    """Return the compute units of a relay at `height`, None for an unknown service (spec/chain.md §4.6)."""
    service = context.state.get(SERVICE, service_id)
    if service is None:
        return None
    recorded = value_at(context.state.get(UNITS_HISTORY, service_id, ()), height)
    return recorded or service.compute_units_per_relay


def base_difficulty(context: Context, service_id: str, height: int) -> service_pb2.RelayMiningDifficulty:
    """Return the difficulty of a service that never settled anything."""
    return service_pb2.RelayMiningDifficulty(
        service_id=service_id,
        block_height=height,
        num_relays_ema=context.params("service").target_num_relays,
        target_hash=BASE_TARGET,
    )


def difficulty_at(context: Context, service_id: str, height: int) -> service_pb2.RelayMiningDifficulty:
    """Return the difficulty that holds at `height`; the base one, of height 0, without history."""
    recorded = value_at(context.state.get(DIFFICULTY_HISTORY, service_id, ()), height)
    return recorded or base_difficulty(context, service_id, 0)
