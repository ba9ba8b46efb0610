"""Which keys may sign relays of an application in a session (spec/signatures.md §5, chain.md §4.2).

The application record is the *live* one, as the chain reads it. An application without an effective gateway has
the placeholder in its ring, a key whose private half is public: anyone can sign relays for it, and the chain pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pocket_protocol.curve import POINT_SIZE
from pocket_protocol.errors import Refused
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.types import Address, Height, PublicKey

# (SHA-256("placeholder_ring_key_for_apps_without_gateways") mod (N-1)) + 1, and its upper-case hex address.
PLACEHOLDER_SECRET_TEXT = b"placeholder_ring_key_for_apps_without_gateways"
PLACEHOLDER_PUBLIC_KEY = PublicKey(
    bytes.fromhex("021066f293709356a33e9c13017867586baf52513e845bc4335233a15ed1e00baf")
)
PLACEHOLDER_ADDRESS = Address("6178B12D0711F3A930A6133C39AE3B89E9E79A04")


class NoPublicKey(Refused):
    """A member's account does not exist or has not shown its public key to the chain yet."""

    reason = "ring_member_without_key"
    summary = "account has no public key"


class NotSecp256k1(Refused):
    """A member's account key is of another kind (rings/1)."""

    reason = "ring_member_not_secp256k1"
    summary = "key is not secp256k1"


class PlaceholderRefused(Refused):
    """The placeholder key, where it must not or shall not count."""

    reason = "placeholder_key"
    summary = "the placeholder key proves nothing: its private key is public"


def expected_addresses(application: Application, session_end_height: Height) -> list[Address]:
    """Return the addresses of the ring in the order a signer uses: sorted bytewise, placeholder first.

    `session_end_height` is the end of the session that contains the header's end height, by the live parameters.
    Pending undelegations count from that height on, once each; a gateway that is delegated too stands twice.
    """
    pending = (
        gateway
        for height, gateways in application.pending_undelegations.items()
        if height >= session_end_height
        for gateway in gateways.gateway_addresses
    )
    gateways = [*application.delegatee_gateway_addresses, *dict.fromkeys(pending)]
    members = [application.address, *(gateways or [PLACEHOLDER_ADDRESS])]
    return [Address(member) for member in sorted(members, key=lambda member: member.encode())]


def expected_keys(
    addresses: Iterable[Address], account_key: Callable[[Address], bytes | None]
) -> list[PublicKey]:
    """Return the public keys of `addresses`, in their order.

    `account_key` gives an account's 33-byte key, or None when the chain knows none; it is not asked for the
    placeholder. Raises `NoPublicKey`, `NotSecp256k1`.
    """
    keys = []
    for address in addresses:
        key = PLACEHOLDER_PUBLIC_KEY if address == PLACEHOLDER_ADDRESS else account_key(address)
        if key is None:
            raise NoPublicKey(address=address)
        if len(key) != POINT_SIZE or key[0] not in (2, 3):
            raise NotSecp256k1(address=address)
        keys.append(PublicKey(key))
    return keys


def refuse_placeholder(public_keys: Iterable[bytes]) -> None:
    """Raise `PlaceholderRefused` if the placeholder is among the keys.

    Always called for pinned keys (simulated relays); for a signature's members only where the operator asks for
    it (`refuse_placeholder_rings`).
    """
    if PLACEHOLDER_PUBLIC_KEY in public_keys:
        raise PlaceholderRefused
