"""What the chain says about sessions, each fact at the height its meaning has (decisions.md C7, spec/chain.md §3.1, §5).

| fact | height |
|---|---|
| session header and suppliers, compute units per relay, difficulty, price | session start |
| windows | session end; the live parameters while the session runs: never a future height |
| proof parameters, accounts | live, as the chain reads them |

Values at a past height do not change, so they are kept for half an hour; live ones for a minute at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from mining_tasks.session_facts import SessionFacts
from pocket_chain.node_errors import NodeUnavailable
from pocket_chain.queries import ChainQueries
from pocket_protocol.claim_price import claimed_upokt
from pocket_protocol.errors import Malformed, Refused, Unavailable
from pocket_protocol.pb.pocket.session_pb2 import Session, SessionHeader
from pocket_protocol.proof_requirement import ProofParams
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.smst import Root
from pocket_protocol.types import BlockPosition, ComputeUnits, Height, Upokt
from pocket_protocol.windows import Windows
from relay_store.block_feed import BlockFeed
from relay_store.entity_cache import Count, EntityCache, Lifetimes, no_count

T = TypeVar("T")

LIVE: Final = Lifetimes(fresh_s=15.0, stale_s=600.0)
PINNED: Final = Lifetimes(fresh_s=1800.0, stale_s=1800.0)
# What the session module says when it has decided; anything else it says is about the node.
_NO_SESSION: Final = (
    "application for session not found",
    "application in session not staked for requested service",
    "could not find suppliers for service",
)


class NoSessionOnChain(Refused):
    """The chain has no session for this application, service and height."""

    reason = "no_session"
    summary = "no session for this application and service"


class SupplierNotInSession(Refused):
    """The supplier is not one of the session's."""

    reason = "supplier_not_in_session"
    summary = "supplier is not in the session"


class ChainFacts:
    """Facts for one worker process; a `SessionLookup`. `feed` is the last block of the deployment."""

    def __init__(self, chain: ChainQueries, feed: BlockFeed, count: Count = no_count) -> None:
        self._chain = chain
        self._feed = feed
        self.live_params: EntityCache[None, SharedParams] = EntityCache(
            "shared_params", lambda _: SharedParams.from_proto(chain.shared_params()), LIVE, count=count
        )
        self.params_at: EntityCache[int, SharedParams] = EntityCache(
            "shared_params_at",
            lambda height: SharedParams.from_proto(chain.shared_params_at(height)),
            PINNED,
            count=count,
        )
        self._sessions: EntityCache[tuple[str, str, int], Session] = EntityCache(
            "session", self._load_session, PINNED, count=count
        )
        self._compute_units: EntityCache[tuple[str, int], int] = EntityCache(
            "compute_units", lambda key: chain.compute_units_per_relay_at(*key), PINNED, count=count
        )
        self._difficulties: EntityCache[tuple[str, int], bytes] = EntityCache(
            "difficulty", lambda key: chain.difficulty_at(*key), PINNED, count=count
        )
        self._proof_params: EntityCache[None, ProofParams] = EntityCache(
            "proof_params", lambda _: ProofParams.from_proto(chain.proof_params()), LIVE, count=count
        )

    # --- what accumulation asks (session_facts.SessionLookup)

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        """Return the session `header` names by application, service and start; None when it cannot be asked now.

        Raises `NoSessionOnChain`, `SupplierNotInSession`.
        """
        height = self.height()
        if height and header.session_start_block_height > height:
            return None  # the relayer has seen a block that we have not
        key = (header.application_address, header.service_id, header.session_start_block_height)
        try:
            session = self._sessions.get(key)
        except (Unavailable, Malformed):
            return None
        if supplier not in {member.operator_address for member in session.suppliers}:
            raise SupplierNotInSession(supplier=supplier, session=session.header.session_id)
        service, start = key[1], key[2]
        return SessionFacts(
            header=session.header,
            windows=_or_none(lambda: self.windows(session.header.session_end_block_height)),
            cupr=_or_none(lambda: ComputeUnits(self._compute_units.get((service, start)))),
            target=_or_none(lambda: self._difficulties.get((service, start))),
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
        """Return the windows of a session. Raises `Unavailable`, `InvalidSharedParams`."""
        running = session_end_height >= self.height()
        params = self.live_params.get(None) if running else self.params_at.get(session_end_height)
        return Windows.of(params, session_end_height)

    def proof_params(self) -> ProofParams:
        """Return the live proof parameters. Raises `Unavailable`, `UnusableCoin`."""
        return self._proof_params.get(None)

    def claimed_upokt(self, root: Root, service_id: str, session_start_height: int) -> Upokt:
        """Return what a claim of `root` is worth. Raises `Unavailable`, `UnusableTarget`, `NoPrice`."""
        target = self._difficulties.get((service_id, session_start_height))
        return claimed_upokt(root, target, self.params_at.get(session_start_height))

    def _load_session(self, key: tuple[str, str, int]) -> Session:
        application, service_id, height = key
        try:
            return self._chain.session(application, service_id, height)
        except NodeUnavailable as error:
            if error.height >= height and any(text in error.text for text in _NO_SESSION):
                raise NoSessionOnChain(application=application, service=service_id, height=height) from error
            raise


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (Unavailable, Malformed):
        return None
