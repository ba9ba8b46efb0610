"""Simulated relays through real processes, over every transport: served and signed, never charged or mined (§2.10)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pocket_protocol import relay as relay_protocol
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.signer import verify
from tests.integration.raw_http import exchange, post
from tests.integration.sender import Sender, address, check_good, curve, public_key
from tests.integration.socket_client import SocketClient
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment

SERVICE = "develop-http"
KEY_ID = "probe"
HEADER = f"Pocket-Simulation-Key-Id: {KEY_ID}"
CALL = b'{"id":1,"jsonrpc":"2.0","method":"eth_blockNumber","params":[]}'
SEND_RELAY = "/pocket.service.RelayService/SendRelay"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    def relayer(settings: dict[str, Any]) -> None:
        backends = settings["services"][SERVICE]["backends"]
        backends["websocket"] = {"url": backends["jsonrpc"]["url"].replace("http", "ws") + "/ws/echo"}
        settings["default_validation_mode"] = "optimistic"
        settings["simulation"] = {
            "enabled": True,
            "identities": [
                {
                    "key_id": KEY_ID,
                    "enabled": True,
                    "max_rps": 100,
                    "app_pubkey_hex": public_key("app1").hex(),
                    "gateway_pubkeys_hex": [public_key("gateway1").hex()],
                }
            ],
        }

    with deployment(
        tmp_path_factory.mktemp("simulation"),
        RELAYER,
        relayer=relayer,
        block_time_s=STILL_S,
        front_end_workers=1,
    ) as running:
        running.step_to(5)
        yield running


@pytest.fixture(scope="module")
def sender(network: Deployment) -> Sender:
    return Sender(network.layout.ports.address("grpc"), [SERVICE], 5)


def simulated(sender: Sender, nonce: str, **changes: Any) -> RelayRequest:
    header = {
        "session_id": f"simv1:{int(time.time())}:{nonce}",
        "session_start_block_height": 1,
        "session_end_block_height": 2,
    }
    ring = [public_key("app1"), public_key("gateway1")]
    return sender.request(SERVICE, header=header, ring=ring, **changes)


def check_nothing_left(network: Deployment) -> None:
    assert network.streams() == {}
    assert network.charges() == {}


def test_the_client_s_simulated_relay_is_served_and_leaves_no_trace(network: Deployment) -> None:
    ports = network.layout.ports
    command = [
        *(sys.executable, "-m", "relay_cli", "relay", "jsonrpc", "--service", SERVICE, "--json"),
        *("--node", ports.address("grpc"), "--relayer-url", ports.url("relayer")),
        *("--keys-file", str(network.layout.directory / "client-keys.yaml")),
        *("--simulate", "--sim-key-id", KEY_ID, "--supplier", address("supplier1")),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)
    check_nothing_left(network)


def test_replayed_and_forged_ones_are_refused_in_optimistic_mode_too(
    network: Deployment, sender: Sender
) -> None:
    body = relay_protocol.encode_request(simulated(sender, "http"))
    raw = post(body, "Rpc-Type: 3", HEADER)
    check_good(exchange(network.relayer_address, raw))
    answer = exchange(network.relayer_address, raw)
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (
        409,
        {"error": "simulation rejected: simulation: request already seen (replay)"},
    )
    forged = simulated(sender, "forged")
    forged.meta.session_header.session_id += "x"
    answer = exchange(
        network.relayer_address, post(relay_protocol.encode_request(forged), "Rpc-Type: 3", HEADER)
    )
    assert answer is not None
    assert answer.status == 403
    check_nothing_left(network)


def test_each_message_of_a_simulated_websocket_is_admitted(network: Deployment, sender: Sender) -> None:
    headers = {"Target-Service-Id": SERVICE, "Rpc-Type": "2", "Pocket-Simulation-Key-Id": KEY_ID}
    with SocketClient(network.relayer_address, headers) as client:
        for number in range(3):
            client.send(relay_protocol.encode_request(simulated(sender, f"ws{number}", payload=CALL)))
            response = relay_protocol.decode_response(client.message())
            assert response.payload == CALL
            signable = relay_protocol.signable_response(response)
            signature = response.meta.supplier_operator_signature
            assert verify(curve(), public_key("supplier1"), signable, signature)  # type: ignore[arg-type]
        forged = simulated(sender, "wsforged", payload=CALL)
        forged.meta.session_header.session_id += "x"
        client.send(relay_protocol.encode_request(forged))
        assert client.goodbye() == (4001, "simulation rejected")
    check_nothing_left(network)


def test_simulated_relays_over_grpc(network: Deployment, sender: Sender) -> None:
    request = relay_protocol.encode_request(simulated(sender, "grpc"))
    metadata = (("pocket-simulation-key-id", KEY_ID), ("rpc-type", "3"))
    host, port = network.relayer_address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        send = channel.unary_unary(SEND_RELAY)
        response = relay_protocol.decode_response(send(request, metadata=metadata, timeout=10))
        assert response.payload_hash == relay_protocol.payload_hash(response.payload)
        with pytest.raises(grpc.RpcError) as replayed:
            send(request, metadata=metadata, timeout=10)
        assert replayed.value.code() is grpc.StatusCode.ALREADY_EXISTS
        forged = simulated(sender, "grpcforged")
        forged.meta.session_header.session_id += "x"
        with pytest.raises(grpc.RpcError) as refused:
            send(relay_protocol.encode_request(forged), metadata=metadata, timeout=10)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    check_nothing_left(network)
