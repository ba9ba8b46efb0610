"""Addresses, bech32, RIPEMD-160 and derivation from mnemonics."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import hd_key, ripemd160
from pocket_protocol.address import (
    BadAddress,
    address_bytes,
    address_of,
    decode_bech32,
    encode_bech32,
    module_address,
    parse_address,
)
from pocket_protocol.curve import load_curve
from pocket_protocol.errors import PocketError
from tests.vectors import load

ALPHA = "pokt1rft8hvfz4g5rpzdy6e59qt0wcl2466ezlfgymj"


def test_an_address_is_derived_from_its_key():
    for key in load("chain_address")["keys"]:
        public_key = bytes.fromhex(key["public_key_compressed_hex"])
        assert address_of(public_key) == key["bech32_account"]
        assert parse_address(key["bech32_valoper"], "poktvaloper") == address_bytes(public_key)


@pytest.mark.parametrize("size", [0, 20, 32, 34, 65])
def test_only_compressed_keys_have_addresses(size):
    with pytest.raises(BadAddress):
        address_of(bytes(size))


def test_module_accounts():
    assert module_address("gov") == "pokt10d07y265gmmuvt4z0w9aw880jnsr700j8yv32t"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "empty address string is not allowed"),
        (" \t\n", "empty address string is not allowed"),
        ("pokt1", "decoding bech32 failed: invalid bech32 string length 5"),
        ("p" * 1024, "decoding bech32 failed: invalid bech32 string length 1024"),
        (f" {ALPHA}", "decoding bech32 failed: invalid character in string: ' '"),
        (ALPHA.capitalize(), "decoding bech32 failed: string not all lowercase or all uppercase"),
        ("1qqqqqqqqqq", "decoding bech32 failed: invalid separator index 0"),
        ("poktaaaaaa1qqqqq", "decoding bech32 failed: invalid separator index 10"),
        (ALPHA.replace("r", "b", 1), "decoding bech32 failed: invalid character not part of charset: 98"),
        (encode_bech32("pokt", b""), "addresses cannot be empty: unknown address"),
    ],
)
def test_what_is_no_address_is_refused_in_the_words_of_the_chain(text, detail):
    with pytest.raises(BadAddress) as refusal:
        parse_address(text)
    assert str(refusal.value) == detail


def test_bech32m_is_not_bech32():
    with pytest.raises(BadAddress, match="invalid checksum"):
        decode_bech32("a1lqfn3a")


def _with_checksum(groups: str) -> str:
    with pytest.raises(BadAddress) as refusal:
        decode_bech32(f"pokt1{groups}qqqqqq")
    return f"pokt1{groups}{str(refusal.value).split('expected ')[1][:6]}"


def test_groups_that_are_no_bytes_are_refused():
    assert decode_bech32(_with_checksum("qq")) == ("pokt", b"\0")
    for groups in ("q", "qp", "qqqp"):
        with pytest.raises(BadAddress, match="invalid incomplete group"):
            decode_bech32(_with_checksum(groups))


@given(st.binary(min_size=1, max_size=255))
@settings(max_examples=60)
def test_what_was_encoded_parses_to_itself_in_both_cases(payload):
    text = encode_bech32("pokt", payload)
    assert parse_address(text) == parse_address(text.upper()) == payload


@given(
    st.binary(min_size=20, max_size=20),
    st.integers(5, 42),
    st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"),
)
@settings(max_examples=60)
def test_no_changed_character_goes_unnoticed(payload, position, character):
    text = encode_bech32("pokt", payload)
    changed = text[:position] + character + text[position + 1 :]
    if changed != text:
        with pytest.raises(BadAddress):
            parse_address(changed)


@given(st.text(max_size=80))
@settings(max_examples=100)
def test_any_text_parses_or_is_refused_by_our_error(text):
    try:
        payload = parse_address(text)
    except BadAddress:
        return
    assert encode_bech32("pokt", payload) == text.lower()


def test_ripemd160_of_the_specification():
    for message, digest in [
        (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        (b"1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "12a053384a9c0c88e405a06c27dcf49ada62eb2b",
        ),
    ]:
        assert ripemd160.ripemd160_python(message).hex() == digest
        assert ripemd160.ripemd160(message).hex() == digest


def test_ripemd160_without_openssl(monkeypatch):
    def refuse(name: str, data: bytes = b"", **options: object) -> None:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashlib, "new", refuse)
    key = load("chain_address")["keys"][0]
    assert address_of(bytes.fromhex(key["public_key_compressed_hex"])) == key["bech32_account"]


def test_mnemonics_of_the_localnet():
    for entry in load("chain_address")["mnemonics"]:
        key = hd_key.key_of_mnemonic(load_curve(), f"  {entry['mnemonic'].replace(' ', '  ')} \n")
        assert key.reveal().hex() == entry["private_key_hex"]


def test_bip32_test_vector_1_along_its_whole_path():
    # The vector's seed is not from words, so the derivation is entered below the mnemonic.
    seed = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    secrets = [
        hd_key.key_of_seed(load_curve(), seed, path).reveal().hex()
        for path in ("m", "m/0'", "m/0'/1", "m/0'/1/2'/2/1000000000")
    ]
    assert secrets == [
        "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35",
        "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea",
        "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368",
        "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8",
    ]


@pytest.mark.parametrize(
    "path", ["", "m/", "44'/0", "m/44h", "m/-1", "m/2147483648", "m/0'/x", "m/99999999999"]
)
def test_a_bad_path_is_refused(path):
    with pytest.raises(PocketError) as refusal:
        hd_key.key_of_mnemonic(load_curve(), "alpha beta", path)
    assert "alpha" not in str(refusal.value)
