"""Private keys stay hidden; account signatures are those of the chain."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.curve import ORDER, load_curve
from pocket_protocol.curve_python import PythonCurve
from pocket_protocol.signer import BadPrivateKey, PrivateKey, sign, verify
from tests.vectors import load

FAST, SLOW = load_curve(), PythonCurve()
HEX = "28d38dfb4ce91f6e0828e8d79314c7f6db954faf2fdb5a8e25226e36ac07fce4"
scalars = st.one_of(st.sampled_from([1, 2, ORDER // 2, ORDER - 1]), st.integers(1, ORDER - 1))


@pytest.mark.parametrize(
    "secret", [b"", bytes(31), bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32, bytes(33)]
)
def test_a_scalar_out_of_range_is_no_key(secret):
    with pytest.raises(BadPrivateKey):
        PrivateKey(secret)


@pytest.mark.parametrize("text", [HEX, f"0x{HEX}", f"0x {HEX}\n", f"  {HEX}  ", HEX.upper()])
def test_hex_of_key_files(text):
    assert PrivateKey.from_hex(text).reveal().hex() == HEX


@pytest.mark.parametrize(
    "text",
    ["", "0x", HEX[:-1], HEX + "0", f" 0x{HEX}", "_".join([HEX[:31], HEX[31:63]]), "٣" * 64, "00" * 32],
)
def test_other_text_is_no_key_and_is_not_repeated(text):
    with pytest.raises(BadPrivateKey) as refusal:
        PrivateKey.from_hex(text)
    if text.strip():
        assert text.strip() not in str(refusal.value)


def test_a_key_shows_itself_nowhere():
    key = PrivateKey.from_hex(HEX)
    for shown in (repr(key), str(key), f"{key!r:>40}", repr([key]), repr({"key": key})):
        assert HEX not in shown
        assert repr(bytes.fromhex(HEX)) not in shown
    assert not hasattr(key, "__dict__")
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as refusal:
            copying(key)
        assert HEX not in str(refusal.value)
    with pytest.raises(TypeError):
        json.dumps(key)


def test_recorded_signatures_on_both_backends():
    for vector in load("ecdsa")["sign"][::9]:
        key, message = PrivateKey.from_hex(vector["priv"]), bytes.fromhex(vector["msg"])
        for curve in (FAST, SLOW):
            assert sign(curve, key, message).hex() == vector["sig"]
            assert key.public_key(curve).hex() == vector["pub"]


def test_recorded_verdicts_on_both_backends():
    kinds = {}
    for vector in load("ecdsa")["verify"]:
        kinds.setdefault(vector["kind"], []).append(vector)
    assert len(kinds) == 16
    for vectors in kinds.values():
        for vector in vectors[:4]:
            key, message, signature = (bytes.fromhex(vector[field]) for field in ("pub", "msg", "sig"))
            for curve in (FAST, SLOW):
                assert verify(curve, key, message, signature) is vector["valid"], vector["kind"]


def test_blinding_changes_no_signature():
    key = PrivateKey.from_hex(HEX)
    curve = load_curve()
    before = sign(curve, key, b"relay")
    curve.randomize(b"\x07" * 32)
    assert sign(curve, key, b"relay") == before
    with pytest.raises(ValueError, match="32 bytes"):
        curve.randomize(b"short")


@given(scalars, st.binary(max_size=80))
@settings(max_examples=25, deadline=None)
def test_both_backends_sign_alike_and_accept_each_other(scalar, message):
    key = PrivateKey(scalar.to_bytes(32, "big"))
    public_key = key.public_key(FAST)
    assert public_key == key.public_key(SLOW)
    signature = sign(FAST, key, message)
    assert signature == sign(SLOW, key, message)
    assert int.from_bytes(signature[32:], "big") <= ORDER // 2
    assert verify(SLOW, public_key, message, signature)
    assert not verify(FAST, public_key, message + b"\0", signature)


@given(st.binary(max_size=40), st.one_of(st.binary(max_size=70), st.binary(min_size=64, max_size=64)))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_judged_not_raised(public_key, signature):
    assert verify(FAST, public_key, b"m", signature) is False
    assert verify(SLOW, public_key, b"m", signature) is False
