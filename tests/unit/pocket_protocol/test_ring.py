"""Ring signatures: the chain's verdicts, bounds on what is looked at, signing, and one form per signing act."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.curve import ORDER, load_curve
from pocket_protocol.curve_python import PythonCurve
from pocket_protocol.errors import Malformed, PocketError, Refused
from pocket_protocol.ring import (
    CannotSignRing,
    NotExpectedRing,
    RingMalformed,
    RingMember,
    RingNotStrict,
    RingSignatureInvalid,
    RingTooLarge,
    encode_ring,
    hash_to_scalar,
    parse_ring,
    refusal_text,
    sign_ring,
    verify_ring,
)
from tests.vectors import load

FAST, SLOW = load_curve(), PythonCurve()
MESSAGE = bytes(range(32))
SECRETS = [bytes([0] * 30 + [7, number]) for number in range(1, 6)]
KEYS = [FAST.public_key(secret) for secret in SECRETS]


def random_scalars():
    while True:
        yield secrets.token_bytes(32)


def signed(size: int = 2, signer: int = 0, message: bytes = MESSAGE) -> bytes:
    return sign_ring(FAST, message, SECRETS[signer], KEYS[:size], random_scalars())


def recorded(section: str, kind: str) -> list[tuple[bytes, bytes, frozenset[bytes]]]:
    document = load("ring_signatures")
    keys = [bytes.fromhex(key["pub"]) for key in document["keys"]]
    return [
        (
            bytes.fromhex(vector["msg"]),
            bytes.fromhex(vector["sig"]),
            frozenset(keys[index] for index in vector["expected_set"])
            | {bytes.fromhex(key) for key in vector.get("expected_extra_pubs", [])},
        )
        for vector in document[section]
        if vector["kind"] == kind
    ]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_member_can_sign_and_nobody_else(size):
    for signer in range(size):
        signature = signed(size, signer)
        assert len(signature) == 69 + 65 * size
        verify_ring(FAST, MESSAGE, signature, frozenset(KEYS), strict=True)
    with pytest.raises(RingSignatureInvalid):
        verify_ring(FAST, bytes(32), signature, frozenset(KEYS))


def test_the_slow_backend_gives_the_recorded_signatures_and_verdicts():
    document = load("ring_signatures")
    keys = [bytes.fromhex(key["pub"]) for key in document["keys"]]
    quirky = [vector for vector in document["valid"] if max(vector.get("short", [0])) > 1]
    assert len(quirky) >= 3
    for vector in quirky + document["valid"][::120]:
        ring = [keys[index] for index in vector["ring"]]
        private_key = bytes.fromhex(document["keys"][vector["ring"][vector["signer"]]]["priv"])
        scalars = map(bytes.fromhex, vector["rand"])
        signature = sign_ring(SLOW, bytes.fromhex(vector["msg"]), private_key, ring, scalars)
        assert signature.hex() == vector["sig"]
        verify_ring(SLOW, bytes.fromhex(vector["msg"]), signature, frozenset(ring))


def test_the_slow_backend_judges_odd_signatures_alike():
    kinds = [
        "nonce_zero",
        "L_infinity_nonsigner",
        "L_doubling_nonsigner",
        "s_zero",
        "s_equals_N",
        "ring_of_one",
    ]
    for kind in kinds:
        message, signature, keys = recorded("accepted_unusual", kind)[0]
        fast, slow = (verify_ring(curve, message, signature, keys) for curve in (FAST, SLOW))
        assert fast == slow
    for kind in ("canonical_hash_to_scalar", "hash_to_curve_odd_y", "wrong_image", "negated_image"):
        message, signature, keys = recorded("invalid", kind)[0]
        with pytest.raises(RingSignatureInvalid):
            verify_ring(SLOW, message, signature, keys)


def test_a_member_that_is_not_expected_is_refused_wherever_it_stands():
    signature = signed(4, 2)
    for missing in range(4):
        with pytest.raises(NotExpectedRing) as refusal:
            verify_ring(FAST, MESSAGE, signature, frozenset(KEYS[:4]) - {KEYS[missing]})
        assert refusal.value.member == missing
    with pytest.raises(NotExpectedRing):
        verify_ring(FAST, MESSAGE, signature, frozenset())


def test_refusals_carry_the_words_of_the_network():
    signature = bytearray(signed())
    app = "pokt1thgdupa2qtc2qkjgffd8gymsvc2c7gmxuqr7y6"

    def text(signature: bytes, keys: frozenset[bytes]) -> str:
        with pytest.raises(PocketError) as refusal:
            verify_ring(FAST, MESSAGE, signature, keys)
        return refusal_text(refusal.value, app)

    ending = "invalid relay request signature"
    assert text(bytes(signature), frozenset(KEYS[2:])) == (
        f"ring signature in the relay request does not match the expected one for the app {app}: {ending}"
    )
    assert text(b"", frozenset(KEYS)) == f"error deserializing ring signature: input too short: {ending}"
    signature[10] ^= 1
    assert text(bytes(signature), frozenset(KEYS)) == f"{ending} or bytes: {ending}"


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 35, 36, 68, 69, 100, 101, 133, 134, 198])
def test_a_cut_signature_is_malformed(cut):
    with pytest.raises(RingMalformed):
        parse_ring(signed()[:cut])


@pytest.mark.parametrize("count", [0, 3, 32, 33, 2**31, 2**32 - 1])
def test_a_wrong_count_is_refused(count):
    signature = count.to_bytes(4, "big") + signed()[4:]
    with pytest.raises((RingMalformed, RingTooLarge)):
        verify_ring(FAST, MESSAGE, signature, frozenset(KEYS))


class _NoCurve:
    """A curve nothing may be asked of."""

    name = "none"

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was used")


def test_a_large_ring_costs_nothing():
    members = [RingMember(bytes(31) + b"\1", KEYS[0])] * 16_000
    signature = encode_ring(1, KEYS[0], members)
    with pytest.raises(RingTooLarge) as refusal:
        verify_ring(_NoCurve(), MESSAGE, signature, frozenset(KEYS))
    assert refusal.value.members == 16_000
    with pytest.raises(RingTooLarge):
        parse_ring(signed(5), max_ring_size=4)
    assert len(parse_ring(signed(5), max_ring_size=5).members) == 5


def test_strict_mode_refuses_what_no_honest_gateway_sends():
    unusual = {
        "trailing_bytes": "trailing bytes",
        "s_above_N": "scalar not reduced",
        "s_equals_N": "scalar not reduced",
        "ring_of_one": "ring of one",
        "duplicate_key_ring": "repeated member",
        "repeated_members": "repeated member",
    }
    for kind, detail in unusual.items():
        for message, signature, keys in recorded("accepted_unusual", kind):
            verify_ring(FAST, message, signature, keys, max_ring_size=64)
            with pytest.raises(RingNotStrict, match=detail):
                verify_ring(FAST, message, signature, keys, strict=True, max_ring_size=64)


def test_a_failed_verification_leaves_no_key_image_behind():
    curve = load_curve()
    signature = bytearray(signed(2, 1))
    signature[5] ^= 1
    before = len(curve._images)
    with pytest.raises(RingSignatureInvalid):
        verify_ring(curve, MESSAGE, bytes(signature), frozenset(KEYS))
    assert len(curve._images) == before
    signature[5] ^= 1
    verify_ring(curve, MESSAGE, bytes(signature), frozenset(KEYS))
    assert len(curve._images) == before + 1


def restart(signature: bytes, start: int) -> bytes:
    """Return the same signature, started at another member: needs no key."""
    verified = verify_ring(FAST, MESSAGE, signature, frozenset(KEYS))
    members = verified.signature.members
    return encode_ring(
        verified.challenges[start], verified.signature.key_image, members[start:] + members[:start]
    )


def twice_round(signature: bytes) -> bytes:
    ring = parse_ring(signature)
    return encode_ring(int.from_bytes(ring.challenge, "big"), ring.key_image, ring.members * 2)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_all_encodings_of_one_signing_act_have_one_form(size):
    signature = signed(size, size - 1)
    encodings = [
        signature,
        signature + b"tail",
        twice_round(signature),
        *(restart(signature, start) for start in range(1, size)),
        restart(twice_round(signature), size + 1) + b"\0",
    ]
    assert len(set(encodings)) == len(encodings)
    forms = {verify_ring(FAST, MESSAGE, encoding, frozenset(KEYS)).canonical_form() for encoding in encodings}
    assert len(forms) == 1
    (form,) = forms
    assert len(form) == len(signature)
    assert verify_ring(FAST, MESSAGE, form, frozenset(KEYS), strict=True).canonical_form() == form
    other = verify_ring(FAST, MESSAGE, signed(size, size - 1), frozenset(KEYS))
    assert other.canonical_form() != form


def test_reduced_and_unreduced_scalars_have_one_form():
    for message, signature, keys in recorded("accepted_unusual", "s_equals_N"):
        ring = parse_ring(signature)
        plain = encode_ring(
            int.from_bytes(ring.challenge, "big"),
            ring.key_image,
            [
                RingMember((int.from_bytes(scalar, "big") % ORDER).to_bytes(32, "big"), key)
                for scalar, key in ring.members
            ],
        )
        assert plain != signature
        forms = {verify_ring(FAST, message, s, keys).canonical_form() for s in (plain, signature)}
        assert len(forms) == 1


def test_challenges_of_short_hashes_are_padded_on_the_right():
    short = [vector for vector in load("hash_to_scalar")["vectors"] if vector.get("short")]
    for vector in short:
        challenge = hash_to_scalar(bytes.fromhex(vector["in"]))
        assert challenge == int(vector["reduced"], 16) << 8 * vector["short"]


def test_an_outsider_cannot_sign():
    cases = [
        (b"\5" * 32, KEYS[:2]),
        (SECRETS[0], KEYS[:1]),
        (SECRETS[0], []),
        (bytes(32), KEYS[:2]),
        (ORDER.to_bytes(32, "big"), KEYS[:2]),
        (SECRETS[0][1:], KEYS[:2]),
    ]
    for private_key, ring in cases:
        with pytest.raises(CannotSignRing) as refusal:
            sign_ring(FAST, MESSAGE, private_key, ring, random_scalars())
        assert private_key.hex() not in str(refusal.value)
    with pytest.raises(CannotSignRing, match="zero"):
        sign_ring(FAST, MESSAGE, SECRETS[0], KEYS[:2], iter([bytes(32)] * 2))


def test_where_a_key_stands_twice_its_first_place_signs():
    ring = [KEYS[0], KEYS[0]]
    signature = sign_ring(FAST, MESSAGE, SECRETS[0], ring, iter([b"\1" * 32, b"\2" * 32]))
    assert parse_ring(signature).members[1].scalar == b"\2" * 32
    verify_ring(FAST, MESSAGE, signature, frozenset(ring))


def test_one_key_has_one_image_in_every_ring():
    images = {parse_ring(signed(size, 1, bytes([size] * 32))).key_image for size in (2, 3, 5)}
    assert len(images) == 1


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_raise_only_our_errors(data):
    with pytest.raises((Malformed, Refused)):
        verify_ring(FAST, MESSAGE, data, frozenset(KEYS))


GOOD = signed(3, 1)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@settings(max_examples=120, deadline=None)
def test_any_changed_byte_is_refused_by_both_backends_alike(position, change):
    changed = bytearray(GOOD)
    changed[position] ^= change
    with pytest.raises((Malformed, Refused)) as refusal:
        verify_ring(FAST, MESSAGE, bytes(changed), frozenset(KEYS))
    if position % 8 == 0:
        with pytest.raises(type(refusal.value)):
            verify_ring(SLOW, MESSAGE, bytes(changed), frozenset(KEYS))
