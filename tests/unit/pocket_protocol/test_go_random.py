"""Go's generator, its seeding table and the varint that picks the seed."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pocket_protocol.go_random import GoRandom, seed_of, seeded_float64, seeded_int63, varint
from pocket_protocol.go_random_table import TABLE
from tests.vectors import load

ECONOMICS = load("chain_economics")


def test_the_table_is_the_recorded_one():
    assert [str(word) for word in TABLE] == load("chain_gorand_table")["table_uint64"]


@pytest.mark.parametrize("case", ECONOMICS["go_math_rand"], ids=lambda c: c["seed"])
def test_recorded_generators(case):
    generator = GoRandom(int(case["seed"]))
    numbers = [str(generator.uint64()) for _ in range(1500)]
    assert numbers[:5] == case["first_five_uint64"]
    assert numbers[-1] == case["uint64_number_1500"]
    assert GoRandom(int(case["seed"])).float64() == float.fromhex(case["first_float64"]["hex"])


@pytest.mark.parametrize("case", ECONOMICS["seeded_functions"], ids=lambda c: c["input_hex"][:8])
def test_recorded_seeded_functions(case):
    data = bytes.fromhex(case["input_hex"])
    assert str(seeded_int63(data)) == case["seeded_int63"]
    assert seeded_float64(data) == float.fromhex(case["seeded_float64"]["hex"])


@pytest.mark.parametrize("case", ECONOMICS["varint_decoding"], ids=lambda c: c["bytes_hex"])
def test_recorded_varints(case):
    assert varint(bytes.fromhex(case["bytes_hex"])) == (int(case["value"]), case["n"])


def _zigzag(value: int) -> bytes:
    number, out = (value << 1) ^ (value >> 63), bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=4))
@example(-(2**63), b"")
@example(2**63 - 1, b"")
@settings(max_examples=100)
def test_varint_reads_what_was_written_and_no_more(value, rest):
    written = _zigzag(value)
    assert varint(written + rest) == (value, len(written))


@given(st.binary(max_size=64))
@settings(max_examples=100)
def test_any_bytes_give_a_seed_of_64_bits(data):
    assert -(2**63) <= seed_of(data) < 2**63
    assert -(2**63) <= varint(data)[0] < 2**63


@pytest.mark.parametrize("seed", [0, 5, -5, 2**31 - 2])
def test_seeds_that_differ_by_the_modulus_are_the_same(seed):
    assert GoRandom(seed).uint64() == GoRandom(seed + 2**31 - 1).uint64()


def test_a_draw_that_rounds_to_one_is_drawn_again():
    class Scripted(GoRandom):
        def __init__(self, *numbers: int) -> None:
            self.numbers = list(numbers)

        def uint64(self) -> int:
            return self.numbers.pop(0)

    assert Scripted(2**63 - 1, 2**63 - 512, 2**62).float64() == 0.5
    assert Scripted(2**63 - 513).float64() == 1.0 - 2**-53
