"""The session a client sends relays in, and its ring, from the chain (spec/relayer.md §8.2).

Shared by all threads of a load test: one thread asks the chain, the others take what is known.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final, Protocol

from pocket_chain.grpc_channel import rpc
from pocket_chain.node import CometNode
from pocket_chain.node_errors import EntityNotFound
from pocket_chain.queries import ChainQueries
from pocket_protocol.errors import Refused
from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.ring_members import expected_addresses, expected_keys
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import Address, ApplicationAddress, Height, PublicKey, SupplierAddress

LOG: Final = logging.getLogger("relay")


class NoApplication(Refused):
    """None of the client's applications is staked for the service."""

    reason = "no_application"
    summary = "no application of ours is staked for this service"


@dataclass(frozen=True, slots=True)
class RelaySession:
    """What a relay of one session needs: header, suppliers in the chain's order, ring keys in signing order."""

    header: SessionHeader
    suppliers: tuple[SupplierAddress, ...]
    ring: tuple[PublicKey, ...]

    def holds(self, height: int) -> bool:
        header = self.header
        return header.session_start_block_height <= height <= header.session_end_block_height


def latest_height(queries: ChainQueries, node: CometNode | None = None) -> Height:
    """Return the last committed height of the node asked over gRPC, by `node`'s RPC where gRPC does not say."""
    method = rpc(shared_pb2.DESCRIPTOR, "Query", "Params")
    height = queries.channels.call(method, shared_pb2.QueryParamsRequest()).height
    if height or node is None:
        return height
    return node.status().position.height


def choose_application(queries: ChainQueries, addresses: tuple[ApplicationAddress, ...], service: str) -> int:
    """Return the position of the first application staked for `service`. Raises `NoApplication`."""
    for position, address in enumerate(addresses):
        try:
            application = queries.application(address)
        except EntityNotFound:
            continue
        if any(config.service_id == service for config in application.service_configs):
            return position
    raise NoApplication(service_id=service, applications=", ".join(addresses))


class Sessions(Protocol):
    """Where a client gets its sessions from. Safe to share between threads."""

    application: ApplicationAddress
    service_id: str

    def at(self, height: int) -> RelaySession:
        """Return the session to use at `height`."""

    def account_key(self, address: str) -> PublicKey | None:
        """Return an account's public key; None when the chain knows none."""


class SessionSource:
    """Sessions of one application for one service. Safe to share between threads.

    All methods raise what `ChainQueries` raises.
    """

    def __init__(self, queries: ChainQueries, application: ApplicationAddress, service_id: str) -> None:
        self.application, self.service_id = application, service_id
        self._queries = queries
        self._lock = threading.Lock()
        self._current: RelaySession | None = None
        self._account_keys: dict[str, PublicKey] = {}

    def at(self, height: int) -> RelaySession:
        """Return the session that holds `height`, a committed one; kept until another one is asked for."""
        current = self._current
        if current is not None and current.holds(height):
            return current
        with self._lock:
            if self._current is None or not self._current.holds(height):
                self._current = self._load(height)
            return self._current

    def account_key(self, address: str) -> PublicKey | None:
        """Return an account's public key; None when the chain knows none yet."""
        known = self._account_keys.get(address)
        if known is None:
            known = self._queries.public_key(address)
            if known:
                self._account_keys[address] = known
        return known

    def _load(self, height: int) -> RelaySession:
        session = self._queries.session(self.application, self.service_id, height)
        application = self._queries.application(self.application)
        params = SharedParams.from_proto(self._queries.shared_params())
        end = session_end(params, session.header.session_end_block_height)
        addresses: list[Address] = expected_addresses(application, end)
        loaded = RelaySession(
            session.header,
            tuple(SupplierAddress(supplier.operator_address) for supplier in session.suppliers),
            tuple(expected_keys(addresses, self.account_key)),
        )
        LOG.debug("session %s, suppliers %s, ring of %s", loaded.header, loaded.suppliers, addresses)
        return loaded
