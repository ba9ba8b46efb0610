"""The checks of the recorded lifecycles find what is right, and exactly what is wrong."""

from __future__ import annotations

import copy

import pytest

from relay_cli.conformance.lifecycles import CHAIN_LIVE, CHAIN_LIVE2
from tests.vectors import load

_FILES = {"chain_live": CHAIN_LIVE, "chain_live2": CHAIN_LIVE2}
_SEND, _CLAIM, _PROOF = 2, 4, 5  # expectations per message: type and bytes; header and form; the proof
_PER_TRANSACTION = 6  # sign doc, bytes, hash twice, signature, answer


def _cases(name: str, section: str, document=None):
    document = document or load(name)
    return list(_FILES[name].sections[section](document[section], document))


def _failed(name: str, section: str, document) -> list[str]:
    return [case.name for case in _cases(name, section, document) if not case.ok]


def _checked_sections(name: str) -> list[str]:
    return [section for section, check in _FILES[name].sections.items() if callable(check)]


def _expected_count(document, section: str) -> int:
    value = document[section]
    if section == "steps":
        sent = [step for step in value if "tx_raw_hex" in step]
        messages = [message for step in sent for message in step["messages"]]
        sizes = {"MsgSend": _SEND, "MsgCreateClaim": _CLAIM, "MsgSubmitProof": _PROOF}
        return _PER_TRANSACTION * len(sent) + sum(sizes[m["type_url"].split(".")[-1]] for m in messages)
    if section == "trees":
        return sum(3 * len(tree["leaves"]) + 1 for tree in value.values())
    return {
        "session_header": 4 if "block_hash_at_session_start_hex" in document else 3,
        "session_response_hex": 2,
        "proof_hex": 2,
        "windows": 17,
        "ring": 4,
        "proof_sample_values": 9,
        # three answers with one, one and three claims in them, three states
        "queries": 3 + 5 + 3,
        "tx_results_json": 3 * len(value) if section == "tx_results_json" else 0,
    }.get(section, 1)


@pytest.mark.parametrize(
    ("name", "section"), [(name, section) for name in _FILES for section in _checked_sections(name)]
)
def test_every_expectation_is_met(name: str, section: str):
    cases = _cases(name, section)
    assert [case for case in cases if not case.ok] == []
    assert len({case.name for case in cases}) == len(cases) == _expected_count(load(name), section)


@pytest.mark.parametrize("name", _FILES)
def test_every_section_is_known(name: str):
    assert _FILES[name].sections.keys() == load(name).keys()


_CLAIM_STEP = "22 claim supplier1"
_PROOF_STEP = "34 proof supplier1 (good)"


def _flipped(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


@pytest.mark.parametrize(
    ("section", "path", "failing"),
    [
        ("proof_hex", (), "proof"),
        ("proof_path_hex", (), "path"),
        ("session_header", ("marshaled_hex",), "encoded"),
        ("session_header", ("session_id",), ["encoded", "session_id"]),
        ("trees", ("supplier2", "root_hex"), "supplier2/root"),
        ("trees", ("supplier3", "leaves", 4, "relay_hash_hex"), "supplier3/leaf 4/relay_hash"),
        ("proof_sample_values", ("supplier1", "decimal"), "supplier1/decimal"),
        ("proof_sample_values", ("supplier1", "hex"), "supplier1/hex"),
        ("ring", (0, "address"), ["0/member", "0/address"]),
        ("ring", (1, "public_key_hex"), "1/address"),
        ("steps", (22, "tx_hash"), f"{_CLAIM_STEP}/tx_hash"),
        ("steps", (22, "txhash"), [f"{_CLAIM_STEP}/txhash", f"{_CLAIM_STEP}/response"]),
        ("steps", (22, "raw_log"), f"{_CLAIM_STEP}/response"),
        ("steps", (22, "messages", 0, "value_hex"), f"{_CLAIM_STEP}/message 0/value"),
        ("steps", (22, "messages", 0, "validate_basic_error"), f"{_CLAIM_STEP}/message 0/validate_basic"),
        ("steps", (34, "response_proto_hex"), f"{_PROOF_STEP}/response"),
        ("tx_results_json", ("failing claim", "result", "hash"), ["failing claim/hash", "failing claim/tx"]),
        ("queries", ("claim_status_after_proofs", "pokt1re27pw4llwnatx4sq7rlggqzcm6j3f39epq2wa"), None),
    ],
)
def test_an_altered_expectation_fails_alone(section: str, path: tuple, failing):
    document = copy.deepcopy(load("chain_live"))
    *parents, last = (section, *path)
    holder = document
    for key in parents:
        holder = holder[key]
    holder[last] = _flipped(holder[last]) if holder[last] else "altered"
    expected = (
        [f"status of {last}"] if failing is None else [failing] if isinstance(failing, str) else failing
    )
    assert _failed("chain_live", section, document) == expected


def test_a_forged_transaction_signature_fails():
    """The last byte of a transaction is the last of its signature."""
    document = copy.deepcopy(load("chain_live"))
    step = document["steps"][22]
    step["tx_raw_hex"] = _flipped(step["tx_raw_hex"])
    failed = set(_failed("chain_live", "steps", document))
    assert failed == {f"{_CLAIM_STEP}/{what}" for what in ("signature", "tx_hash", "txhash")}


def test_a_truncated_answer_of_the_node_fails():
    document = copy.deepcopy(load("chain_live"))
    document["session_response_hex"] = document["session_response_hex"][:-2]
    assert _failed("chain_live", "session_response_hex", document) == ["encoded", "header"]


def test_a_forged_relay_fails():
    document = copy.deepcopy(load("chain_live"))
    leaf = document["trees"]["supplier1"]["leaves"][0]
    leaf["relay_bytes_hex"] = _flipped(leaf["relay_bytes_hex"])
    failed = _failed("chain_live", "trees", document)
    assert failed[0] == "supplier1/leaf 0/relay_hash"
    assert failed[-1] == "supplier1/root"


@pytest.mark.parametrize(
    ("name", "height", "key"),
    [("chain_live", 1162, "claim_window_open"), ("chain_live2", 78, "settlement_height")],
)
def test_a_moved_window_fails_alone(name: str, height: int, key: str):
    document = copy.deepcopy(load(name))
    assert document["windows"][key] == height
    document["windows"][key] += 1
    assert _failed(name, "windows", document) == [key]
