"""How difficulty follows the relays settled in a block (spec/chain.md §4.5)."""

from __future__ import annotations

from localnet.context import Context
from localnet.events import typed
from localnet.recorded import with_value
from localnet.state import DIFFICULTY, DIFFICULTY_HISTORY
from pocket_protocol.difficulty import Difficulty
from pocket_protocol.pb.pocket import service_pb2
from pocket_protocol.session import session_end


def update_difficulties(context: Context, relays_by_service: dict[str, int]) -> None:
    """Move the difficulty of each service that settled relays in this block; effective at the next session."""
    target = context.params("service").target_num_relays
    start = session_end(context.shared, context.height) + 1
    for service_id, num_relays in sorted(relays_by_service.items()):
        stored = context.state.get(DIFFICULTY, service_id)
        if stored is None:
            previous = Difficulty.first(num_relays, target)
            _record(context, _message(service_id, context.height, previous), context.height)
        else:
            previous = Difficulty(stored.num_relays_ema, stored.target_hash)
        new = previous.updated(num_relays, target)
        message = _message(service_id, start, new)
        context.state.put(DIFFICULTY, service_id, message)
        _record(context, message, start)
        event = service_pb2.EventRelayMiningDifficultyUpdated(
            service_id=service_id,
            prev_target_hash_hex_encoded=previous.target.hex(),
            new_target_hash_hex_encoded=new.target.hex(),
            prev_num_relays_ema=previous.num_relays_ema,
            new_num_relays_ema=new.num_relays_ema,
        )
        context.emit(typed(event))


def _message(service_id: str, height: int, difficulty: Difficulty) -> service_pb2.RelayMiningDifficulty:
    return service_pb2.RelayMiningDifficulty(
        service_id=service_id,
        block_height=height,
        num_relays_ema=difficulty.num_relays_ema,
        target_hash=difficulty.target,
    )


def _record(context: Context, message: service_pb2.RelayMiningDifficulty, height: int) -> None:
    recorded = context.state.get(DIFFICULTY_HISTORY, message.service_id, ())
    context.state.put(DIFFICULTY_HISTORY, message.service_id, with_value(recorded, height, message))


def set_difficulty(
    context: Context, service_id: str, target: bytes, num_relays_ema: int, height: int
) -> None:
    """Make `target` the difficulty of a service from `height` on, as a test wants it."""
    message = _message(service_id, height, Difficulty(num_relays_ema, target))
    context.state.put(DIFFICULTY, service_id, message)
    _record(context, message, height)
