"""What the chain says about sessions, each fact at the height its meaning has (decisions C7).

| fact | height |
|---|---|
| price (shared params), compute units, difficulty | session start |
| windows, budget | session end; the live parameters while the session runs: never a future height |
| session | the height asked for: its start, or what a request's timing says (its end in the grace period) |
| application, its gateways, its ring, proof parameters | live |

How long a fact is kept, and whether others share it, is the affair of who makes the caches (`fact_cache.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pocket_chain.fact_cache import FactCache, MakeFactCache
from pocket_chain.node_errors import NodeAnswerUnreadable, NodeUnavailable
from pocket_chain.queries import ComputeUnitsHistoryUnknown
from pocket_protocol.claim_price import claimed_upokt
from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.session_pb2 import Params as SessionParams
from pocket_protocol.pb.pocket.session_pb2 import Session, SessionHeader
from pocket_protocol.pb.pocket.shared_pb2 import Params, Service
from pocket_protocol.proof_requirement import ProofParams
from pocket_protocol.recently_used import RecentlyUsed
from pocket_protocol.ring_members import NoPublicKey, expected_addresses, expected_keys
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.smst import Root
from pocket_protocol.types import Height, PublicKey, Upokt
from pocket_protocol.windows import Windows

RING_LIMIT: Final = 4096
WINDOWS_LIMIT: Final = 64  # session ends: the running ones and those in grace
RENEWAL_S: Final = 10.0  # an application is read again ahead of time at most this often
# What the session module says when it has decided; anything else it says is about the node.
_NO_SESSION: Final = (
    "application for session not found",
    "application in session not staked for requested service",
    "could not find suppliers for service",
)

M = TypeVar("M")
T = TypeVar("T")


class NoSession(Refused):
    """The node gives no session for this application, service and height.

    `is_final`: the chain has decided so, having reached that height; otherwise it may be about the node.
    """

    reason = "no_session"
    summary = "no session for this application and service"
    is_final: bool = False


class NotItsOwn(Malformed):
    """An entity under the name of another: a cache or a node that cannot be believed."""

    reason = "not_its_own"
    summary = "an entity under another's name"


class ChainReads(Protocol):
    """The queries used here (`queries.ChainQueries`)."""

    def shared_params(self) -> Params: ...

    def shared_params_at(self, height: int) -> Params: ...

    def session_params(self) -> SessionParams: ...

    def session(self, application: str, service_id: str, height: int) -> Session: ...

    def application(self, address: str) -> Application: ...

    def service(self, service_id: str) -> Service: ...

    def compute_units_per_relay_at(self, service_id: str, height: int) -> int: ...

    def difficulty_at(self, service_id: str, height: int) -> bytes: ...

    def public_key(self, address: str) -> PublicKey | None: ...

    def proof_params(self) -> proof_pb2.Params: ...


SessionKey = tuple[str, str, int]  # application, service, height


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as the chain gives it, ready to be compared with."""

    message: Session
    header: SessionHeader
    suppliers: frozenset[str]

    @classmethod
    def of(cls, message: Session) -> SessionView:
        suppliers = frozenset(supplier.operator_address for supplier in message.suppliers)
        return cls(message, message.header, suppliers)

    def checked(self, key: SessionKey) -> SessionView:
        """This session, which must be the one of `key`. Raises `NotItsOwn`."""
        application, service_id, height = key
        header = self.header
        its_own = (header.application_address, header.service_id) == (application, service_id)
        if not its_own or not header.session_start_block_height <= height <= header.session_end_block_height:
            raise NotItsOwn(kind="session", name=f"{application}:{service_id}:{height}")
        return self


class ChainFacts:
    """Facts for one process, kept in the caches that `make_cache` makes."""

    def __init__(
        self, chain: ChainReads, make_cache: MakeFactCache, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._chain = chain
        self._monotonic = monotonic
        self._rings: RecentlyUsed[tuple[str, int], tuple[Application, frozenset[bytes]]] = RecentlyUsed(
            RING_LIMIT
        )
        self._windows: RecentlyUsed[int, tuple[SharedParams, Windows]] = RecentlyUsed(WINDOWS_LIMIT)
        self._renewals: RecentlyUsed[str, float] = RecentlyUsed(RING_LIMIT)
        self._renewal_lock = threading.Lock()
        # live
        self.shared_params: FactCache[None, SharedParams] = make_cache(
            "shared_params", lambda _: _readable(SharedParams.from_proto, chain.shared_params()), pinned=False
        )
        self.session_params: FactCache[None, SessionParams] = make_cache(
            "session_params", lambda _: chain.session_params(), pinned=False
        )
        self._proof_params: FactCache[None, ProofParams] = make_cache(
            "proof_params", lambda _: _readable(ProofParams.from_proto, chain.proof_params()), pinned=False
        )
        self.applications: FactCache[str, Application] = make_cache(
            "application", chain.application, pinned=False
        )
        self.services: FactCache[str, Service] = make_cache("service", chain.service, pinned=False)
        self.accounts: FactCache[str, PublicKey] = make_cache("account", self._load_account, pinned=False)
        # at a height
        self.shared_params_at: FactCache[int, SharedParams] = make_cache(
            "shared_params_at",
            lambda height: _readable(SharedParams.from_proto, chain.shared_params_at(height)),
            pinned=True,
        )
        self.sessions: FactCache[SessionKey, SessionView] = make_cache(
            "session", self._load_session, pinned=True
        )
        self.compute_units_at: FactCache[tuple[str, int], int] = make_cache(
            "compute_units", lambda key: chain.compute_units_per_relay_at(*key), pinned=True
        )
        self.difficulty_at: FactCache[tuple[str, int], bytes] = make_cache(
            "difficulty", lambda key: chain.difficulty_at(*key), pinned=True
        )

    def params_for_session(self, session_end_height: int, current_height: int) -> SharedParams:
        """Parameters for a session's windows and budget: at its end, or the live ones while it runs."""
        if session_end_height >= current_height:
            return self.shared_params.get(None)
        return self.shared_params_at.get(session_end_height)

    def windows(self, session_end_height: int, current_height: int) -> Windows:
        params = self.params_for_session(session_end_height, current_height)
        known = self._windows.get(session_end_height)
        if known is not None and known[0] is params:
            return known[1]
        windows = Windows.of(params, session_end_height)
        self._windows.put(session_end_height, (params, windows))
        return windows

    def price_params(self, session_start_height: int) -> SharedParams:
        return self.shared_params_at.get(session_start_height)

    def proof_params(self) -> ProofParams:
        """The live proof parameters. Raises `Unavailable`."""
        return self._proof_params.get(None)

    def claimed_upokt(self, root: Root, service_id: str, session_start_height: int) -> Upokt:
        """What a claim of `root` is worth. Raises `Unavailable`, `UnusableTarget`, `NoPrice`."""
        target = self.difficulty_target(service_id, session_start_height)
        return claimed_upokt(root, target, self.price_params(session_start_height))

    def compute_units(self, service_id: str, session_start_height: int) -> int:
        """Compute units per relay at the session's start; the live value from a node that keeps no history."""
        try:
            return self.compute_units_at.get((service_id, session_start_height)) or 1
        except ComputeUnitsHistoryUnknown:
            return int(self.services.get(service_id).compute_units_per_relay) or 1

    def difficulty_target(self, service_id: str, session_start_height: int) -> bytes:
        return self.difficulty_at.get((service_id, session_start_height))

    def num_suppliers_per_session(self) -> int:
        return int(self.session_params.get(None).num_suppliers_per_session)

    def ring_keys(self, application: str, header_end_height: int) -> frozenset[bytes]:
        """The keys that may sign for `application` in the session `header_end_height` belongs to.

        Raises `EntityNotFound` for an unknown application, `NoPublicKey`, `NotSecp256k1`, or `Unavailable`.
        """
        record = self.applications.get(application)
        end = session_end(self.shared_params.get(None), header_end_height)
        known = self._rings.get((application, end))
        if known is not None and known[0] is record:
            return known[1]
        keys = frozenset(expected_keys(expected_addresses(record, Height(end)), self.accounts.get))
        self._rings.put((application, end), (record, keys))
        return keys

    def renew_application(self, application: str) -> bool:
        """Read an application again before its time, because its delegations seem to have changed.

        Bounded per application, so that wrong signatures cannot make it a question to the chain each; False
        when it was not read.
        """
        now = self._monotonic()
        with self._renewal_lock:
            last = self._renewals.get(application)
            if last is not None and now - last < RENEWAL_S:
                return False
            self._renewals.put(application, now)
        self.applications.refresh(application)
        return True

    def _load_account(self, address: str) -> PublicKey:
        key = self._chain.public_key(address)
        if key is None:
            raise NoPublicKey(address=address)
        return key

    def _load_session(self, key: SessionKey) -> SessionView:
        try:
            message = self._chain.session(*key)
        except NodeUnavailable as error:
            if type(error) is NodeUnavailable and error.code in ("INTERNAL", "INVALID_ARGUMENT"):
                application, service_id, height = key
                absent = NoSession(application=application, service_id=service_id, height=height)
                absent.is_final = error.height >= height and any(text in error.text for text in _NO_SESSION)
                raise absent from error
            raise
        try:
            return SessionView.of(message).checked(key)
        except NotItsOwn as error:
            raise NodeAnswerUnreadable(text=str(error)) from error


def _readable(read: Callable[[M], T], message: M) -> T:
    """The node's parameters; unusable ones are the node's fault, not the relay's."""
    try:
        return read(message)
    except Malformed as error:
        raise NodeAnswerUnreadable(text=str(error)) from error
