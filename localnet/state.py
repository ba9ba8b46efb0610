"""The chain's state: tables of values, in layers.

The committed state is a plain mapping. A block, a transaction, a check and a simulation each write into a
layer of their own, which is merged downwards or thrown away. Values are never changed in place: read, copy,
put back. That makes a snapshot of every block cheap, and a lagging node answerable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ACCOUNT = "account"  # address -> Account
BALANCE = "balance"  # address -> uPOKT
SUPPLY = "supply"  # "" -> uPOKT
PARAMS = "params"  # module -> its Params message (shared: the live ones)
SHARED_HISTORY = "shared_history"  # "" -> pocket_protocol.shared_params.ParamsHistory
SESSION_HISTORY = "session_history"  # "" -> recorded pocket.session.Params
APPLICATION = "application"  # address -> Application
SUPPLIER = "supplier"  # operator address -> Supplier with its whole service history
GATEWAY = "gateway"  # address -> Gateway
SERVICE = "service"  # id -> Service
UNITS_HISTORY = "units_history"  # service id -> recorded compute units per relay
DIFFICULTY = "difficulty"  # service id -> RelayMiningDifficulty
DIFFICULTY_HISTORY = "difficulty_history"  # service id -> recorded RelayMiningDifficulty
CLAIM = "claim"  # (session id, supplier) -> Claim
PROOF = "proof"  # (session id, supplier) -> Proof, only within a block
NONCE = "nonce"  # (timeout in ns, signer) -> True
DIGEST = "digest"  # "" -> 32 bytes that stand for all writes so far


class _Deleted:
    """Stands where a value was deleted."""

    def __repr__(self) -> str:
        return "deleted"


_DELETED: Any = _Deleted()

Tables = Mapping[str, Mapping[Any, Any]]


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the auth module; `public_key` is b"" until it is known, `module` names a module account."""

    address: str
    number: int
    sequence: int = 0
    public_key: bytes = b""
    module: str = ""
    permissions: tuple[str, ...] = ()


class State:
    """A layer of writes over `below`, which is another layer or the committed tables."""

    def __init__(self, below: State | Tables) -> None:
        self.below = below
        self.writes: dict[str, dict[Any, Any]] = {}

    def get(self, table: str, key: Any = "", default: Any = None) -> Any:
        """Return the value at `key`, or `default`."""
        value = self.writes.get(table, {}).get(key)
        if value is None:
            if isinstance(self.below, State):
                return self.below.get(table, key, default)
            return self.below.get(table, {}).get(key, default)
        return default if value is _DELETED else value

    def put(self, table: str, key: Any, value: Any) -> None:
        self.writes.setdefault(table, {})[key] = value

    def delete(self, table: str, key: Any) -> None:
        self.writes.setdefault(table, {})[key] = _DELETED

    def items(self, table: str) -> Iterator[tuple[Any, Any]]:
        """Yield (key, value) in ascending key order."""
        merged = self.table(table)
        for key in sorted(merged):
            yield key, merged[key]

    def table(self, table: str) -> Mapping[Any, Any]:
        """Return a whole table: the committed mapping itself where nothing was written since."""
        below = self.below.table(table) if isinstance(self.below, State) else self.below.get(table, {})
        own = self.writes.get(table)
        if not own:
            return below
        merged = {**below, **own}
        return {key: value for key, value in merged.items() if value is not _DELETED}

    def layer(self) -> State:
        """Return a new layer over this one."""
        return State(self)

    def merge_down(self) -> None:
        """Write this layer into the one below, which must be a layer."""
        assert isinstance(self.below, State)
        for table, own in self.writes.items():
            self.below.writes.setdefault(table, {}).update(own)
        self.writes = {}

    def tables(self) -> Tables:
        """Return the state as committed tables; tables without writes are shared with the ones below."""
        below = self.below.tables() if isinstance(self.below, State) else self.below
        return {**below, **{table: self.table(table) for table in self.writes}}
