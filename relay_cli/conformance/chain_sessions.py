"""Checks of chain_sessions.json: session grid and ids, windows, parameter rules, supplier selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.session import (
    session_end,
    session_id_of,
    session_id_preimage,
    session_number,
    session_start,
)
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.supplier_selection import (
    Candidacy,
    candidates_at,
    select_suppliers,
    supplier_weight,
)
from pocket_protocol.windows import Windows
from pocket_protocol.wire import decode, encode
from relay_cli.conformance.check import Case, Context, VectorFile


def _heights(params: SharedParams, height: int) -> dict[str, object]:
    start, end = session_start(params, height), session_end(params, height)
    windows = Windows.of(params, end)
    return {
        "claim_window_close": windows.claim_close,
        "claim_window_open": windows.claim_open,
        "earliest_claim_commit": windows.claim_open,
        "earliest_proof_commit": windows.proof_open,
        "grace_period_end": windows.grace_end,
        "is_session_end": height == end,
        "is_session_start": height == start,
        "next_session_start": end + 1,
        "num_pending_sessions": windows.num_pending_sessions,
        "proof_seed_block_height": windows.proof_seed,
        "proof_window_close": windows.proof_close,
        "proof_window_open": windows.proof_open,
        "session_end": end,
        "session_end_to_proof_window_close_blocks": params.tail_blocks,
        "session_number": session_number(params, height),
        "session_start": start,
        "settlement_height": windows.settlement,
    }


def _check_cases(cases: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    params_by_name = {entry["name"]: SharedParams(**entry["params"]) for entry in document["param_sets"]}
    for case in cases:
        name = f"case {case['case']}"
        params, height = params_by_name[case["params_name"]], case["query_height"]
        heights = _heights(params, height)
        for key, expected in case["heights"].items():
            yield Case(f"{name} {key}", expected, heights.get(key))
        preimage = session_id_preimage(
            case["application_address"],
            case["service_id"],
            session_start(params, height),
            bytes.fromhex(case["block_hash_at_session_start_hex"]),
        )
        yield Case(f"{name} session_id_preimage", case["session_id_preimage_hex"], preimage.hex())
        yield Case(f"{name} session_id", case["session_id"], session_id_of(preimage))


def _check_param_sets(sets: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in sets:
        params = SharedParams(**entry["params"])
        raw = entry["params_bytes_hex"]
        yield Case(f"{entry['name']} encoded", raw, encode(params.to_proto()).hex())
        decoded = SharedParams.from_proto(decode(shared_pb2.Params, bytes.fromhex(raw)))
        yield Case(f"{entry['name']} decoded", entry["params"], _fields(decoded))
        yield Case(f"{entry['name']} rules", entry["validate_basic_error"], _rule_broken(params))


def _fields(params: SharedParams) -> dict[str, int]:
    return {field: getattr(params, field) for field in SharedParams.__slots__}


def _rule_broken(params: SharedParams) -> str:
    try:
        params.validate()
    except PocketError as error:
        return str(error)
    return ""


def _check_selection(selections: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for selection in selections:
        name = f"case {selection['case']}"
        preimage = bytes.fromhex(selection["session_id_preimage_hex"])
        recorded = selection["candidates_in_store_order"]
        yield Case(f"{name} session_id", selection["session_id"], session_id_of(preimage))
        for candidate in recorded:
            address = candidate["operator_address"]
            weight = supplier_weight(preimage, address)
            yield Case(f"{name} weight of {address}", candidate["weight_int64"], str(weight))
            first8 = weight.to_bytes(8, "big", signed=True).hex()
            yield Case(f"{name} weight bytes of {address}", candidate["weight_first8_hex"], first8)
        stored = [c["operator_address"] for c in recorded]
        unordered = [Candidacy(c["operator_address"], c["activation_height"]) for c in reversed(recorded)]
        candidates = candidates_at(unordered, selection["query_height"])
        yield Case(f"{name} store order", stored, [c.operator_address for c in candidates])
        chosen = select_suppliers(preimage, candidates, selection["num_suppliers_per_session"])
        got = [c.operator_address for c in chosen]
        yield Case(f"{name} suppliers", selection["session_suppliers_in_order"], got)


CHAIN_SESSIONS = VectorFile(
    "chain_sessions",
    {
        "description": Context(),
        "cases": _check_cases,
        "param_sets": _check_param_sets,
        "supplier_selection": _check_selection,
    },
)
