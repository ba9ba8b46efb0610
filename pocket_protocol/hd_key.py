"""Account keys from a mnemonic: BIP-39 seed and BIP-32 derivation (spec/chain.md §2). For tools and key files.

The words are not checked against a word list: any text derives some key, as in the key tools of the network.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from typing import NamedTuple

from pocket_protocol.curve import ORDER, Curve
from pocket_protocol.errors import Malformed
from pocket_protocol.signer import PrivateKey

ACCOUNT_PATH = "m/44'/118'/0'/0/0"
HARDENED = 2**31
SEED_ROUNDS = 2048
_PATH = re.compile(r"m(/[0-9]{1,10}'?)*", re.ASCII)


class BadDerivation(Malformed):
    """A path that cannot be read, or the one derivation in 2^127 that has no key. Shows no secret."""

    reason = "bad_derivation"
    summary = "cannot derive a key"


class _Node(NamedTuple):
    secret: int
    chain_code: bytes


def key_of_mnemonic(
    curve: Curve, mnemonic: str, path: str = ACCOUNT_PATH, passphrase: str = ""
) -> PrivateKey:
    """Return the private key at `path`. Raises `BadDerivation`."""
    words = unicodedata.normalize("NFKD", " ".join(mnemonic.split()))
    salt = unicodedata.normalize("NFKD", "mnemonic" + passphrase)
    seed = hashlib.pbkdf2_hmac("sha512", words.encode(), salt.encode(), SEED_ROUNDS)
    return key_of_seed(curve, seed, path)


def key_of_seed(curve: Curve, seed: bytes, path: str = ACCOUNT_PATH) -> PrivateKey:
    """Return the private key at `path` below a BIP-32 seed. Raises `BadDerivation`."""
    node = _node(hmac.digest(b"Bitcoin seed", seed, "sha512"), 0)
    for index in _indexes(path):
        node = _child(curve, node, index)
    return PrivateKey(node.secret.to_bytes(32, "big"))


def _indexes(path: str) -> list[int]:
    if not _PATH.fullmatch(path):
        raise BadDerivation("path cannot be read", path=path)
    indexes = []
    for step in path.split("/")[1:]:
        number = int(step.rstrip("'"))
        if number >= HARDENED:
            raise BadDerivation("path index out of range", path=path)
        indexes.append(number + (HARDENED if step.endswith("'") else 0))
    return indexes


def _node(digest: bytes, parent: int) -> _Node:
    tweak = int.from_bytes(digest[:32], "big")
    secret = (tweak + parent) % ORDER
    if tweak >= ORDER or secret == 0:
        raise BadDerivation
    return _Node(secret, digest[32:])


def _child(curve: Curve, node: _Node, index: int) -> _Node:
    secret = node.secret.to_bytes(32, "big")
    parent = b"\0" + secret if index >= HARDENED else curve.public_key(secret)
    return _node(hmac.digest(node.chain_code, parent + index.to_bytes(4, "big"), "sha512"), node.secret)
