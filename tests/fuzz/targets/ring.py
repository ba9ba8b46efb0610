"""Ring signatures: 32 bytes of message, then the signature; the members' keys are the golden data's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from pocket_protocol.curve import load_curve
from pocket_protocol.curve_python import PythonCurve
from pocket_protocol.errors import Malformed, PocketError, Refused
from pocket_protocol.ring import RingNotStrict, encode_ring, parse_ring, refusal_text, verify_ring
from tests.fuzz.corpus import spread
from tests.fuzz.target import Attempt, Target
from tests.vectors import load

COMPARED_EVERY = 256  # the slow curve takes a hundred times as long


@cache
def known_keys() -> frozenset[bytes]:
    return frozenset(bytes.fromhex(key["pub"]) for key in load("ring_signatures")["keys"])


def seeds() -> list[bytes]:
    document = load("ring_signatures")
    cases = [*spread_cases(document["valid"], 100), *document["accepted_unusual"], *document["invalid"]]
    return spread(bytes.fromhex(case["msg"]) + bytes.fromhex(case["sig"]) for case in cases)


def spread_cases(cases: list[Any], most: int) -> list[Any]:
    return cases[:: max(1, len(cases) // most)]


@contextmanager
def opened() -> Iterator[Attempt]:
    curve, slow = load_curve(), PythonCurve()
    expected = known_keys()

    def attempt(data: bytes) -> bool:
        message, signature = data[:32].ljust(32, b"\0"), data[32:]
        with suppress(Malformed, Refused):
            ring = parse_ring(signature)
            again = encode_ring(int.from_bytes(ring.challenge, "big"), ring.key_image, ring.members)
            assert again + ring.trailing == signature, "parsed and written again, it differs"
        verdict = judged(curve, message, signature)
        if signature and sum(signature) % COMPARED_EVERY == 0:
            assert judged(slow, message, signature) == verdict, "the two curves disagree"
        return verdict == ""

    def judged(curve: object, message: bytes, signature: bytes) -> str:
        try:
            verify_ring(curve, message, signature, expected)  # type: ignore[arg-type]
        except (Malformed, Refused) as error:
            return refused(error)
        with suppress(RingNotStrict):
            verify_ring(curve, message, signature, expected, strict=True)  # type: ignore[arg-type]
        return ""

    def refused(error: PocketError) -> str:
        return refusal_text(error, "pokt1") or "refused"

    yield attempt


RING = Target(
    seeds, opened, (bytes(32), b"\xff" * 32, b"\x02", b"\x03", b"\0\0\0\x02", b"\xff\xff\xff\xff"), 4096
)
