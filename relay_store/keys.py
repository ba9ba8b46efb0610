"""Every Redis key and channel of the product: the only place where one is spelled.

Two families. The reference's (`ha:…`) are the contract of a mixed fleet (spec/miner.md §5 and §6,
spec/relayer.md §3.2 and §5): same names, same types. Ours (`pm:…`, decisions.md A) carry the whole
name of the supplier's relay stream as hash tag, so that on a Cluster one transaction spans the stream
and everything that is derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from relay_store.namespace import Namespace

CLAIM_PHASE: Final = "claim"
PROOF_PHASE: Final = "proof"


@dataclass(frozen=True, slots=True)
class LeaseKeys:
    """The keys of one lease: who holds it, who wrote last (None for a singleton), how often it was taken."""

    lease: str
    epoch: str
    owner: str | None = None


class OwnKeys:
    """Keys and channels only we use. `supplier` is an operator address, `session` a session id."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self.namespace = namespace or Namespace()
        self._base = self.namespace.base
        self._own = self.namespace.own

    def relay_stream(self, supplier: str) -> str:
        """The supplier's mined relays, written by relayers: the write-ahead log."""
        return f"{self._base}:{self.namespace.streams}:{supplier}"

    def relay_stream_pattern(self) -> str:
        """SCAN pattern of every relay stream."""
        return self.relay_stream("*")

    def own_pattern(self) -> str:
        """SCAN pattern of everything only we use, the relay streams excepted."""
        return f"{self._own}:*"

    def consumer_group(self) -> str:
        """The consumer group of every relay stream."""
        return f"{self._base}-{self.namespace.consumer_group}"

    def _of(self, supplier: str, rest: str) -> str:
        return f"{self._own}:{{{self.relay_stream(supplier)}}}:{rest}"

    def lease(self, supplier: str) -> str:
        return self._of(supplier, "lease")

    def owner(self, supplier: str) -> str:
        return self._of(supplier, "owner")

    def epoch(self, supplier: str) -> str:
        return self._of(supplier, "epoch")

    def supplier_lease(self, supplier: str) -> LeaseKeys:
        return LeaseKeys(self.lease(supplier), self.epoch(supplier), self.owner(supplier))

    def commit(self, supplier: str) -> str:
        return self._of(supplier, "commit")

    def ticket(self, supplier: str) -> str:
        return self._of(supplier, "ticket")

    def sessions(self, supplier: str) -> str:
        return self._of(supplier, "sessions")

    def totals(self, supplier: str) -> str:
        """What became of every stream entry, over all sessions and for entries of none (decisions.md F)."""
        return self._of(supplier, "totals")

    def fees(self, supplier: str) -> str:
        """What the supplier's last claim and proof transactions cost."""
        return self._of(supplier, "fees")

    def dead(self, supplier: str) -> str:
        return self._of(supplier, "dead")

    def session(self, supplier: str, session: str) -> str:
        return self._of(supplier, f"{session}:session")

    def leaves(self, supplier: str, session: str) -> str:
        return self._of(supplier, f"{session}:leaves")

    def index(self, supplier: str, session: str) -> str:
        return self._of(supplier, f"{session}:index")

    def seal(self, supplier: str, session: str) -> str:
        return self._of(supplier, f"{session}:seal")

    def root(self, supplier: str, session: str) -> str:
        return self._of(supplier, f"{session}:root")

    def intent(self, supplier: str, session: str, phase: str) -> str:
        """`phase` is CLAIM_PHASE or PROOF_PHASE."""
        return self._of(supplier, f"{session}:intent:{phase}")

    def beat_lease(self) -> LeaseKeys:
        return LeaseKeys(f"{self._own}:beat:lease", f"{self._own}:beat:epoch")

    def height(self) -> str:
        """Hash: height, hash, time of the last block."""
        return f"{self._own}:height"

    def height_channel(self) -> str:
        return f"{self._own}:events:height"

    def nodes(self) -> str:
        return f"{self._own}:nodes"

    def version(self) -> str:
        return f"{self._own}:version"


class Keys(OwnKeys):
    """`OwnKeys`, and the keys and channels shared with the reference's processes."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        super().__init__(namespace)
        self._cache = f"{self._base}:{self.namespace.cache}"
        self._events = f"{self._base}:{self.namespace.events}"
        self._miner = f"{self._base}:{self.namespace.miner}"

    def shared_pattern(self) -> str:
        """SCAN pattern of everything shared with the reference, the relay streams among it."""
        return f"{self._base}:*"

    # --- miner (spec/miner.md §6.1)

    def reference_session(self, supplier: str, session: str) -> str:
        return f"{self._miner}:sessions:{supplier}:{session}"

    def reference_session_index(self, supplier: str) -> str:
        return f"{self._miner}:sessions:{supplier}:index"

    def reference_session_state(self, supplier: str, state: str) -> str:
        return f"{self._miner}:sessions:{supplier}:state:{state}"

    def smst(self, supplier: str, session: str, part: str) -> str:
        """`part` is nodes, root, live_root or stats."""
        return f"{self._base}:smst:{supplier}:{session}:{part}"

    def dedup(self, session: str) -> str:
        return f"{self._miner}:dedup:session:{session}"

    def miner_claim(self, supplier: str) -> str:
        """The reference's supplier lease: value is a miner id."""
        return f"{self._miner}:claim:{supplier}"

    def miner_active(self) -> str:
        return f"{self._miner}:active"

    def miner_instance(self, miner: str) -> str:
        return f"{self._miner}:instance:{miner}"

    def global_leader(self) -> str:
        return f"{self._miner}:global_leader"

    def rebroadcast(self, phase: str, supplier: str, end_height: int) -> str:
        return f"{self._miner}:rebroadcast:{{{phase}}}:{supplier}:{end_height}"

    def rebroadcast_index(self, phase: str) -> str:
        return f"{self._miner}:rebroadcast:{{{phase}}}:index"

    def submission(self, supplier: str, end_height: int, session: str) -> str:
        return f"{self._base}:tx:track:{supplier}:{end_height}:{session}"

    def submission_pattern(self, supplier: str = "*") -> str:
        """SCAN pattern of the `submission` keys of one supplier, or of all."""
        return f"{self._base}:tx:track:{supplier}:*"

    # --- suppliers and service factors (spec/miner.md §5.4, §5.5)

    def supplier(self, supplier: str) -> str:
        """What relayers look up: stake, services, endpoints."""
        return f"{self._base}:{self.namespace.supplier}:{supplier}"

    def supplier_pattern(self) -> str:
        """SCAN pattern of every `supplier` key."""
        return self.supplier("*")

    def registered_supplier(self, supplier: str) -> str:
        return f"{self._base}:suppliers:{supplier}"

    def registered_suppliers(self) -> str:
        return f"{self._base}:suppliers:index"

    def supplier_update_channel(self) -> str:
        return f"{self._events}:supplier_update"

    def service_factor(self, service: str = "") -> str:
        """The factor of `service`, or the default one when empty."""
        return f"{self._base}:service_factor:" + (f"service:{service}" if service else "default")

    # --- entity caches (spec/miner.md §5.1, spec/relayer.md §5.1)

    def cache_pattern(self) -> str:
        """SCAN pattern of every cached entity, of the known sets and of the locks."""
        return f"{self._cache}:*"

    def application(self, address: str) -> str:
        return f"{self._cache}:application:{address}"

    def service(self, service: str) -> str:
        return f"{self._cache}:service:{service}"

    def account(self, address: str) -> str:
        return f"{self._cache}:account:{address}"

    def shared_params(self) -> str:
        return f"{self._cache}:shared_params"

    def proof_params(self) -> str:
        return f"{self._cache}:proof_params"

    def session_params(self) -> str:
        return f"{self._cache}:session_params"

    def supplier_params(self) -> str:
        return f"{self._cache}:params:supplier"

    def shared_params_at(self, height: int) -> str:
        return f"{self._cache}:params:shared:{height}"

    def cached_session(self, application: str, service: str, height: int) -> str:
        return f"{self._cache}:session:{application}:{service}:{height}"

    def cached_session_by_id(self, session: str) -> str:
        return f"{self._cache}:session:id:{session}"

    def session_validation(self, application: str, service: str, height: int) -> str:
        return f"{self._cache}:session:validation:{application}:{service}:{height}"

    def session_rewardable(self, session: str) -> str:
        return f"{self._cache}:session:rewardable:{session}"

    def known(self, kind: str) -> str:
        """`kind` is applications, services or suppliers."""
        return f"{self._cache}:known:{kind}"

    def cache_lock(self, kind: str, key: str = "") -> str:
        """The lock of one loader: `kind` alone for an entity there is one of."""
        return f"{self._cache}:lock:{kind}" + (f":{key}" if key else "")

    # --- channels (spec/miner.md §5.2)

    def invalidation_channel(self, kind: str) -> str:
        """`kind`: application, account, service, supplier, shared_params, proof_params, service_factor."""
        return f"{self._events}:cache:{kind}:invalidate"

    def supplier_params_channel(self) -> str:
        return f"{self._events}:{self.namespace.cache}:invalidate:supplier_params"

    def params_channel(self) -> str:
        return f"{self._events}:invalidate:params"

    def rewardable_channel(self) -> str:
        return f"{self._events}:session:rewardable"

    def blocks_channel(self) -> str:
        return f"{self._events}:blocks"

    # --- relay meter and simulated relays (spec/relayer.md §3.2)

    def meter_meta(self, session: str, supplier: str) -> str:
        return f"{self.namespace.meter_keys}:meter:{session}:{supplier}:meta"

    def meter_consumed(self, session: str, supplier: str) -> str:
        return f"{self.namespace.meter_keys}:meter:{session}:{supplier}:consumed"

    def meter_active_sessions(self) -> str:
        return f"{self._base}:{self.namespace.meter}:active_sessions"

    def meter_cleanup_channel(self) -> str:
        return f"{self.namespace.meter_keys}:meter:cleanup"

    def simulation_replay(self, relay_hash_hex: str) -> str:
        return f"{self._base}:sim:replay:{relay_hash_hex}"

    # --- left by older releases of the reference, read by the `meter` debug command (spec/miner.md §6.1)

    def legacy_params_pattern(self) -> str:
        return f"{self._base}:{self.namespace.params}:*"

    def legacy_app_stake(self, application: str) -> str:
        return f"{self._base}:app_stake:{application}"

    def legacy_compute_units(self, service: str) -> str:
        return f"{self._base}:service:{service}:compute_units"
