"""Names for numbers and texts that must not be confused, and the chain position handed down as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

Height = NewType("Height", int)  # block number, first block is 1
SessionId = NewType("SessionId", str)  # 64 lower-case hex characters
ServiceId = NewType("ServiceId", str)  # 1..42 of [A-Za-z0-9_-]
Address = NewType("Address", str)  # bech32 text, prefix pokt
SupplierAddress = NewType("SupplierAddress", str)  # operator address
ApplicationAddress = NewType("ApplicationAddress", str)
ComputeUnits = NewType("ComputeUnits", int)
Upokt = NewType("Upokt", int)  # 1 POKT = 10**6 uPOKT
Path = NewType("Path", bytes)  # 32 bytes: SHA-256 of a relay hash
RelayHash = NewType("RelayHash", bytes)  # 32 bytes: SHA-256 of the mined relay's bytes
BlockHash = NewType("BlockHash", bytes)  # 32 bytes: CometBFT block_id.hash
PublicKey = NewType("PublicKey", bytes)  # 33 bytes, compressed SEC1


@dataclass(frozen=True, slots=True)
class BlockPosition:
    """Where the chain stands: the last committed block. Everything decided at one moment takes the same one."""

    height: Height
    block_hash: BlockHash  # b"" when not known
    time_ns: int  # block time, nanoseconds since the epoch
