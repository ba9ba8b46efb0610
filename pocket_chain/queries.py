"""What the chain says: typed queries, each at the height its meaning has (spec/chain.md §1, decisions.md C7).

Nothing is cached here. Every method raises EntityNotFound where the chain has no such thing and
NodeUnavailable where the node gave no answer that decides. Methods named `observe_…` also return the height of
the state the answer was read from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from operations.sections import NodeAddresses, PocketNodeSection
from pocket_chain.grpc_channel import GrpcTarget, NodeChannels, Observed, Rpc, rpc
from pocket_chain.node_errors import EntityNotFound, MethodUnimplemented, NodeAnswerUnreadable
from pocket_protocol.coin import DENOM, UnusableCoin, upokt_of
from pocket_protocol.pb.cosmos.auth import v1beta1_pb2 as auth_pb2
from pocket_protocol.pb.cosmos.bank import v1beta1_pb2 as bank_pb2
from pocket_protocol.pb.cosmos.base.query import v1beta1_pb2 as page_pb2
from pocket_protocol.pb.cosmos.crypto.secp256k1_pb2 import PubKey
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.pb.pocket import (
    application_pb2,
    gateway_pb2,
    proof_pb2,
    service_pb2,
    session_pb2,
    shared_pb2,
    supplier_pb2,
    tokenomics_pb2,
)
from pocket_protocol.types import PublicKey, Upokt
from pocket_protocol.wire import Undecodable, decode

PAGE_SIZE = 100
MAX_PAGES = 10_000
OLD_NODE_COOL_DOWN_S = 60.0
BASE_ACCOUNT_URL = "/cosmos.auth.v1beta1.BaseAccount"
SECP256K1_KEY_URL = "/cosmos.crypto.secp256k1.PubKey"

Answer = TypeVar("Answer", bound=Message)


class ComputeUnitsHistoryUnknown(MethodUnimplemented):
    """The node is older than 0.1.35 and keeps no history of prices; asked again after a minute."""

    reason = "compute_units_history_unknown"
    summary = "the node keeps no history of compute units per relay"


class AccountUnusable(NodeAnswerUnreadable):
    """The account is not one that signs (a module's, for example)."""

    reason = "account_unusable"
    summary = "not an account that signs"


class ChainQueries:
    """Queries to the node at `grpc_target` (`host:port`), then to `fallback` nodes when it is down.

    `timeout_s` is the deadline of each call. Give `channels` to share them with `Transactions`.
    Safe to share between threads and greenlets, and across a fork.
    """

    def __init__(
        self,
        grpc_target: str,
        insecure: bool = False,
        timeout_s: float = 5.0,
        fallback: Sequence[GrpcTarget] = (),
        *,
        channels: NodeChannels | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        targets = (GrpcTarget(grpc_target, insecure), *fallback)
        self.channels = channels or NodeChannels(targets, timeout_s)
        self._now_s = now_s
        self._old_node_until_s = 0.0

    @classmethod
    def of(cls, node: PocketNodeSection, fallback: Iterable[NodeAddresses] = ()) -> ChainQueries:
        """Return the queries of a configured node and its fallbacks."""
        others = [GrpcTarget.of(other) for other in fallback]
        return cls(node.grpc_target, node.grpc_insecure, node.query_timeout_seconds, others)

    # Parameters, as they are now unless a height is named

    def shared_params(self) -> shared_pb2.Params:
        return self._params(shared_pb2)

    def shared_params_at(self, height: int) -> shared_pb2.Params:
        """Return the shared parameters in force at `height`; 0 and below mean now."""
        if height <= 0:
            return self.shared_params()
        request = shared_pb2.QueryParamsAtHeightRequest(height=height)
        return self._ask(_query(shared_pb2, "ParamsAtHeight"), request).params

    def session_params(self) -> session_pb2.Params:
        return self._params(session_pb2)

    def supplier_params(self) -> supplier_pb2.Params:
        return self._params(supplier_pb2)

    def proof_params(self) -> proof_pb2.Params:
        return self._params(proof_pb2)

    def tokenomics_params(self) -> tokenomics_pb2.Params:
        return self._params(tokenomics_pb2)

    # Sessions, prices and difficulties at a height

    def session(self, application: str, service_id: str, height: int) -> session_pb2.Session:
        """Return the session that holds `height`, which must be a committed one.

        The node answers Internal (NodeUnavailable) for a future height, an unknown application and one that is
        not staked for the service; its text tells them apart.
        """
        if height <= 0:
            raise ValueError("a session is asked for at a height; 0 would mean the node's latest")
        request = session_pb2.QueryGetSessionRequest(
            application_address=application, service_id=service_id, block_height=height
        )
        return self._ask(_query(session_pb2, "GetSession"), request).session

    def compute_units_per_relay_at(
        self, service_id: str, height: int, *, live_on_old_node: bool = False
    ) -> int:
        """Return the service's compute units per relay in force at `height`.

        A node without the history raises ComputeUnitsHistoryUnknown, and is not asked again for a minute;
        with `live_on_old_node` the value of now is returned instead (spec/relayer.md §5.2: not to be cached).
        """
        if self._now_s() >= self._old_node_until_s:
            request = service_pb2.QueryComputeUnitsPerRelayAtHeightRequest(
                serviceId=service_id, blockHeight=height
            )
            try:
                answer = self._ask(_query(service_pb2, "ComputeUnitsPerRelayAtHeight"), request)
                return int(answer.computeUnitsPerRelay)
            except MethodUnimplemented:
                self._old_node_until_s = self._now_s() + OLD_NODE_COOL_DOWN_S
        if live_on_old_node:
            return int(self.service(service_id).compute_units_per_relay)
        raise ComputeUnitsHistoryUnknown(service_id=service_id, height=height, code="UNIMPLEMENTED")

    def difficulty_at(self, service_id: str, height: int) -> bytes:
        """Return the 32-byte difficulty target of the service at `height` (all ff without history)."""
        request = service_pb2.QueryGetRelayMiningDifficultyAtHeightRequest(
            serviceId=service_id, blockHeight=height
        )
        answer = self._ask(_query(service_pb2, "RelayMiningDifficultyAtHeight"), request)
        return _target(answer.relayMiningDifficulty, service_id)

    def difficulty(self, service_id: str) -> bytes:
        """Return the target of now; only for display: relays are judged by the one at their session's start."""
        request = service_pb2.QueryGetRelayMiningDifficultyRequest(serviceId=service_id)
        answer = self._ask(_query(service_pb2, "RelayMiningDifficulty"), request)
        return _target(answer.relayMiningDifficulty, service_id)

    # Entities as they are now

    def application(self, address: str) -> application_pb2.Application:
        request = application_pb2.QueryGetApplicationRequest(address=address)
        return self._ask(_query(application_pb2, "Application"), request).application

    def applications(self) -> list[application_pb2.Application]:
        method, request = (
            _query(application_pb2, "AllApplications"),
            application_pb2.QueryAllApplicationsRequest(),
        )
        return [item for page in self._pages(method, request) for item in page.value.applications]

    def supplier(self, operator_address: str) -> shared_pb2.Supplier:
        request = supplier_pb2.QueryGetSupplierRequest(operator_address=operator_address)
        return self._ask(_query(supplier_pb2, "Supplier"), request).supplier

    def service(self, service_id: str) -> shared_pb2.Service:
        request = service_pb2.QueryGetServiceRequest(id=service_id)
        return self._ask(_query(service_pb2, "Service"), request).service

    def services(self) -> list[shared_pb2.Service]:
        method, request = _query(service_pb2, "AllServices"), service_pb2.QueryAllServicesRequest()
        return [item for page in self._pages(method, request) for item in page.value.service]

    def gateway(self, address: str) -> gateway_pb2.Gateway:
        request = gateway_pb2.QueryGetGatewayRequest(address=address)
        return self._ask(_query(gateway_pb2, "Gateway"), request).gateway

    # Accounts

    def account(self, address: str) -> auth_pb2.BaseAccount:
        """Return the account. Raises AccountUnusable for a module's account."""
        request = auth_pb2.QueryAccountRequest(address=address)
        packed = self._ask(_query(auth_pb2, "Account"), request).account
        if packed.type_url != BASE_ACCOUNT_URL:
            raise AccountUnusable(address=address, type_url=packed.type_url[:80])
        try:
            return decode(auth_pb2.BaseAccount, packed.value)
        except Undecodable as error:
            raise NodeAnswerUnreadable(address=address, text=str(error)) from None

    def public_key(self, address: str) -> PublicKey | None:
        """Return the account's 33-byte key; None when the chain has not seen one yet.

        A key of another kind is returned as b"", which nothing takes for a key.
        """
        account = self.account(address)
        if not account.HasField("pub_key"):
            return None
        if account.pub_key.type_url != SECP256K1_KEY_URL:
            return PublicKey(b"")
        try:
            return PublicKey(decode(PubKey, account.pub_key.value).key)
        except Undecodable:
            return PublicKey(b"")

    def balance(self, address: str) -> Upokt:
        """Return the account's uPOKT; 0 for an account the chain does not know."""
        request = bank_pb2.QueryBalanceRequest(address=address, denom=DENOM)
        coin = self._ask(_query(bank_pb2, "Balance"), request).balance
        try:
            return upokt_of(coin)
        except UnusableCoin as error:
            raise NodeAnswerUnreadable(address=address, text=str(error)) from None

    # Claims and proofs

    def claim(self, session_id: str, supplier: str) -> proof_pb2.Claim:
        return self.observe_claim(session_id, supplier, absent_is_error=True).value

    def observe_claim(
        self, session_id: str, supplier: str, *, absent_is_error: bool = False
    ) -> Observed[Any]:
        """Return the claim, or None as value when that state has none."""
        request = proof_pb2.QueryGetClaimRequest(session_id=session_id, supplier_operator_address=supplier)
        try:
            seen = self.channels.call(_query(proof_pb2, "Claim"), request)
        except EntityNotFound as absent:
            if absent_is_error:
                raise
            return Observed(None, absent.height, str(absent.values.get("node", "")))
        return Observed(seen.value.claim, seen.height, seen.node)

    def claims(self, supplier: str, session_end: int | None = None) -> list[proof_pb2.Claim]:
        """Return all claims of the supplier, of one session end height when given."""
        return list(self.observe_claims(supplier, session_end).value)

    def observe_claims(
        self, supplier: str, session_end: int | None = None
    ) -> Observed[tuple[proof_pb2.Claim, ...]]:
        """Like `claims`; the height is the lowest of the pages'."""
        request = proof_pb2.QueryAllClaimsRequest(supplier_operator_address=supplier)
        pages = list(self._pages(_query(proof_pb2, "AllClaims"), request))
        found = tuple(
            claim
            for page in pages
            for claim in page.value.claims
            if claim.supplier_operator_address == supplier
            and session_end in (None, claim.session_header.session_end_block_height)
        )
        return Observed(found, min(page.height for page in pages), pages[-1].node)

    def proof(self, session_id: str, supplier: str) -> proof_pb2.Proof:
        """Return a proof that waits for the end of its block; validated ones are not kept by the chain."""
        request = proof_pb2.QueryGetProofRequest(session_id=session_id, supplier_operator_address=supplier)
        return self._ask(_query(proof_pb2, "Proof"), request).proof

    def last_fee(self, message_type_url: str) -> Upokt | None:
        """Return the fee of the newest transaction with a message of this type; None when there was none.

        Asks by the `query` field: nodes refuse the older `events` (spec/chain.md §1).
        """
        request = tx_pb2.GetTxsEventRequest(
            query=f"message.action='{message_type_url}'", order_by=tx_pb2.ORDER_BY_DESC, page=1, limit=1
        )
        answer = self._ask(rpc(tx_pb2.DESCRIPTOR, "Service", "GetTxsEvent"), request)
        if not answer.txs:
            return None
        try:
            return Upokt(sum(upokt_of(coin) for coin in answer.txs[0].auth_info.fee.amount))
        except UnusableCoin as error:
            raise NodeAnswerUnreadable(text=str(error)) from None

    def _ask(self, method: Rpc[Answer], request: Message) -> Answer:
        return self.channels.call(method, request).value

    def _params(self, module: Any) -> Any:
        return self._ask(_query(module, "Params"), module.QueryParamsRequest()).params

    def _pages(self, method: Rpc[Any], request: Any) -> Iterator[Observed[Any]]:
        """Yield the pages of a list query; a node that repeats a page key is not followed for ever."""
        keys: set[bytes] = set()
        key = b""
        for _ in range(MAX_PAGES):
            request.pagination.CopyFrom(page_pb2.PageRequest(key=key, limit=PAGE_SIZE))
            page = self.channels.call(method, request)
            yield page
            key = page.value.pagination.next_key
            if not key:
                return
            if key in keys:
                break
            keys.add(key)
        raise NodeAnswerUnreadable(method=method.path, text="the list has no end")


def _query(module: Any, method: str) -> Rpc[Any]:
    known = _RPCS.get((module.__name__, method))
    if known is None:
        known = _RPCS[module.__name__, method] = rpc(module.DESCRIPTOR, "Query", method)
    return known


_RPCS: dict[tuple[str, str], Rpc[Any]] = {}


def _target(difficulty: service_pb2.RelayMiningDifficulty, service_id: str) -> bytes:
    if len(difficulty.target_hash) != 32:
        raise NodeAnswerUnreadable(service_id=service_id, text="a difficulty target has 32 bytes")
    return bytes(difficulty.target_hash)
