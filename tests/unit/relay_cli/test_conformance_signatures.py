"""Every recorded expectation about addresses and signatures holds, and a changed one is noticed."""

from __future__ import annotations

import copy

import pytest

from relay_cli.conformance.chain_address import CHAIN_ADDRESS
from relay_cli.conformance.check import Case, Context, NotApplicable, VectorFile
from relay_cli.conformance.ecdsa import ECDSA
from relay_cli.conformance.relay_signing import RELAY_SIGNING
from relay_cli.conformance.ring_hashes import HASH_TO_CURVE, HASH_TO_SCALAR
from relay_cli.conformance.ring_signatures import RING_SIGNATURES
from tests.vectors import load

# Cases per section, counted from the files: entries times the expectations each of them holds.
FILES = [
    (
        CHAIN_ADDRESS,
        {
            "keys": 9 * 14,
            "mnemonics": 3 * 3,
            "module_accounts": 11 * 2,
            "account_address_parsing": 12 * 3,
            "ring_placeholder": 5,
        },
    ),
    (ECDSA, {"sign": 180 * 3, "verify": 285}),
    (HASH_TO_CURVE, {"vectors": 195 * 2}),
    (HASH_TO_SCALAR, {"vectors": 922 * 2 + 101}),
    (
        RING_SIGNATURES,
        {
            "curve_order": 1,
            "placeholder": 4,
            "keys": 64 * 6,
            "valid": 1141 * 3,
            "accepted_unusual": 68 + 8,
            "invalid": 219 + 215 + 78,
        },
    ),
    (RELAY_SIGNING, {"rings": 11, "relays": 66 * 4, "responses": 18 * 6, "empty_payload_error": 1}),
]
NAMES = [file.name for file, _ in FILES]


def _cases(file: VectorFile, section: str, document: dict) -> list[Case]:
    check = file.sections[section]
    assert not isinstance(check, Context | NotApplicable)
    return list(check(document[section], document))


@pytest.mark.parametrize(("file", "counts"), FILES, ids=NAMES)
def test_every_expectation_holds(file, counts):
    document = load(file.name)
    assert set(document) == set(file.sections)
    for section, count in counts.items():
        cases = _cases(file, section, document)
        assert [case for case in cases if not case.ok] == []
        assert len(cases) == count, section
        assert len({case.name for case in cases}) == count, section


@pytest.mark.parametrize(("file", "counts"), FILES, ids=NAMES)
def test_no_section_with_expectations_is_passed_over(file, counts):
    computed = {
        name for name, check in file.sections.items() if not isinstance(check, Context | NotApplicable)
    }
    assert computed == set(counts)


ALTERED = [
    (CHAIN_ADDRESS, "account_address_parsing", 4, "error", "decoding bech32 failed"),
    (CHAIN_ADDRESS, "keys", 0, "base_account_any_hex", "00"),
    (CHAIN_ADDRESS, "mnemonics", 1, "bech32_account", "pokt1"),
    (ECDSA, "sign", 3, "sig", "00" * 64),
    (ECDSA, "verify", 7, "valid", None),
    (HASH_TO_CURVE, "vectors", 9, "attempts", 99),
    (HASH_TO_SCALAR, "vectors", 9, "scalar", "00" * 32),
    (RING_SIGNATURES, "keys", 2, "key_image", "02" * 33),
    (RING_SIGNATURES, "accepted_unusual", 2, "accept", False),
    (RING_SIGNATURES, "invalid", 2, "accept", True),
    (RELAY_SIGNING, "relays", 0, "accept", True),
    (RELAY_SIGNING, "responses", 0, "signature", "00" * 64),
    (RELAY_SIGNING, "rings", 0, "ring_pubs_in_order", []),
]


@pytest.mark.parametrize(("file", "section", "index", "field", "value"), ALTERED)
def test_one_altered_expectation_is_one_failed_case(file, section, index, field, value):
    document = load(file.name)
    entries = copy.deepcopy(document[section])
    entries[index][field] = value
    failed = [case for case in _cases(file, section, document | {section: entries}) if not case.ok]
    assert len(failed) == 1
    assert failed[0].expected == value


def test_an_altered_input_fails_its_own_cases_only():
    document = load("ring_signatures")
    entries = copy.deepcopy(document["valid"][:20])
    entries[5]["msg"] = "00" * 32
    failed = [case for case in _cases(RING_SIGNATURES, "valid", document | {"valid": entries}) if not case.ok]
    assert {case.name.split()[0] for case in failed} == {str(entries[5]["id"])}


@pytest.mark.parametrize("altered", ["", "not hex", "02" * 33])
def test_an_altered_ring_is_one_failed_case_in_the_whole_file(altered):
    document = load("relay_signing")
    rings = copy.deepcopy(document["rings"])
    rings[2]["ring_pubs_in_order"][0] = altered
    changed = document | {"rings": rings}
    sections = ("rings", "relays", "responses")
    failed = [case for section in sections for case in _cases(RELAY_SIGNING, section, changed) if not case.ok]
    assert [case.name for case in failed] == ["2 seven gateways"]
