"""Tables for often seen keys: the same points and verdicts as without, made late, in steps, within bounds."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import curve_selftest
from pocket_protocol.curve import GENERATOR, INFINITY, ORDER, hash_to_curve, load_curve
from pocket_protocol.curve_libsecp256k1 import LIBRARIES, Library
from pocket_protocol.curve_tables import FEWEST_TABLES, TABLE_BYTES, TableCurve
from pocket_protocol.errors import PocketError
from pocket_protocol.ring import verify_ring
from tests.vectors import load

PLAIN = load_curve()
KEYS = [PLAIN.multiply(number, GENERATOR) for number in (1, 2, 77)]
IMAGE = PLAIN.multiply(2, hash_to_curve(KEYS[1], PLAIN.is_point).point)
LEAST = FEWEST_TABLES * TABLE_BYTES


def library() -> Library:
    for load_library in LIBRARIES:
        try:
            return load_library()
        except ImportError:
            continue
    raise AssertionError("no libsecp256k1")


def fill(curve: TableCurve, keys: list[bytes], image: bytes) -> int:
    """Report verifications until nothing is left to be made; return how many it took."""
    for count in range(1, 20_000):
        curve.note_verified(keys, image)
        if count >= curve._build_after and not curve._waiting:
            return count
    raise AssertionError("tables are never complete")


@pytest.fixture(scope="module")
def tabled() -> TableCurve:
    curve = TableCurve(library(), LEAST, build_after=2)
    fill(curve, KEYS[:2], IMAGE)
    assert len(curve._tables) == 5  # one key is G itself
    return curve


def test_a_table_is_made_late_and_in_steps():
    curve = TableCurve(library(), LEAST, build_after=50)
    for _ in range(49):
        curve.note_verified(KEYS[:2], IMAGE)
    assert not curve._waiting
    assert fill(curve, KEYS[:2], IMAGE) > 5 * 100
    assert curve._filling is None


scalars = st.one_of(
    st.sampled_from([0, 1, 2, 255, 256, 257, 2**248, 255 * 2**248, ORDER - 1, ORDER - 2]),
    st.integers(0, ORDER - 1),
)


@given(st.sampled_from(KEYS[:2]), scalars, scalars)
@settings(max_examples=120, deadline=None)
def test_sums_from_tables_are_the_plain_ones(tabled, key, s, c):
    assert tabled.ring_points(key, IMAGE, s, c) == PLAIN.ring_points(key, IMAGE, s, c)


@given(scalars)
@settings(max_examples=40, deadline=None)
def test_sums_from_tables_cancel_and_double(tabled, c):
    # P = 2·G and I = 2·H_p(P)
    assert tabled.ring_points(KEYS[1], IMAGE, -2 * c % ORDER, c) == (INFINITY, INFINITY)
    assert tabled.ring_points(KEYS[1], IMAGE, 2 * c % ORDER, c) == PLAIN.ring_points(
        KEYS[1], IMAGE, 2 * c % ORDER, c
    )


def test_every_odd_signature_is_judged_alike_with_tables():
    document = load("ring_signatures")
    keys = [bytes.fromhex(key["pub"]) for key in document["keys"]]
    curve = TableCurve(library(), LEAST, build_after=1)
    rings = [
        v
        for v in document["accepted_unusual"]
        if v["kind"] in ("nonce_zero", "L_doubling_nonsigner", "s_zero")
    ]
    for vector in rings[:6]:
        expected = frozenset(keys[index] for index in vector["expected_set"])
        message, signature = bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"])
        verified = verify_ring(curve, message, signature, expected)
        while curve._waiting:
            curve._fill()
        known = [verified.signature.key_image, *verified.signature.public_keys]
        assert all(curve._tables.get(point) is not None for point in known)
        assert verify_ring(curve, message, signature, expected) == verified
        with pytest.raises(PocketError):
            verify_ring(curve, message[::-1], signature, expected)
    curve_selftest.check(curve)


def test_tables_stay_within_their_bound():
    curve = TableCurve(library(), LEAST, build_after=1)
    curve._tables.limit = 6
    images = [PLAIN.multiply(number, IMAGE) for number in (1, 3, 5)]
    for image in images:
        fill_once = [curve.note_verified([key, KEYS[2]], image) for key in KEYS[:2]]
        assert fill_once == [None, None]
        while curve._waiting:
            assert len(curve._waiting) <= 7
            curve._fill()
        assert len(curve._tables) <= 6
    for image in images:
        assert curve.ring_points(KEYS[0], image, 5, 6) == PLAIN.ring_points(KEYS[0], image, 5, 6)


def test_large_rings_get_no_tables():
    curve = TableCurve(library(), LEAST, build_after=1)
    curve.note_verified(KEYS[:1] * 9, IMAGE)
    assert not curve._waiting


def test_too_little_memory_is_said_at_once():
    with pytest.raises(ValueError, match="tables need"):
        TableCurve(library(), LEAST - 1)


def test_the_loader_gives_tables_when_asked():
    assert load_curve(table_bytes=LEAST).name == f"{load_curve().name} with tables"


def test_threads_fill_one_table_at_a_time():
    curve = TableCurve(library(), LEAST, build_after=1)
    curve.note_verified(KEYS[:1], IMAGE)

    def work() -> None:
        for _ in range(100):
            curve.note_verified(KEYS[:1], IMAGE)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fill(curve, KEYS[:1], IMAGE)
    assert len(curve._tables) == 3
    for scalar in (3, ORDER - 3, 2**255):
        assert curve.ring_points(KEYS[0], IMAGE, scalar, 9) == PLAIN.ring_points(KEYS[0], IMAGE, scalar, 9)
