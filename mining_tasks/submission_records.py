"""What was sent for a session and what became of it, where the reference's tools look for it (spec/miner.md §4.5, §6.1).

Written when the chain has decided: from our own records, which are the truth. Only for its tools; nothing of ours
reads it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from mining_tasks.outcomes import REQUIREMENT, root_of
from mining_tasks.phase import CLAIM, PROOF, Phase
from mining_tasks.wiring import Miner
from pocket_protocol.pb.pocket.proof_pb2 import MsgSubmitProof
from pocket_protocol.tx import decode_transaction
from relay_store.intents import Intent, Intents
from relay_store.session_state import SessionRecord, SessionState
from relay_store.sessions import BACKSTOP_TTL_S, Sessions
from relay_store.store_errors import store_errors

KEPT_S: Final = 86_400
FOUND: Final = "on_chain_found"
MISSING: Final = "on_chain_missing"
NOT_REQUIRED: Final = "not_required"


def submission_record(record: SessionRecord, claim: Intent | None, proof: Intent | None) -> dict[str, Any]:
    """Return the document of a session: the reference's fields in its order, those without a value left out."""
    snapshot, root = record.snapshot, root_of(record)
    closed = record.state is SessionState.CLAIM_WINDOW_CLOSED
    requirement = _text(record, REQUIREMENT)
    document = {
        "supplier": snapshot.supplier,
        "service": snapshot.service_id,
        "application": snapshot.application,
        "session_id": snapshot.session_id,
        "session_start": snapshot.start_height,
        "session_end": snapshot.end_height,
        "claim_hash": root.to_bytes().hex() if root else "",
        **_sent(CLAIM, record, claim, MISSING if closed else ""),
        "proof_hash": _proof_hex(proof, snapshot.session_id),
        **_sent(PROOF, record, proof, ""),
        "proof_rebroadcasts": max(int(proof.outcome.get("broadcasts", "1")) - 1, 0) if proof else 0,
        "num_relays": root.count if root else 0,
        "compute_units": root.sum if root else 0,
        "proof_required": requirement not in ("", NOT_REQUIRED),
        "proof_requirement_seed": _text(record, "proof_requirement_seed"),
    }
    return {name: value for name, value in document.items() if value or not _is_optional(name)}


def _sent(phase: Phase, record: SessionRecord, intent: Intent | None, outcome: str) -> dict[str, Any]:
    """Return the fields of one phase."""
    seen = int(_text(record, f"{phase.name}_seen_height") or 0)
    sent_s = int(intent.outcome.get("sent_s", "0")) if intent else 0
    fields = {
        "tx_hash": intent.tx_hash if intent else _text(record, f"{phase.name}_tx_hash"),
        "success": bool(seen),
        "error_reason": "" if seen else _text(record, phase.error_field),
        "submit_height": intent.height if intent else 0,
        "submit_timestamp": sent_s,
        "submit_time_utc": f"{datetime.fromtimestamp(sent_s, UTC):%Y-%m-%dT%H:%M:%SZ}" if sent_s else "",
        "current_height": int(intent.outcome.get("height", "0")) if intent else 0,
        "on_chain_outcome": FOUND if seen else outcome,
        "inclusion_height": seen,
    }
    return {f"{phase.name}_{name}": value for name, value in fields.items()}


def _is_optional(name: str) -> bool:
    phase, _, field = name.partition("_")
    if phase == PROOF.name:
        return field not in ("success", "required")
    return phase == CLAIM.name and field in ("error_reason", "on_chain_outcome", "inclusion_height")


def _proof_hex(intent: Intent | None, session: str) -> str:
    for message in decode_transaction(intent.tx).messages if intent else ():
        if isinstance(message, MsgSubmitProof) and message.session_header.session_id == session:
            return message.proof.hex()
    return ""


def _text(record: SessionRecord, name: str) -> str:
    return record.more.get(name, b"").decode(errors="replace")


def write_submission_record(miner: Miner, supplier: str, session: str) -> None:
    """Write a session's document as it is now, and name what it was about to the reference's cache refresh.

    Raises `StoreUnavailable`.
    """
    record = Sessions(miner.store, miner.keys, supplier).read(session)
    if record is None:
        return
    intents = Intents(miner.store, miner.keys, supplier)
    document = submission_record(record, *(intents.find(session, phase.name) for phase in (CLAIM, PROOF)))
    snapshot, keys, client = record.snapshot, miner.keys, miner.store.client
    text = json.dumps(document, separators=(",", ":"))
    with store_errors():
        client.set(keys.submission(supplier, snapshot.end_height, session), text, ex=KEPT_S)
        for kind, name in (
            ("applications", snapshot.application),
            ("services", snapshot.service_id),
            ("suppliers", supplier),
        ):
            client.sadd(keys.known(kind), name)
            client.expire(keys.known(kind), BACKSTOP_TTL_S)
