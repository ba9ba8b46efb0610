"""When a claim must be proved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pocket_protocol.coin import UnusableCoin
from pocket_protocol.pb.pocket import proof_pb2, session_pb2
from pocket_protocol.proof_requirement import (
    ProofParams,
    ProofRequirement,
    draw,
    draw_input,
    proof_requirement,
)
from pocket_protocol.wire import decode, encode
from tests.vectors import load

PARAMS = ProofParams(0.25, 20_000_000, 320_000_000, 1_000_000)
DRAWS = load("chain_economics")["proof_requirement_draws"]


def _recorded(case) -> proof_pb2.Claim:
    return decode(proof_pb2.Claim, bytes.fromhex(case["claim_bytes_hex"]))


@pytest.mark.parametrize("case", DRAWS, ids=lambda c: f"case{c['case']}")
def test_recorded_draws(case):
    claim, block_hash = _recorded(case), bytes.fromhex(case["seed_block_hash_hex"])
    assert encode(claim).hex() == case["claim_bytes_hex"]
    assert draw_input(claim, block_hash).hex() == case["claim_sha256_hex"] + case["seed_block_hash_hex"]
    assert draw(claim, block_hash) == float.fromhex(case["sample"]["hex"])
    for probability, required in case["required_at_probability"].items():
        params = replace(PARAMS, request_probability=float(probability))
        got = proof_requirement(params, claim, 19_999_999, block_hash)
        assert got is (ProofRequirement.PROBABILISTIC if required else ProofRequirement.NOT_REQUIRED)


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (19_999_999, ProofRequirement.NOT_REQUIRED),
        (20_000_000, ProofRequirement.THRESHOLD),
        (20_000_001, ProofRequirement.THRESHOLD),
    ],
)
def test_the_threshold_itself_requires_a_proof(claimed, expected):
    never = replace(PARAMS, request_probability=0.0)
    case = next(c for c in DRAWS if not c["required_at_probability"]["0"])
    got = proof_requirement(never, _recorded(case), claimed, bytes.fromhex(case["seed_block_hash_hex"]))
    assert got is expected


def test_a_draw_equal_to_the_probability_requires_a_proof():
    case = DRAWS[0]
    claim, block_hash = _recorded(case), bytes.fromhex(case["seed_block_hash_hex"])
    equal = replace(PARAMS, request_probability=draw(claim, block_hash))
    assert proof_requirement(equal, claim, 0, block_hash) is ProofRequirement.PROBABILISTIC


def test_status_root_and_block_each_change_the_draw():
    claim = proof_pb2.Claim(
        supplier_operator_address="s", session_header=session_pb2.SessionHeader(), root_hash=bytes(48)
    )
    validated = proof_pb2.Claim()
    validated.CopyFrom(claim)
    validated.proof_validation_status = proof_pb2.VALIDATED
    other_root = proof_pb2.Claim()
    other_root.CopyFrom(claim)
    other_root.root_hash = b"\x01" + bytes(47)
    inputs = {draw_input(c, b"h") for c in (claim, validated, other_root)} | {draw_input(claim, b"i")}
    assert len(inputs) == 4


def test_the_numbers_are_the_networks():
    for reason in ProofRequirement:
        assert proof_pb2.ProofRequirementReason.Name(reason) == reason.name


def test_parameters_survive_their_message():
    assert ProofParams.from_proto(PARAMS.to_proto()) == PARAMS


def test_parameters_without_coins_are_refused():
    with pytest.raises(UnusableCoin):
        ProofParams.from_proto(proof_pb2.Params(proof_request_probability=0.5))
