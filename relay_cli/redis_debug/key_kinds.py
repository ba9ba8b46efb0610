"""What a key is for, told from its name, and whether something alive still needs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pocket_protocol.errors import PocketError
from relay_cli.redis_debug.deployment import Deployment
from relay_store.keys import CLAIM_PHASE, PROOF_PHASE, Keys
from relay_store.relay_stream import stream_length
from relay_store.session_state import TERMINAL_STATES
from relay_store.sessions import Sessions

UNKNOWN: Final = "unknown"
TREE: Final = "session tree"
SUPPLIER_OF_OURS: Final = "supplier of ours"
STREAM: Final = "relay stream"
REFERENCE_TREE: Final = "reference tree"
REFERENCE_SESSION: Final = "reference session"
COORDINATION: Final = "coordination"
DATA_VERSION: Final = "data version"
SUPPLIER_STATE: Final = "supplier state"
METER: Final = "relay meter"
# What relayers and miners write again by themselves, or nobody needs: never in the way of a deletion.
REPLACEABLE: Final = frozenset(
    {
        COORDINATION,
        SUPPLIER_STATE,
        METER,
        "entity cache",
        "submission record",
        "simulated relay",
        "service factor",
        "legacy",
    }
)
CONSEQUENCES: Final = {
    TREE: "relays that are not claimed, or not proved, earn nothing; a required proof that is missing is punished",
    SUPPLIER_OF_OURS: "leases, session lists and totals: the books do not add up any more",
    STREAM: "relays that wait are lost",
    REFERENCE_TREE: "what is not proved earns nothing",
    REFERENCE_SESSION: "a reference miner forgets to claim and prove",
    SUPPLIER_STATE: "relayers refuse relays until a miner writes it again (about a minute)",
    METER: "sessions get their whole limit anew",
    COORDINATION: "leader, heights and nodes: written again within seconds",
    DATA_VERSION: "an older program would not see that it must not touch the data",
    UNKNOWN: "not ours, and not the reference's",
}


@dataclass(frozen=True, slots=True)
class Named:
    """What a key's name says: its kind, and whose it is where the name tells."""

    kind: str
    supplier: str = ""
    session: str = ""


class KeyKinds:
    """Tells kinds by the builders of `keys`, most specific first."""

    def __init__(self, keys: Keys) -> None:
        session_parts = [keys.session, keys.leaves, keys.index, keys.seal, keys.root]
        spelled: list[tuple[str, str]] = [(TREE, part("<S>", "<SID>")) for part in session_parts]
        spelled += [(TREE, keys.intent("<S>", "<SID>", phase)) for phase in (CLAIM_PHASE, PROOF_PHASE)]
        of_supplier: tuple[Callable[[str], str], ...] = (
            *(keys.lease, keys.owner, keys.epoch, keys.commit, keys.ticket),
            *(keys.sessions, keys.totals, keys.fees, keys.dead),
        )
        beat = keys.beat_lease()
        spelled += [(SUPPLIER_OF_OURS, part("<S>")) for part in of_supplier]
        spelled += [
            (STREAM, keys.relay_stream("<S>")),
            (REFERENCE_TREE, keys.smst("<S>", "<SID>", "<any>")),
            (REFERENCE_SESSION, keys.reference_session_index("<S>")),
            (REFERENCE_SESSION, keys.reference_session_state("<S>", "<any>")),
            (REFERENCE_SESSION, keys.reference_session("<S>", "<SID>")),
            (REFERENCE_SESSION, keys.rebroadcast_index("<any>").replace("{<any>}:index", "<any>")),
            (REFERENCE_SESSION, keys.dedup("<any>")),
            *((COORDINATION, name) for name in (beat.lease, beat.epoch, keys.height(), keys.nodes())),
            (DATA_VERSION, keys.version()),
            (COORDINATION, keys.global_leader()),
            (COORDINATION, keys.miner_active()),
            (COORDINATION, keys.miner_claim("<S>")),
            (COORDINATION, keys.miner_instance("<any>")),
            (SUPPLIER_STATE, keys.registered_suppliers()),
            (SUPPLIER_STATE, keys.registered_supplier("<S>")),
            (SUPPLIER_STATE, keys.supplier("<S>")),
            (METER, keys.meter_active_sessions()),
            (METER, keys.meter_meta("<any>", "<any>")),
            (METER, keys.meter_consumed("<any>", "<any>")),
            ("service factor", keys.service_factor()),
            ("service factor", keys.service_factor("<any>")),
            ("entity cache", keys.cache_pattern().replace("*", "<any>")),
            ("submission record", keys.submission_pattern().replace("*", "<any>")),
            ("simulated relay", keys.simulation_replay("<any>")),
            ("legacy", keys.legacy_params_pattern().replace("*", "<any>")),
            ("legacy", keys.legacy_app_stake("<any>")),
            ("legacy", keys.legacy_compute_units("<any>")),
        ]
        self._shapes = [(kind, _shape(name)) for kind, name in spelled]

    def of(self, key: bytes) -> Named:
        """Return what `key` is, `UNKNOWN` for what is spelled as none of ours or the reference's."""
        try:
            text = key.decode()
        except UnicodeDecodeError:
            return Named(UNKNOWN)
        for kind, shape in self._shapes:
            if found := shape.fullmatch(text):
                parts = found.groupdict()
                return Named(kind, parts.get("supplier") or "", parts.get("session") or "")
        return Named(UNKNOWN)


def _shape(name: str) -> re.Pattern[str]:
    pattern = re.escape(name).replace("<S>", "(?P<supplier>[^:{}]+)").replace("<SID>", "(?P<session>[^:]+)")
    return re.compile(pattern.replace("<any>", ".+"), re.DOTALL)


@dataclass
class Needed:
    """Whether something alive needs a key. Each supplier and session is looked up once."""

    deployment: Deployment
    _live: dict[tuple[str, str], bool] = field(default_factory=dict)
    _busy: dict[str, bool] = field(default_factory=dict)

    def by_the_living(self, named: Named) -> bool:
        """True unless the key is surely dead: unknown is not safe. Raises `StoreUnavailable`."""
        if named.kind in REPLACEABLE:
            return False
        if named.kind == STREAM:
            return stream_length(self.deployment.store, self.deployment.keys, named.supplier) > 0
        if named.kind == TREE:
            return self._session_lives(named.supplier, named.session)
        if named.kind == SUPPLIER_OF_OURS:
            return self._supplier_lives(named.supplier)
        if named.kind in (REFERENCE_TREE, REFERENCE_SESSION) and named.session:
            return self._reference_lives(named.supplier, named.session)
        return True

    def _session_lives(self, supplier: str, session: str) -> bool:
        place = (supplier, session)
        if place not in self._live:
            try:
                record = Sessions(self.deployment.store, self.deployment.keys, supplier).read(session)
                self._live[place] = record is None or not record.state.is_terminal
            except PocketError:
                self._live[place] = True
        return self._live[place]

    def _supplier_lives(self, supplier: str) -> bool:
        if supplier not in self._busy:
            listed = Sessions(self.deployment.store, self.deployment.keys, supplier).listed()
            waiting = stream_length(self.deployment.store, self.deployment.keys, supplier)
            lease = self.deployment.store.client.exists(self.deployment.keys.lease(supplier))
            self._busy[supplier] = bool(
                waiting or lease or any(self._session_lives(supplier, session) for session, _ in listed)
            )
        return self._busy[supplier]

    def _reference_lives(self, supplier: str, session: str) -> bool:
        key = self.deployment.keys.reference_session(supplier, session)
        if self.deployment.store.client.type(key) != b"hash":
            return True
        state = self.deployment.store.client.hget(key, "state")
        return state is None or state.decode(errors="replace") not in TERMINAL_STATES
