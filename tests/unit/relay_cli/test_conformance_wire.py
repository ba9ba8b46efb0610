"""Every recorded expectation about messages, relays and transactions holds, and a changed one is noticed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from relay_cli.conformance.chain_protos import CHAIN_PROTOS
from relay_cli.conformance.chain_queries import CHAIN_QUERIES
from relay_cli.conformance.chain_relays import CHAIN_RELAYS
from relay_cli.conformance.chain_tx import CHAIN_TX
from relay_cli.conformance.check import Case, Context, NotApplicable, VectorFile
from relay_cli.conformance.localnet_grpc import LOCALNET_GRPC, LOCALNET_GRPC_INDEX
from relay_cli.conformance.registry import candidates_for
from relay_cli.conformance.relay_requests import SIGNABLE_BYTES
from tests import recorded
from tests.vectors import load

# Cases per section, counted from the files: entries times the expectations each of them holds.
FILES = [
    (CHAIN_PROTOS, {"messages": 295, "enums": 12, "services": 21}),
    (CHAIN_QUERIES, {"calls": 55 * 2 + 33}),  # is a method, request; 33 with a response
    (
        CHAIN_RELAYS,
        {
            # header, 4 of the request, 2 of the ring, 9 of the response, 2 of the relay, 4 difficulties;
            # 25 of 26 with two envelopes both ways; 59 ring members
            "relays": 26 * 22 + 25 * 4 + 59,
            "decode_reencode": 11 + 8 * 2,
            "request_edge_cases": 9 * 3,
            "response_edge_cases": 7 * 4,
        },
    ),
    (
        CHAIN_TX,
        {
            # 10 each; 7 with a gas price; 11 claims and proofs of 4, one other message of 2
            "transactions": 9 * 10 + 7 + 11 * 4 + 2,
            "fee_rounding": 7 * 2,
            "gas_adjustment": 6,
            "message_validate_basic": 20,
        },
    ),
    (SIGNABLE_BYTES, {"vectors": 12 + 11 * 2}),
]
NAMES = [file.name for file, _ in FILES]


def _cases(file: VectorFile, section: str, document: dict[str, Any]) -> list[Case]:
    check = file.sections[section]
    assert not isinstance(check, Context | NotApplicable)
    return list(check(document[section], document))


def test_the_counts_are_those_of_the_files() -> None:
    relays, transactions = load("chain_relays")["relays"], load("chain_tx")["transactions"]
    assert sum("http_request" in relay for relay in relays) == 25
    assert sum(len(relay["request"]["ring_in_order"]) for relay in relays) == 59
    assert sum(bool(transaction["gas_price"]) for transaction in transactions) == 7
    assert sum(len(transaction["messages"]) for transaction in transactions) == 12
    assert sum("response_hex" in call for call in load("chain_queries")["calls"]) == 33


@pytest.mark.parametrize(("file", "counts"), FILES, ids=NAMES)
def test_every_expectation_holds(file: VectorFile, counts: dict[str, int]) -> None:
    document = load(file.name)
    assert set(document) == set(file.sections)
    computed = {
        name for name, check in file.sections.items() if not isinstance(check, Context | NotApplicable)
    }
    assert computed == set(counts)
    for section, count in counts.items():
        cases = _cases(file, section, document)
        assert [case for case in cases if not case.ok] == []
        assert len(cases) == count, section
        assert len({case.name for case in cases}) == count, section


ALTERED = [
    (CHAIN_PROTOS, "messages", (3, "fields", 0, "number"), 9),
    (CHAIN_PROTOS, "enums", (0, "values", 1, "name"), "OTHER"),
    (CHAIN_PROTOS, "services", (0, "methods", 0, "response"), "pocket.service.Params"),
    (CHAIN_QUERIES, "calls", (0, "response_hex"), "0a020800"),
    (CHAIN_RELAYS, "relays", (0, "http_request", "marshaled_hex"), "00"),
    (CHAIN_RELAYS, "relays", (1, "http_response", "marshaled_hex"), "00"),
    (CHAIN_RELAYS, "relays", (2, "session_header", "marshaled_hex"), "00"),
    (CHAIN_RELAYS, "relays", (3, "request", "marshaled_hex"), "00"),
    (CHAIN_RELAYS, "relays", (3, "request", "marshaled_without_signature_hex"), ""),
    (CHAIN_RELAYS, "relays", (4, "request", "signable_hash_hex"), "00"),
    (CHAIN_RELAYS, "relays", (4, "request", "validate_basic_error"), "missing session header"),
    (CHAIN_RELAYS, "relays", (5, "request", "ring_in_order", 0, "address"), "pokt1"),
    (CHAIN_RELAYS, "relays", (6, "response", "signable_bytes_hex"), "00"),
    (CHAIN_RELAYS, "relays", (7, "response", "supplier_signature_hex"), "00" * 64),
    (CHAIN_RELAYS, "relays", (8, "response", "payload_hash_hex"), "00" * 32),
    (CHAIN_RELAYS, "relays", (9, "relay", "marshaled_hex"), "00"),
    (CHAIN_RELAYS, "relays", (9, "relay", "relay_hash_hex"), "00"),
    (CHAIN_RELAYS, "relays", (9, "relay", "difficulty", 0, "volume_applicable"), None),
    (CHAIN_RELAYS, "decode_reencode", (6, "reencoded_hex"), "00"),
    (CHAIN_RELAYS, "decode_reencode", (7, "unmarshal_error"), ""),
    (CHAIN_RELAYS, "request_edge_cases", (2, "validate_basic_error"), "x"),
    (CHAIN_RELAYS, "response_edge_cases", (3, "signable_hash_hex"), "00"),
    (CHAIN_TX, "transactions", (0, "messages", 0, "value_hex"), "00"),
    (CHAIN_TX, "transactions", (1, "messages", 2, "session_header", "marshaled_hex"), "00"),
    (CHAIN_TX, "transactions", (2, "body_bytes_hex"), "00"),
    (CHAIN_TX, "transactions", (3, "auth_info_bytes_hex"), "00"),
    (CHAIN_TX, "transactions", (4, "sign_doc_sha256_hex"), "00"),
    (CHAIN_TX, "transactions", (5, "signature_hex"), "00"),
    (CHAIN_TX, "transactions", (6, "tx_hash"), "00"),
    (CHAIN_TX, "transactions", (0, "timeout_timestamp"), ""),
    (CHAIN_TX, "fee_rounding", (4, "fee"), "1234upokt"),
    (CHAIN_TX, "gas_adjustment", (5, "gas_limit"), 1),
    (CHAIN_TX, "message_validate_basic", (13, "error"), ""),
    (SIGNABLE_BYTES, "vectors", (10, "signable_bytes"), "00"),
    (SIGNABLE_BYTES, "vectors", (4, "signable_hash"), "00"),
]


@pytest.mark.parametrize(("file", "section", "place", "value"), ALTERED)
def test_one_altered_expectation_is_one_failed_case(
    file: VectorFile, section: str, place: tuple, value: object
) -> None:
    document = load(file.name)
    entries = copy.deepcopy(document[section])
    *path, last = place
    entry: Any = entries
    for step in path:
        entry = entry[step]
    entry[last] = value
    failed = [case for case in _cases(file, section, document | {section: entries}) if not case.ok]
    assert len(failed) == 1


@pytest.mark.parametrize(
    ("place", "value"), [("supplier_private_key_hex", "00" * 32), ("http_request", {}), ("request", {})]
)
def test_an_unreadable_relay_does_not_hide_the_others(place: str, value: object) -> None:
    document = load("chain_relays")
    relays = copy.deepcopy(document["relays"][:3])
    relays[1][place] = value
    cases = _cases(CHAIN_RELAYS, "relays", {"relays": relays})
    assert {case.name.split()[1] for case in cases if not case.ok} == {"1"}
    assert any(case.name.startswith("case 3 relay") for case in cases)


SAMPLE = {
    "grpc_code": 0,
    "method": "/pocket.shared.Query/ParamsAtHeight",
    "request_hex": "0801",
    "request_json": {"height": "1"},
    "request_type": "pocket.shared.QueryParamsAtHeightRequest",
    "response_hex": "0a0408041801",
    "response_json": {
        "params": {
            "num_blocks_per_session": "4",
            "grace_period_end_offset_blocks": "0",
            "claim_window_open_offset_blocks": "1",
            "claim_window_close_offset_blocks": "0",
            "proof_window_open_offset_blocks": "0",
            "proof_window_close_offset_blocks": "0",
            "supplier_unbonding_period_sessions": "0",
            "application_unbonding_period_sessions": "0",
            "compute_units_to_tokens_multiplier": "0",
            "gateway_unbonding_period_sessions": "0",
            "compute_unit_cost_granularity": "0",
            "session_grid_anchor_height": "0",
            "session_number_at_anchor": "0",
        }
    },
    "response_type": "pocket.shared.QueryParamsAtHeightResponse",
}
MISSING = {
    "grpc_code": 5,
    "grpc_code_name": "NotFound",
    "grpc_message": "x",
    "method": SAMPLE["method"],
    "request_hex": "",
}
RECORDING = {
    "method": SAMPLE["method"],
    "calls_recorded": 3,
    "by_client": {"a": 2, "b": 1},
    "samples": [SAMPLE, MISSING],
}


def _recording_failures(recording: dict[str, Any]) -> list[str]:
    [file] = candidates_for(Path("pocket.shared.Query.ParamsAtHeight.json"), recording)
    assert file is LOCALNET_GRPC
    assert set(recording) == set(file.sections)
    cases = [case for section in ("calls_recorded", "samples") for case in _cases(file, section, recording)]
    assert len(cases) == 1 + (2 + 6) + (2 + 1 + 1)
    return [case.name for case in cases if not case.ok]


@pytest.mark.parametrize(
    ("index", "field", "value", "failed"),
    [
        (0, "request_json", {"height": "2"}, "0 request_json"),
        (0, "response_type", "pocket.shared.Params", "0 response_type"),
        (0, "response_json", {"params": None}, "0 response_json"),
        (0, "method", "/pocket.shared.Query/Params", "0 method"),
        (1, "grpc_code_name", "Internal", "1 grpc_code_name"),
        (1, "request_hex", "78", "1 request_hex"),
        (1, "grpc_code", 12, "1 is a method"),
    ],
)
def test_recordings_are_judged_sample_by_sample(index: int, field: str, value: object, failed: str) -> None:
    assert _recording_failures(RECORDING) == []
    changed = copy.deepcopy(RECORDING)
    changed["samples"][index][field] = value
    assert failed in _recording_failures(changed)
    changed = RECORDING | {"calls_recorded": 4}
    assert _recording_failures(changed) == ["sum over the clients"]


@recorded.needs_recordings
def test_all_recordings_hold() -> None:
    paths = sorted(recorded.path("localnet/grpc").glob("*.json"))
    assert len(paths) > 1
    for path in paths:
        document = json.loads(path.read_text())
        [file] = candidates_for(path, document)
        assert file is (LOCALNET_GRPC_INDEX if path.name == "_index.json" else LOCALNET_GRPC), path.name
        for section in document:
            if not isinstance(file.sections[section], Context | NotApplicable):
                failed = [case for case in _cases(file, section, document) if not case.ok]
                assert failed == [], path.name
