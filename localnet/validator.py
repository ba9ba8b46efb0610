"""The chain's only validator: proposer of every block, payee of the proposer's share."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from fractions import Fraction

from pocket_protocol.address import encode_bech32, parse_address

_DECIMALS = 18
_POWER_REDUCTION = 10**6


@dataclass(frozen=True, slots=True)
class Validator:
    """`consensus_key` is its 32-byte ed25519 key, which nothing here signs with."""

    account_address: str
    stake_upokt: int
    commission: Fraction
    consensus_key: bytes

    @property
    def operator_address(self) -> str:
        return encode_bech32("poktvaloper", parse_address(self.account_address))

    @property
    def commission_text(self) -> str:
        """The rate as the network prints decimals: 18 places."""
        scaled = int(self.commission * 10**_DECIMALS)
        return f"{scaled // 10**_DECIMALS}.{scaled % 10**_DECIMALS:0{_DECIMALS}d}"

    @property
    def consensus_address(self) -> str:
        """The address in block headers: 20 bytes, upper-case hex."""
        return hashlib.sha256(self.consensus_key).hexdigest()[:40].upper()

    def to_json(self) -> dict[str, object]:
        return {
            "address": self.consensus_address,
            "pub_key": {
                "type": "tendermint/PubKeyEd25519",
                "value": base64.b64encode(self.consensus_key).decode(),
            },
            "voting_power": str(self.stake_upokt // _POWER_REDUCTION),
        }
