"""What a curve backend must get right before it may verify or sign: known answers.

Whole ring signatures (with the short challenge, points at infinity, equal summands and a zero scalar), single
sums at the edges, H_p and ECDSA. All values were produced or judged by the reference (spec/signatures.md §11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pocket_protocol.curve import GENERATOR, INFINITY, ORDER, Curve, NoCurve, hash_to_curve
from pocket_protocol.errors import PocketError
from pocket_protocol.ring import RingSignatureInvalid, parse_ring, verify_ring
from pocket_protocol.signer import PrivateKey, sign, verify


class RingCase(NamedTuple):
    """A ring of two: message and signature in hex, and whether the reference accepts it."""

    label: str
    accepted: bool
    message: str
    signature: str


RING_CASES = (
    RingCase(
        "plain",
        True,
        "00a61653421cc8d524f5863d470c67180de87937bf871e0c25277fb9941ce114",
        "000000023c2aeb62adce13c023ee14574284a082053e20ca99be5c5cf4c39a942ecbf794037a3f1dac783bd5c11e532f"
        "ae0a73366ae87ec99eb90889ff69b499742768cec2604fd57819b1c6af413efd239e95b82a1af7818e768b57034baabc"
        "3537acc60203ea2bcce4b1561166dbfb0555955b874de38a16e443d705c7bd61110bfe3a6d3037a99b03da713a6914ad"
        "e35ca84a02da8bcd86aaf0b10576aa3201ba8983055102b8f05abbe893f4b4332b0ce32da5528908364a5456bf371256"
        "ae77cd1a8eee77",
    ),
    RingCase(
        "challenge one byte short",
        True,
        "ea282d08a554aa308ae17a503a7999e9d098151ecb54f284256e44c991da5903",
        "00000002e42a9b3f799ead5307dc629e77dd48a2d17f39df05d3c16d5640e9a443e5149a03696f2feaf6c6c2fbc6ef73"
        "cbbe906774b6c15e3eb7d42fef31a1f5995506aef6ce4b98fda3c752f60baf185441c71f77fe6cd8f287928ca9f94322"
        "f68e68394802c13918f594f0c4997191d8a3a6490217087fc7f58ae538e5c99c1131cbe0ce70339b2f1acda25fdc81f6"
        "8c5e1268cc212a7dd97d357eeab25b1dc9186958f3e7038ceebe05366c675b7a74887c9700b031c74a289f2389dd30f0"
        "c55b66db19672d",
    ),
    RingCase(
        "challenge two bytes short",
        True,
        "239fda509bd17ea0e0c948f85c4bee0851d40f24990aa592077dc8628d2df666",
        "00000002e8ec5de0e723ed0356329071606d98bf530663f0a6f265535a1613ba3ce90000025f8ae9dd1bc5f5dff145e8"
        "b50d3f5db2265bf231c83255f255ec95a6e2ad75f8f2618d7a6653c82380984aa5b63c6e15012a8baa7df8eb3559345d"
        "aa4f68fbb402652cfa79b7883ed185df6365eba1430d91dad9b41ba39281b20d31c869f76804d257359cabfdc8fbc208"
        "158b3567a6ca64c5827fee1832bda126167e86c96b3202dd6224a5c55a8891edb600fab59ab054cddf5a09f7b88e289b"
        "97d93481d0aed2",
    ),
    RingCase(
        "nonce zero",
        True,
        "8120d29c941b4e573777d8a0f89514922f5b202c9ad28eb79755966488bec352",
        "00000002b8985906b444e30089ad813c68f8bc1548281f824c4a3e7b6c5fd14d57f7a00a03b833350f5f5cf503a0a354"
        "a68e7425829bea4c57d656d4361b732e6a0ee72db3aaf1f9ab1af9d83741edef01691bf5f7b7e2e6a9b588c305f04f10"
        "5f0db5aeeb03831a641ee3cd268d810032d119e6b2939b65e2e05bfbcdfcd37175c5b4c5558fc8931adf7c98e7798d64"
        "8e18a174fb5dbf6bf019ebeee42ba690a372cf1ab79703dd98a25bd5ef1b77030cdac2e3d15c94959caa9775153a35d0"
        "d82aedc9834f72",
    ),
    RingCase(
        "L at infinity",
        True,
        "600098980f3950bb0e84041461599f03f9ca24824987753de5858e207364b103",
        "0000000293e61f787ae8638480eed9ad86ee65352eef7fa70d47d79cd7972a11c3c611de02e4a7c69924e6620f2f55f4"
        "ba622c5e86dfccd7ba772cdb8947ac46ce0b338c00451c950bd890efdb2c604dbcb6b566c6b2f530131a09ce0d77d37b"
        "32f09f846403575ee9958c3806d7c21cfd4d30014e877e3503ce26a19a7291ba403d6a5ac00bbee5b8a0e87ca7e9efce"
        "f352af3e36ddfd29fd0583fb5495990e3ce4cfcddd6202dd6224a5c55a8891edb600fab59ab054cddf5a09f7b88e289b"
        "97d93481d0aed2",
    ),
    RingCase(
        "equal summands",
        True,
        "600098980f3950bb0e84041461599f03f9ca24824987753de5858e207364b103",
        "00000002a30043c1a6803cbf60224345d2f8a5fec436837461d53e829acf26cc2315a3f502e4a7c69924e6620f2f55f4"
        "ba622c5e86dfccd7ba772cdb8947ac46ce0b338c00c8335184110d8322f4aa55e9e7e4abdaf0684c162f5169ba43f72d"
        "fe73c8c75903575ee9958c3806d7c21cfd4d30014e877e3503ce26a19a7291ba403d6a5ac00b35992272d89f4cda624a"
        "d022b3b0add9aa562345e23dd426215c48984893972502dd6224a5c55a8891edb600fab59ab054cddf5a09f7b88e289b"
        "97d93481d0aed2",
    ),
    RingCase(
        "scalar zero",
        True,
        "c50e032eaa764be8e2ba391197ee1d64bb23fbcc663e0e457911ca91359188af",
        "000000024cd2988bed180470c50fa41d795d349ce069da87f634511574a56aae3242dba6023c5b63d0480ca616a2072a"
        "6fae7f02e00a75db57bbac3f546a0a61f2452863549c98f6cfcefe7f30bd69e1a8e17c45b79462ce6ad358d97484dbc9"
        "25466b2ebd037029339a69d17a43f907ecce0e0cd436872e9eca2f5dbffeac0502f759631dfb00000000000000000000"
        "0000000000000000000000000000000000000000000002c413c7be8bdacd8336a12e4d0c58e94b345db1efc9cfdbbc85"
        "55a409a7262761",
    ),
    RingCase(
        "challenge without the right padding",
        False,
        "ff461458a13ca83e958e408596cffccd74c1392abd7f742eab9942a3c7c485f2",
        "000000021ec5a8296afcbecdc96812d2843d67e126354cc87683252b60fa7483dbba497902b3a122eee10f3e0f71b595"
        "72d06a684a6241270deca1aeac3ad2100069e7dd5c54e863a2aa724037b8a5f593dfba3bbc0bef7f42570317283203f8"
        "bf20fac25202258de0dc0ee9fde626ffa8f682bc649f929f318054efcb9c56f0ff5975612b1466e9cebd99161a9b88b2"
        "1e4ed6ff37b7e197b04f7647270ebcfd9955214982ad03e2e5e6a3a0e9e79e593ac473646e7283a9c1711c41ded4f700"
        "56a6e76d3d9741",
    ),
)

# Key -> H_p, found at the 1st, 2nd, 7th and 10th digest.
HASHED_KEYS = (
    (
        "0341fd215a6f367d77f3e3bf6146f3825d5bbf6b49353cca2a88379b0c9fb11c6e",
        "02d320048acbfe59f3c33ae8deb1eccdb9c0eae994a93e1fdba530e2879a4a52e1",
    ),
    (
        "02d0538b5eccf8ced28c063cc7ed53c5bab065a68194484976ea5cfed443748e89",
        "020354f5cf3e7b1b0fc1e0d9865050d8bb03fb7370507178cb9bcfa5a270529651",
    ),
    (
        "02b5cdb29b5f9f71a165da7dba6e39d835e54eb7a47765f79e7e22bbde21cc6eab",
        "02d6ba90ed8b0265c659d03b0892819f50243ad9f5bb10b99287c6fa4df0127beb",
    ),
    (
        "029b643624ec26654fcf4601c3909d08af23beed7b8a8e826982ad99449932fee2",
        "02e4a374fff42973b14ad097c0f6b6c85f1492e8e90f9aa047f772c03d495786e4",
    ),
)

TWICE_G = bytes.fromhex("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5")
HASHED_G = bytes.fromhex("023466e35137ee4b443543f35d83be1409d744b02f42b4d29a6030e9da3f5a00b9")
TWICE_HASHED_G = bytes.fromhex("0341599910468f5807a95b3ca6d8faf479128f12461521ceec4f150b5ee0be13e0")
# (s, c) -> s·G + c·G and s·H + c·H for P = G and I = H = H_p(G).
SUMS = (
    (0, 0, INFINITY, INFINITY),
    (1, 0, GENERATOR, HASHED_G),
    (0, 1, GENERATOR, HASHED_G),
    (1, 1, TWICE_G, TWICE_HASHED_G),
    (1, ORDER - 1, INFINITY, INFINITY),
    (2, ORDER - 1, GENERATOR, HASHED_G),
)

# Secret, message, signature.
SIGNATURES = (
    (
        "47406bc1ece320e2bdbc36e3c3fa6109c3afb66d79a99121cb19680bb386ead0",
        bytes.fromhex("24b921d6b783366405047fbe263cd27cf8df98498121aefe5fe826969b8ee21c"),
        "638dbb3b9a1a4e51a8082acad8bd78a9448b102794ab1325dab2d66035690224"
        "23f3fd5ce512f95fe2cd240e348434ac28e932a5f18006c3126854e343b9d9ed",
    ),
    (
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
        b"vector message for scalar-n-minus-1",
        "e412c0387374b2775a4f79a59c70316de49e231d5b1f7fdbf45e89f75e50e9e7"
        "19fdf2adc9abe7fbc2e2c5d3e23d1e6ace3f7d2da9b71ead3835e450b9d3f10c",
    ),
)


def check(curve: Curve) -> None:
    """Raise `NoCurve` naming the first answer that `curve` gets wrong."""
    try:
        wrong = next((label for label, right in _answers(curve) if not right), None)
    except PocketError as error:
        raise NoCurve("self-test failed", backend=curve.name, error=str(error)) from error
    if wrong is not None:
        raise NoCurve("self-test failed", backend=curve.name, answer=wrong)


def _answers(curve: Curve) -> Iterator[tuple[str, bool]]:
    for s, c, left, right in SUMS:
        yield f"sum {s:x} {c:x}", curve.ring_points(GENERATOR, HASHED_G, s, c) == (left, right)
    for key, hashed in HASHED_KEYS:
        yield f"H_p of {key}", hash_to_curve(bytes.fromhex(key), curve.is_point).point.hex() == hashed
    for secret, message, signature in SIGNATURES:
        key_pair = PrivateKey.from_hex(secret)
        yield "ECDSA", sign(curve, key_pair, message).hex() == signature
        public_key, signed = key_pair.public_key(curve), bytes.fromhex(signature)
        yield "ECDSA verified", verify(curve, public_key, message, signed)
        yield "ECDSA refused", not verify(curve, public_key, message[1:], signed)
    for case in RING_CASES:
        yield case.label, _accepts(curve, case) is case.accepted


def _accepts(curve: Curve, case: RingCase) -> bool:
    signature = bytes.fromhex(case.signature)
    keys = frozenset(parse_ring(signature).public_keys)
    try:
        verify_ring(curve, bytes.fromhex(case.message), signature, keys)
    except RingSignatureInvalid:
        return False
    return True
