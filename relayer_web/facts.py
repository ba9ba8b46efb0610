"""What the chain says about a relay's session, each fact at the height its meaning has (decisions C7).

| fact | height |
|---|---|
| price (shared params), compute units, difficulty | session start |
| windows, budget | session end; the live parameters while the session runs: never a future height |
| session | what the request's timing says: session start, or session end in the grace period |
| application, its gateways, its ring | live |

Three levels of cache each, in the reference's formats where both kinds of processes read them (spec/relayer.md §5).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pocket_chain.node_errors import NodeAnswerUnreadable, NodeUnavailable
from pocket_chain.queries import ComputeUnitsHistoryUnknown
from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.session_pb2 import Params as SessionParams
from pocket_protocol.pb.pocket.session_pb2 import Session, SessionHeader
from pocket_protocol.pb.pocket.shared_pb2 import Params, Service
from pocket_protocol.recently_used import RecentlyUsed
from pocket_protocol.ring_members import NoPublicKey, expected_addresses, expected_keys
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import Height, PublicKey
from pocket_protocol.windows import Windows
from pocket_protocol.wire import decode, encode
from relay_store.connection import Store
from relay_store.entity_cache import Count, EntityCache, Lifetimes, SharedLevel, no_count
from relay_store.go_json import decode_go_json, encode_go_json
from relay_store.keys import Keys

MINUTE_S: Final = 60.0
PINNED_S: Final = 1800.0  # values at a height do not change
HOUR_S: Final = 3600.0
RING_LIMIT: Final = 4096
RENEWAL_S: Final = 10.0  # an application is read again ahead of time at most this often


class NoSession(Refused):
    """The chain has no session for this application, service and height."""

    reason = "no_session"
    summary = "no session for this application and service"


class UnreadableKey(Malformed):
    """A cached account key that is not 33 bytes."""

    reason = "cached_account_key"
    summary = "not a cached account key"


class NotItsOwn(Malformed):
    """An entity under the name of another: a cache or a node that cannot be believed."""

    reason = "not_its_own"
    summary = "an entity under another's name"


class ChainReads(Protocol):
    """The queries used here (`pocket_chain.queries.ChainQueries`)."""

    def shared_params(self) -> Params: ...

    def shared_params_at(self, height: int) -> Params: ...

    def session_params(self) -> SessionParams: ...

    def session(self, application: str, service_id: str, height: int) -> Session: ...

    def application(self, address: str) -> Application: ...

    def service(self, service_id: str) -> Service: ...

    def compute_units_per_relay_at(self, service_id: str, height: int) -> int: ...

    def difficulty_at(self, service_id: str, height: int) -> bytes: ...

    def public_key(self, address: str) -> PublicKey | None: ...


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
    """Facts for one worker process. `block_time_s()` turns blocks into life times."""

    def __init__(
        self,
        chain: ChainReads,
        store: Store,
        keys: Keys,
        *,
        block_time_s: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        count: Count = no_count,
    ) -> None:
        self._chain = chain
        self._block_time_s = block_time_s
        self._monotonic = monotonic
        self._rings: RecentlyUsed[tuple[str, int], tuple[Application, frozenset[bytes]]] = RecentlyUsed(
            RING_LIMIT
        )
        self._renewals: RecentlyUsed[str, float] = RecentlyUsed(RING_LIMIT)
        self._renewal_lock = threading.Lock()

        def cache(name: str, load: Any, lifetimes: Lifetimes, shared: Any = None) -> EntityCache[Any, Any]:
            return EntityCache(
                name, load, lifetimes, client=store.client, shared=shared, monotonic=monotonic, count=count
            )

        live = Lifetimes(fresh_s=MINUTE_S, stale_s=10 * MINUTE_S)
        pinned = Lifetimes(fresh_s=PINNED_S, stale_s=PINNED_S)
        self.shared_params: EntityCache[None, SharedParams] = cache(
            "shared_params",
            lambda _: _readable(chain.shared_params()),
            live,
            _live_params(keys),
        )
        self.shared_params_at: EntityCache[int, SharedParams] = cache(
            "shared_params_at",
            lambda height: _readable(chain.shared_params_at(height)),
            pinned,
            _params_at(keys),
        )
        self.session_params: EntityCache[None, SessionParams] = cache(
            "session_params", lambda _: chain.session_params(), live
        )
        self.applications: EntityCache[str, Application] = cache(
            "application",
            chain.application,
            live,
            _proto(Application, "address", keys.application, keys, "application"),
        )
        self.services: EntityCache[str, Service] = cache(
            "service", chain.service, live, _proto(Service, "id", keys.service, keys, "service")
        )
        self.accounts: EntityCache[str, PublicKey] = cache(
            "account", self._load_account, Lifetimes(fresh_s=PINNED_S, stale_s=HOUR_S), _account(keys)
        )
        self.sessions: EntityCache[SessionKey, SessionView] = cache(
            "session", self._load_session, pinned, _session(keys, self._session_ttl_s)
        )
        self.compute_units_at: EntityCache[tuple[str, int], int] = cache(
            "compute_units", lambda key: chain.compute_units_per_relay_at(*key), pinned
        )
        self.difficulty_at: EntityCache[tuple[str, int], bytes] = cache(
            "difficulty", lambda key: chain.difficulty_at(*key), pinned
        )

    def params_for_session(self, session_end_height: int, current_height: int) -> SharedParams:
        """Parameters for a session's windows and budget: at its end, or the live ones while it runs."""
        if session_end_height >= current_height:
            return self.shared_params.get(None)
        return self.shared_params_at.get(session_end_height)

    def windows(self, session_end_height: int, current_height: int) -> Windows:
        return Windows.of(self.params_for_session(session_end_height, current_height), session_end_height)

    def price_params(self, session_start_height: int) -> SharedParams:
        return self.shared_params_at.get(session_start_height)

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
                raise NoSession(application=application, service_id=service_id, height=height) from error
            raise
        try:
            return SessionView.of(message).checked(key)
        except NotItsOwn as error:
            raise NodeAnswerUnreadable(text=str(error)) from error

    def _session_ttl_s(self, key: SessionKey, view: SessionView) -> float:
        """Until its grace period is over, and a bit: (end + grace + 2 - asked height) blocks."""
        blocks = view.header.session_end_block_height + 2 - key[2] + 1
        return max(blocks, 1) * self._block_time_s() + 10.0


def _readable(message: Params) -> SharedParams:
    """The node's parameters; unusable ones are the node's fault, not the relay's."""
    try:
        return SharedParams.from_proto(message)
    except Malformed as error:
        raise NodeAnswerUnreadable(text=str(error)) from error


def _live_params(keys: Keys) -> SharedLevel[None, SharedParams]:
    return SharedLevel(
        key=lambda _: keys.shared_params(),
        encode=lambda params: encode(params.to_proto()),
        decode=lambda _, data: SharedParams.from_proto(decode(Params, data)),
        ttl_s=lambda _, params: MINUTE_S,
        lock_key=lambda _: keys.cache_lock("shared_params"),
    )


def _params_at(keys: Keys) -> SharedLevel[int, SharedParams]:
    return SharedLevel(
        key=keys.shared_params_at,
        encode=lambda params: encode_go_json(params.to_proto(), zeros=True),
        decode=lambda _, data: SharedParams.from_proto(decode_go_json(Params, data)),
        ttl_s=lambda height, params: MINUTE_S,
        lock_key=lambda height: keys.cache_lock("params:shared", str(height)),
    )


def _proto(
    message_type: Any, name_field: str, key: Callable[[str], str], keys: Keys, kind: str
) -> SharedLevel[str, Any]:
    def own(name: str, data: bytes) -> Any:
        message = decode(message_type, data)
        if getattr(message, name_field) != name:
            raise NotItsOwn(kind=kind, name=name)
        return message

    return SharedLevel(
        key=key,
        encode=encode,
        decode=own,
        ttl_s=lambda _, message: 5 * MINUTE_S,
        lock_key=lambda name: keys.cache_lock(kind, name),
    )


def _account(keys: Keys) -> SharedLevel[str, PublicKey]:
    def checked(_: str, data: bytes) -> PublicKey:
        if len(data) != 33:
            raise UnreadableKey(length=len(data))
        return PublicKey(data)

    return SharedLevel(
        key=keys.account,
        encode=bytes,
        decode=checked,
        ttl_s=lambda _, key: 24 * HOUR_S,
        lock_key=lambda address: keys.cache_lock("account", address),
    )


def _session(
    keys: Keys, ttl_s: Callable[[SessionKey, SessionView], float]
) -> SharedLevel[SessionKey, SessionView]:
    return SharedLevel(
        key=lambda key: keys.cached_session(*key),
        encode=lambda view: encode_go_json(view.message),
        decode=lambda key, data: SessionView.of(decode_go_json(Session, data)).checked(key),
        ttl_s=ttl_s,
    )
