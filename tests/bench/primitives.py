"""The curve operations of a relay, each by itself."""

from __future__ import annotations

import hashlib
import itertools
import statistics
import time
from collections.abc import Callable

from pocket_protocol.curve import load_curve
from pocket_protocol.ring import sign_ring, verify_ring
from pocket_protocol.signer import PrivateKey, sign, verify

ROUNDS = 400


def _median_us(work: Callable[[int], object], rounds: int) -> float:
    spent = []
    for number in range(rounds):
        started = time.perf_counter()
        work(number)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent) * 1e6


def primitive_costs(rounds: int = ROUNDS) -> list[tuple[str, float]]:
    """(operation, median microseconds), with the process's own curve, members of rings seen before."""
    curve = load_curve()
    secrets = [hashlib.sha256(f"bench {n}".encode()).digest() for n in range(2)]
    ring = [curve.public_key(secret) for secret in secrets]
    expected = frozenset(ring)
    counter = itertools.count()

    def scalars() -> object:
        while True:
            yield hashlib.sha256(f"scalar {next(counter)}".encode()).digest()

    messages = [hashlib.sha256(f"message {n}".encode()).digest() for n in range(rounds)]
    signatures = [sign_ring(curve, message, secrets[1], ring, scalars()) for message in messages]  # type: ignore[arg-type]
    key = PrivateKey(secrets[0])
    signed = [sign(curve, key, message) for message in messages]
    return [
        (
            "ring of 2: sign (the client's)",
            _median_us(lambda n: sign_ring(curve, messages[n], secrets[1], ring, scalars()), rounds),  # type: ignore[arg-type]
        ),
        (
            "ring of 2: verify",
            _median_us(lambda n: verify_ring(curve, messages[n], signatures[n], expected), rounds),
        ),
        ("ECDSA: sign a response", _median_us(lambda n: sign(curve, key, messages[n]), rounds)),
        (
            "ECDSA: verify (the client's)",
            _median_us(lambda n: verify(curve, ring[0], messages[n], signed[n]), rounds),
        ),
    ]
