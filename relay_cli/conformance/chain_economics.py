"""Checks of chain_economics.json and chain_gorand_table.json: prices, difficulty, settlement, the chain's draw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pocket_protocol import difficulty, go_random, settlement
from pocket_protocol.claim_price import claimed_upokt, estimated_compute_units, estimated_relays
from pocket_protocol.go_random import GoRandom
from pocket_protocol.go_random_table import TABLE
from pocket_protocol.pb.pocket import proof_pb2, session_pb2
from pocket_protocol.proof_requirement import (
    ProofParams,
    ProofRequirement,
    draw,
    draw_input,
    proof_requirement,
)
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.smst import Root
from pocket_protocol.types import Upokt
from pocket_protocol.wire import encode
from relay_cli.conformance.check import Case, Context, VectorFile

_PRICED_PARAMS = SharedParams(10, 1, 1, 4, 0, 4, 1, 1, 1, 1, 1)  # only the two price parameters matter
_NEVER_BY_THRESHOLD = ProofParams(0.0, Upokt(1), Upokt(0), Upokt(0))


def _check_claims(claims: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for claim in claims:
        name = f"case {claim['case']}"
        root, target = (
            Root.from_bytes(bytes.fromhex(claim["root_hash_hex"])),
            bytes.fromhex(claim["target_hash_hex"]),
        )
        params = replace(
            _PRICED_PARAMS,
            compute_units_to_tokens_multiplier=claim["compute_units_to_tokens_multiplier"],
            compute_unit_cost_granularity=claim["compute_unit_cost_granularity"],
        )
        for field, got in (
            ("claimed_compute_units_sum", root.sum),
            ("num_relays_count", root.count),
            ("claimed_upokt", claimed_upokt(root, target, params)),
            ("num_estimated_compute_units_uint64", estimated_compute_units(root, target)),
            ("num_estimated_relays_uint64", estimated_relays(root, target)),
        ):
            yield Case(f"{name} {field}", claim[field], str(got))


def _check_applicable(checks: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, check in enumerate(checks):
        relay_hash, target = bytes.fromhex(check["relay_hash_hex"]), bytes.fromhex(check["target_hash_hex"])
        yield Case(f"{index}", check["volume_applicable"], difficulty.is_applicable(relay_hash, target))


def _check_multipliers(entries: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, entry in enumerate(entries):
        target = bytes.fromhex(entry["target_hash_hex"])
        if "multiplier_rat" not in entry:  # the zero target, which the chain cannot divide by
            yield Case(f"{index} refused", True, _is_refused(target))
            continue
        for field, got in (
            ("multiplier_rat", difficulty.multiplier(target)),
            ("probability_rat", difficulty.probability(target)),
        ):
            yield Case(f"{index} {field}", entry[field], f"{got.numerator}/{got.denominator}")


def _is_refused(target: bytes) -> bool:
    try:
        difficulty.multiplier(target)
    except difficulty.UnusableTarget:
        return True
    return False


def _check_targets(entries: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, entry in enumerate(entries):
        got = difficulty.target_for(int(entry["target_num_relays"]), int(entry["num_relays_ema"]))
        yield Case(f"{index}", entry["new_target_hash_hex"], got.hex())


def _check_updates(steps: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for step in steps:
        before = difficulty.Difficulty(step["prev_ema"], difficulty.BASE_TARGET)
        after = before.updated(step["num_relays_settled"], step["target_num_relays"])
        yield Case(f"step {step['step']} ema", step["new_ema"], after.num_relays_ema)
        yield Case(f"step {step['step']} target", step["new_target_hash_hex"], after.target.hex())


def _check_ema(steps: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, step in enumerate(steps):
        got = difficulty.next_ema(int(step["num_relays"]), int(step["prev_ema"]))
        yield Case(f"{index}", step["new_ema"], str(got))


def _renderings(value: float) -> dict[str, str]:
    """Return a double as the reference prints it."""
    mantissa, exponent = value.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    sign, digits = exponent[0], exponent[1:].zfill(2)
    return {"hex": f"{mantissa}p{sign}{digits}", "decimal": f"{value:.17g}", "shortest": repr(value)}


def _float_cases(name: str, expected: Mapping[str, str], got: float) -> Iterator[Case]:
    for form, text in _renderings(got).items():
        yield Case(f"{name} {form}", expected[form], text)


def _check_generators(entries: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in entries:
        seed = int(entry["seed"])
        generator = GoRandom(seed)
        numbers = [str(generator.uint64()) for _ in range(1500)]
        name = f"seed {seed}"
        yield Case(f"{name} first five", entry["first_five_uint64"], numbers[:5])
        yield Case(f"{name} number 1500", entry["uint64_number_1500"], numbers[-1])
        yield Case(f"{name} int63", entry["first_int63"], str(GoRandom(seed).int63()))
        yield from _float_cases(f"{name} float64", entry["first_float64"], GoRandom(seed).float64())


def _check_seeded(entries: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, entry in enumerate(entries):
        data = bytes.fromhex(entry["input_hex"])
        yield Case(f"{index} int63", entry["seeded_int63"], str(go_random.seeded_int63(data)))
        yield from _float_cases(f"{index} float64", entry["seeded_float64"], go_random.seeded_float64(data))


def _check_varint(entries: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in entries:
        value, read = go_random.varint(bytes.fromhex(entry["bytes_hex"]))
        yield Case(f"{entry['bytes_hex']} value", entry["value"], str(value))
        yield Case(f"{entry['bytes_hex']} bytes read", entry["n"], read)


def _claim(recorded: Mapping[str, Any]) -> proof_pb2.Claim:
    header = {k: v for k, v in recorded["session_header"].items() if k != "marshaled_hex"}
    return proof_pb2.Claim(
        supplier_operator_address=recorded["supplier_operator_address"],
        session_header=session_pb2.SessionHeader(**header),
        root_hash=bytes.fromhex(recorded["root_hash_hex"]),
        proof_validation_status=recorded["proof_validation_status"],
    )


def _check_draws(draws: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in draws:
        name = f"case {entry['case']}"
        claim, block_hash = _claim(entry["claim"]), bytes.fromhex(entry["seed_block_hash_hex"])
        encoded, seeded = encode(claim), draw_input(claim, block_hash)
        digest = hashlib.sha256(seeded).digest()
        seed, read = go_random.varint(digest)
        for field, expected, got in (
            (
                "header",
                entry["claim"]["session_header"]["marshaled_hex"],
                encode(claim.session_header).hex(),
            ),
            ("claim", entry["claim_bytes_hex"], encoded.hex()),
            ("claim hash", entry["claim_sha256_hex"], seeded[:32].hex()),
            ("seed input hash", entry["sha256_of_claim_hash_then_block_hash_hex"], digest.hex()),
            ("varint seed", entry["varint_seed"], str(seed)),
            ("varint bytes read", entry["varint_bytes_read"], read),
        ):
            yield Case(f"{name} {field}", expected, got)
        yield from _float_cases(f"{name} sample", entry["sample"], draw(claim, block_hash))
        for probability, expected in entry["required_at_probability"].items():
            params = replace(_NEVER_BY_THRESHOLD, request_probability=float(probability))
            got = proof_requirement(params, claim, 0, block_hash) is ProofRequirement.PROBABILISTIC
            yield Case(f"{name} required at {probability}", expected, got)


def _check_settlement(entries: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, entry in enumerate(entries):
        amount, inflation = entry["claim_upokt"], settlement.exact(entry["global_inflation_per_claim"])
        for field, got in (
            ("global_inflation_rat", f"{inflation.numerator}/{inflation.denominator}"),
            ("inflation_upokt", settlement.inflation_upokt(amount, inflation)),
            ("claim_in_stake_terms", settlement.stake_terms_upokt(amount, inflation)),
            (
                "max_settlement_from_stake_of_same_amount",
                settlement.max_settlement_upokt(amount, inflation),
            ),
        ):
            yield Case(f"{index} {field}", entry[field], str(got))


def _check_table(words: list[str], _document: Mapping[str, Any]) -> Iterator[Case]:
    yield Case("length", len(words), len(TABLE))
    for index, (expected, got) in enumerate(zip(words, TABLE, strict=False)):
        yield Case(f"word {index}", expected, str(got))


CHAIN_ECONOMICS = VectorFile(
    "chain_economics",
    {
        "description": Context(),
        "claims": _check_claims,
        "difficulty_checks": _check_applicable,
        "difficulty_multipliers": _check_multipliers,
        "difficulty_targets": _check_targets,
        "difficulty_update_chain": _check_updates,
        "ema_steps": _check_ema,
        "go_math_rand": _check_generators,
        "proof_requirement_draws": _check_draws,
        "seeded_functions": _check_seeded,
        "settlement_arithmetic": _check_settlement,
        "varint_decoding": _check_varint,
    },
)

CHAIN_GORAND_TABLE = VectorFile(
    "chain_gorand_table", {"description": Context(), "table_uint64": _check_table}
)
