"""The chain's facts as a miner's tasks ask for them, beside the last block of the deployment (decisions.md C7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from mining_tasks.session_facts import SessionFacts
from pocket_chain.fact_cache import MakeFactCache
from pocket_chain.facts import ChainFacts, ChainReads, NoSession
from pocket_protocol.coin import upokt_of
from pocket_protocol.errors import Malformed, Refused, Unavailable
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.proof_requirement import ProofParams
from pocket_protocol.settlement import session_budget
from pocket_protocol.smst import Root
from pocket_protocol.types import BlockPosition, ComputeUnits, Height, Upokt
from pocket_protocol.windows import Windows
from relay_store.block_feed import BlockFeed
from relay_store.entity_cache import DEFAULT_LIMIT, Count, EntityCache, Lifetimes, no_count

T = TypeVar("T")

LIVE: Final = Lifetimes(fresh_s=15.0, stale_s=600.0)
PINNED: Final = Lifetimes(fresh_s=1800.0, stale_s=1800.0)


class SupplierNotInSession(Refused):
    """The supplier is not one of the session's."""

    reason = "supplier_not_in_session"
    summary = "supplier is not in the session"


def process_caches(count: Count = no_count, limit: int = DEFAULT_LIMIT) -> MakeFactCache:
    """What makes the caches of a miner's process: values of now for 15 s, those at a height for half an hour.

    `limit` is of each kind.
    """

    def make(kind: str, load: Callable[[Any], Any], *, pinned: bool) -> EntityCache[Any, Any]:
        return EntityCache(kind, load, replace(PINNED if pinned else LIVE, limit=limit), count=count)

    return make


class MinerFacts:
    """Facts for one worker process; a `SessionLookup`. `feed` is the last block of the deployment.

    `met(application, service)` is told of the sessions relays come for.
    """

    def __init__(
        self,
        chain: ChainReads,
        feed: BlockFeed,
        count: Count = no_count,
        met: Callable[[str, str], None] = lambda application, service: None,
        *,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self._chain = ChainFacts(chain, process_caches(count, limit))
        self._feed = feed
        self._met = met

    # --- what accumulation asks (session_facts.SessionLookup)

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        """Return the session `header` names by application, service and start; None when it cannot be asked now.

        Raises `NoSession`, `SupplierNotInSession`.
        """
        height = self.height()
        if height and header.session_start_block_height > height:
            return None  # the relayer has seen a block that we have not
        service, start = header.service_id, header.session_start_block_height
        try:
            session = self._chain.sessions.get((header.application_address, service, start))
        except NoSession as absent:
            if absent.is_final:
                raise
            return None
        except (Unavailable, Malformed):
            return None
        if supplier not in session.suppliers:
            raise SupplierNotInSession(supplier=supplier, session=session.header.session_id)
        self._met(header.application_address, service)
        return SessionFacts(
            header=session.header,
            windows=_or_none(lambda: self.windows(session.header.session_end_block_height)),
            cupr=_or_none(lambda: ComputeUnits(self._chain.compute_units_at.get((service, start)))),
            target=_or_none(lambda: self._chain.difficulty_target(service, start)),
        )

    def height(self) -> Height:
        """Return the last block's height, 0 when unknown."""
        position = self.position()
        return Height(0) if position is None else position.height

    # --- what claims and proofs ask

    def position(self) -> BlockPosition | None:
        """Return the last block the deployment has heard of."""
        self._feed.read()
        seen = self._feed.last()
        return None if seen is None else seen.position

    def age_s(self) -> float:
        """Return how long ago the deployment heard of the last block, 0 when of none."""
        seen = self._feed.last()
        return 0.0 if seen is None else seen.age_s

    def windows(self, session_end_height: int) -> Windows:
        """Return the windows of a session. Raises `Unavailable`."""
        return self._chain.windows(session_end_height, self.height())

    def proof_params(self) -> ProofParams:
        """Return the live proof parameters. Raises `Unavailable`."""
        return self._chain.proof_params()

    def claimed_upokt(self, root: Root, service_id: str, session_start_height: int) -> Upokt:
        """Return what a claim of `root` is worth. Raises `Unavailable`, `UnusableTarget`, `NoPrice`."""
        return self._chain.claimed_upokt(root, service_id, session_start_height)

    def claim_ceiling_upokt(self, application: str, session_end_height: int) -> Upokt:
        """Return what an application's stake is sure to pay each of a session's suppliers (spec/chain.md §6).

        Raises `Unavailable`, `EntityNotFound`, `UnusableCoin`.
        """
        stake = upokt_of(self._chain.applications.get(application).stake)
        params = self._chain.params_for_session(session_end_height, self.height())
        suppliers = max(self._chain.num_suppliers_per_session(), 1)
        return session_budget(stake, max(params.num_pending_sessions, 1), suppliers).floor_upokt


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (Unavailable, Malformed):
        return None
