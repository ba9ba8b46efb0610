"""The curve backends: a total group law, decoding rules, caches that stay bounded, and how one is chosen."""

from __future__ import annotations

import hashlib
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import curve_libsecp256k1, curve_selftest
from pocket_protocol.curve import (
    FIELD_PRIME,
    GENERATOR,
    INFINITY,
    ORDER,
    NoCurve,
    NotAPoint,
    check_point,
    hash_to_curve,
    load_curve,
)
from pocket_protocol.curve_libsecp256k1 import LibraryCurve
from pocket_protocol.curve_python import PythonCurve
from pocket_protocol.recently_used import RecentlyUsed
from tests.vectors import load

FAST, SLOW = load_curve(), PythonCurve()
HASHED_G = hash_to_curve(GENERATOR, FAST.is_point).point
edge_scalars = st.sampled_from([0, 1, 2, 3, 255, 256, ORDER // 2, ORDER - 2, ORDER - 1])
scalars = st.one_of(edge_scalars, st.integers(0, ORDER - 1))
secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def negated(point: bytes) -> bytes:
    return bytes([point[0] ^ 1]) + point[1:]


@given(st.sampled_from([1, 2, 5]), scalars, scalars)
@settings(max_examples=40, deadline=None)
def test_backends_agree_where_summands_meet(multiple, s, c):
    # P and I are small multiples of G and H_p(P), so that sums double and cancel.
    key = FAST.multiply(multiple, GENERATOR)
    image = FAST.multiply(multiple, hash_to_curve(key, FAST.is_point).point)
    assert FAST.ring_points(key, image, s, c) == SLOW.ring_points(key, image, s, c)
    left, right = FAST.ring_points(key, image, -multiple * c % ORDER, c)
    assert left == right == INFINITY


@given(secrets, secrets, scalars, scalars)
@settings(max_examples=20, deadline=None)
def test_backends_agree_on_random_points(secret, other, s, c):
    key = FAST.public_key(secret)
    assert key == SLOW.public_key(secret)
    image = FAST.multiply(int.from_bytes(other, "big"), HASHED_G)
    assert image == SLOW.multiply(int.from_bytes(other, "big"), HASHED_G)
    assert FAST.ring_points(key, image, s, c) == SLOW.ring_points(key, image, s, c)


@pytest.mark.parametrize("curve", [FAST, SLOW], ids=lambda curve: curve.name)
def test_the_group_law_is_total(curve):
    twice, minus = curve.multiply(2, GENERATOR), negated(GENERATOR)
    assert curve.multiply(0, GENERATOR) == curve.multiply(ORDER, GENERATOR) == INFINITY
    assert curve.multiply(ORDER - 1, GENERATOR) == minus
    for s, c, left in [(0, 0, INFINITY), (1, 1, twice), (1, ORDER - 1, INFINITY), (0, ORDER - 1, minus)]:
        assert curve.ring_points(GENERATOR, HASHED_G, s, c)[0] == left
    # -G in the place of P: equal scalars cancel, and doubling is reached from the other side.
    assert curve.ring_points(minus, HASHED_G, 7, 7)[0] == INFINITY
    assert curve.ring_points(minus, HASHED_G, 1, ORDER - 1)[0] == twice


X_ON_CURVE = GENERATOR[1:]
BAD_POINTS = [
    (b"", "malformed public key: invalid length: 0"),
    (GENERATOR[:32], "malformed public key: invalid length: 32"),
    (b"\x04" + X_ON_CURVE + bytes(32), "malformed public key: invalid length: 65"),
    *[
        (bytes([p]) + X_ON_CURVE, f"invalid public key: unsupported format: {p:x}")
        for p in (0, 1, 4, 5, 6, 7, 255)
    ],
    (b"\x02" + FIELD_PRIME.to_bytes(32, "big"), "invalid public key: x >= field prime"),
    (b"\x02" + (FIELD_PRIME + 1).to_bytes(32, "big"), "invalid public key: x >= field prime"),
    (b"\x03" + b"\xff" * 32, "invalid public key: x >= field prime"),
    (INFINITY, f"invalid public key: x coordinate {'00' * 32} is not on the secp256k1 curve"),
    (
        b"\x03" + (5).to_bytes(32, "big"),
        f"invalid public key: x coordinate {'00' * 31}05 is not on the secp256k1 curve",
    ),
]


@pytest.mark.parametrize("curve", [FAST, SLOW], ids=lambda curve: curve.name)
@pytest.mark.parametrize(("encoded", "text"), BAD_POINTS)
def test_what_does_not_decode_is_refused_everywhere(curve, encoded, text):
    assert not curve.is_point(encoded)
    operations = [
        lambda: check_point(encoded, curve.is_point),
        lambda: curve.multiply(3, encoded),
        lambda: curve.ring_points(encoded, HASHED_G, 2, 3),
        lambda: curve.ring_points(GENERATOR, encoded, 2, 3),
        lambda: curve.note_verified([GENERATOR], encoded),
    ]
    for operation in operations:
        with pytest.raises(NotAPoint) as refusal:
            operation()
        assert str(refusal.value) == text
    assert curve.verify_digest(encoded, bytes(32), 1, 1) is False


@given(st.binary(min_size=32, max_size=32), st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_backends_agree_on_what_decodes(x, prefix):
    encoded = bytes([prefix]) + x
    assert FAST.is_point(encoded) == SLOW.is_point(encoded)


@pytest.mark.parametrize("curve", [FAST, SLOW], ids=lambda curve: curve.name)
def test_secrets_and_digests_of_other_sizes_are_refused(curve):
    for secret in (b"", bytes(32), bytes(31), b"\xff" * 32, b"\1" * 33):
        with pytest.raises(ValueError, match="secret"):
            curve.public_key(secret)
        with pytest.raises(ValueError, match="secret"):
            curve.sign_digest(secret, bytes(32))
    with pytest.raises(ValueError, match="digest"):
        curve.sign_digest(b"\1" * 32, bytes(31))
    with pytest.raises(ValueError, match="digest"):
        curve.verify_digest(GENERATOR, bytes(33), 1, 1)


def test_recorded_hashes_on_both_backends():
    vectors = sorted(load("hash_to_curve")["vectors"], key=lambda vector: vector["attempts"])
    for vector in vectors[::8] + vectors[-3:]:
        for curve in (FAST, SLOW):
            hashed = hash_to_curve(bytes.fromhex(vector["pub"]), curve.is_point)
            assert (hashed.point.hex(), hashed.attempts) == (vector["point"], vector["attempts"])


def test_hashing_gives_up_after_its_bound():
    seen = []
    with pytest.raises(Exception, match="no point found"):
        hash_to_curve(GENERATOR, lambda candidate: bool(seen.append(candidate)))
    assert len(set(seen)) == 128
    assert seen[0] == b"\x02" + hashlib.sha3_256(GENERATOR).digest()


def test_caches_stay_within_their_bounds():
    curve = LibraryCurve(curve_libsecp256k1.load_coincurve(), member_limit=3, image_limit=2)
    keys = [curve.public_key(bytes([0] * 31 + [number])) for number in range(1, 9)]
    images = [curve.multiply(number, HASHED_G) for number in range(1, 9)]
    expected = [SLOW.ring_points(key, image, 5, 6) for key, image in zip(keys, images, strict=True)]
    for _ in range(2):
        for key, image, points in zip(keys, images, expected, strict=True):
            assert curve.ring_points(key, image, 5, 6) == points
            curve.note_verified([key], image)
            assert curve.ring_points(key, image, 5, 6) == points
    assert len(curve._members) == 3
    assert len(curve._images) == 2


def test_a_key_image_is_kept_only_when_said_so():
    curve = load_curve()
    before = len(curve._images)
    curve.ring_points(GENERATOR, FAST.multiply(12345, HASHED_G), 1, 2)
    assert len(curve._images) == before


def test_the_least_recently_used_goes_first():
    kept: RecentlyUsed[bytes, int] = RecentlyUsed(2)
    kept.put(b"a", 1)
    kept.put(b"b", 2)
    assert kept.get(b"a") == 1
    kept.put(b"c", 3)
    assert [kept.get(key) for key in (b"a", b"b", b"c")] == [1, None, 3]


def test_threads_share_one_curve():
    curve = load_curve()
    cases = [(number, number * number + 1) for number in range(1, 60)]
    keys = [curve.public_key(bytes([0] * 31 + [1 + number % 5])) for number, _ in cases]
    expected = [FAST.ring_points(key, HASHED_G, s, c) for key, (s, c) in zip(keys, cases, strict=True)]
    wrong: list[tuple[int, int]] = []

    def work() -> None:
        for _ in range(6):
            for key, (s, c), points in zip(keys, cases, expected, strict=True):
                if curve.ring_points(key, HASHED_G, s, c) != points:
                    wrong.append((s, c))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(curve._idle) <= 6


@pytest.mark.parametrize("curve", [load_curve(), PythonCurve()], ids=lambda curve: curve.name)
def test_the_self_test_passes_on_each_backend(curve):
    curve_selftest.check(curve)
    assert sum(1 for _ in curve_selftest._answers(curve)) >= 20


class _Wrong:
    """A curve that answers one operation wrongly."""

    name = "wrong"

    def __init__(self, operation: str, answer: object) -> None:
        self._operation, self._answer = operation, answer

    def __getattr__(self, name: str) -> object:
        return (lambda *_: self._answer) if name == self._operation else getattr(FAST, name)


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("ring_points", (GENERATOR, GENERATOR)),
        ("ring_points", (INFINITY, INFINITY)),
        ("is_point", True),
        ("is_point", False),
        ("public_key", GENERATOR),
        ("sign_digest", bytes(64)),
        ("verify_digest", True),
        ("verify_digest", False),
    ],
)
def test_the_self_test_notices_a_wrong_answer(operation, answer):
    with pytest.raises(NoCurve, match="self-test failed"):
        curve_selftest.check(_Wrong(operation, answer))


def _hide_libraries(monkeypatch) -> None:
    for module in ("coincurve", "coincurve._libsecp256k1", "_btclib_libsecp256k1"):
        monkeypatch.setitem(sys.modules, module, None)


def test_without_a_library_the_slow_curve_needs_leave(monkeypatch):
    _hide_libraries(monkeypatch)
    with pytest.raises(NoCurve, match="not allowed"):
        load_curve()
    assert load_curve(allow_slow_python=True).name == "ecdsa"


def test_a_library_without_a_function_is_not_used(monkeypatch):
    monkeypatch.setattr(curve_libsecp256k1, "FUNCTIONS", (*curve_libsecp256k1.FUNCTIONS, "ec_pubkey_fly"))
    with pytest.raises(NoCurve, match="ec_pubkey_fly"):
        load_curve()
