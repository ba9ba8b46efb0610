"""The client against a real chain's queries and a relayer in miniature: what it sends, and what it refuses to believe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from localnet.chain import LocalChain
from localnet.default_genesis import DefaultChain, default_chain, write_default_chain
from localnet.genesis import read_genesis
from localnet.node import LocalNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.envelope import HttpResponse, decode_http_request
from pocket_protocol.pb.pocket.service_pb2 import RelayResponse
from pocket_protocol.types import ApplicationAddress
from relay_cli.main import cli
from relay_cli.relay.client import RelayClient, default_body, json_request
from relay_cli.relay.client_keys import ClientKeysInvalid, client_keys_of_hex, read_client_keys
from relay_cli.relay.height_watch import HeightWatch
from relay_cli.relay.http_connection import RelayerConnection
from relay_cli.relay.load_results import LoadResults, percentile
from relay_cli.relay.load_test import LoadPlan, LoadTest, all_suppliers
from relay_cli.relay.outcome import (
    AnswerInvalid,
    BackendError,
    RelayRefused,
    RelayUndelivered,
    check_service_answer,
)
from relay_cli.relay.relay_session import NoApplication, SessionSource, choose_application, latest_height
from tests.unit.relay_cli.stand_in_relayer import Spoil, StandInRelayer

REQUEST = json_request("jsonrpc", default_body("eth_blockNumber"))


@dataclass
class World:
    curve: Curve
    chain: DefaultChain
    node: LocalNode
    queries: ChainQueries
    relayer: StandInRelayer

    def source(self, application: str = "app1", service: str = "develop-http") -> SessionSource:
        return SessionSource(self.queries, ApplicationAddress(self.chain.addresses[application]), service)

    def client(self, signer: str = "gateway1") -> RelayClient:
        return RelayClient(self.source(), self.chain.keys[signer], self.curve)


@pytest.fixture(scope="module")
def network() -> Iterator[World]:
    curve = load_curve()
    chain = default_chain(curve)
    ring = [chain.keys[name].public_key(curve) for name in ("app1", "gateway1")]
    keys = {chain.addresses[name]: chain.keys[name] for name in chain.supplier_names}
    relayer = StandInRelayer(curve, keys, lambda request: list(ring))
    local = LocalChain(read_genesis(chain.document, curve), curve)
    local.step(3)
    with LocalNode(local) as node:
        queries = ChainQueries(node.grpc.address, insecure=True)
        yield World(curve, chain, node, queries, relayer)
        queries.channels.close()
    relayer.stop()


@pytest.fixture
def world(network: World) -> World:
    relayer = network.relayer
    relayer.answer = lambda request: HttpResponse(200, (), b'{"result":1}')
    relayer.spoil = relayer.forge = lambda response: None
    relayer.status = 200
    relayer.requests.clear()
    return network


def send(world: World, supplier: str = "supplier1") -> object:
    client = world.client()
    session = client.source.at(latest_height(world.queries))
    connection = RelayerConnection(world.relayer.url, 5.0)
    try:
        return client.send(
            connection, client.sign(session, world.chain.addresses[supplier], REQUEST), "jsonrpc"
        )
    finally:
        connection.close()


def test_a_relay_signed_by_the_gateway_is_sent_as_gateways_do_and_verified(world: World) -> None:
    client = world.client()
    session = client.source.at(latest_height(world.queries))
    assert sorted(session.suppliers) == sorted(
        world.chain.addresses[name] for name in ("supplier1", "supplier2")
    )
    connection = RelayerConnection(world.relayer.url, 5.0)
    outcomes = [
        client.send(connection, client.sign(session, session.suppliers[0], REQUEST), "jsonrpc")
        for _ in range(2)
    ]
    connection.close()
    assert [outcome.response.body for outcome in outcomes] == [b'{"result":1}'] * 2
    (http, first), (_, second) = world.relayer.requests
    assert http.path == "/develop-http" and http.header("Rpc-Type") == "3"
    assert decode_http_request(first.payload) == REQUEST.http
    assert first.meta.session_header == session.header
    assert first.meta.signature != second.meta.signature, "two relays of one request are two leaves"


def test_the_application_can_sign_for_itself(world: World) -> None:
    client = world.client(signer="app1")
    session = client.source.at(latest_height(world.queries))
    connection = RelayerConnection(world.relayer.url, 5.0)
    outcome = client.send(connection, client.sign(session, session.suppliers[1], REQUEST), "jsonrpc")
    connection.close()
    assert outcome.supplier == session.suppliers[1]


def _other_session(response: RelayResponse) -> None:
    response.meta.session_header.session_id = "0" * 64


def _other_payload(response: RelayResponse) -> None:
    response.payload += b"\x1a\x01x"


def _broken_signature(response: RelayResponse) -> None:
    signature = bytearray(response.meta.supplier_operator_signature)
    signature[40] ^= 1
    response.meta.supplier_operator_signature = bytes(signature)


def _no_signature(response: RelayResponse) -> None:
    response.meta.supplier_operator_signature = b""


@pytest.mark.parametrize(
    ("spoil", "forge", "text"),
    [
        (_other_session, None, "another session"),
        (None, _other_payload, "not the one that was signed"),
        (None, _broken_signature, "signature does not fit"),
        (None, _no_signature, "missing supplier operator signature"),
    ],
)
def test_an_answer_that_proves_nothing_is_refused(
    world: World, spoil: Spoil | None, forge: Spoil | None, text: str
) -> None:
    world.relayer.spoil = spoil or world.relayer.spoil
    world.relayer.forge = forge or world.relayer.forge
    with pytest.raises(AnswerInvalid, match=text):
        send(world)


def test_the_other_supplier_cannot_answer(world: World) -> None:
    keys = world.relayer.keys
    first, second = (world.chain.addresses[name] for name in ("supplier1", "supplier2"))
    world.relayer.keys = {first: keys[second], second: keys[first]}
    try:
        with pytest.raises(AnswerInvalid, match="signature does not fit"):
            send(world)
    finally:
        world.relayer.keys = keys


def test_a_refusal_is_told_with_its_status_and_text(world: World) -> None:
    world.relayer.status = 429
    with pytest.raises(RelayRefused, match=r'HTTP 429: \{"error": "no"\}'):
        send(world)


def test_no_relayer_is_told_without_a_trace(world: World) -> None:
    connection = RelayerConnection("http://127.0.0.1:1/", 1.0)
    with pytest.raises(RelayUndelivered, match="Connection refused"):
        connection.post("/x", b"", {})


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (500, b"out of order", "backend HTTP 500: out of order"),
        (
            200,
            b'{"error":{"code":-32601,"message":"no such method"}}',
            "JSON-RPC error -32601: no such method",
        ),
        (200, b'[{"result":1},{"error":{"code":3,"message":"x"}}]', "JSON-RPC error 3: x"),
    ],
)
def test_errors_of_the_service_are_told_apart(status: int, body: bytes, text: str) -> None:
    with pytest.raises(BackendError, match=text):
        check_service_answer(HttpResponse(status, (), body))


@pytest.mark.parametrize("body", [b"", b"null", b'{"error":null,"result":2}', b"\xff\x00", b"[1]"])
def test_other_bodies_are_no_errors(body: bytes) -> None:
    check_service_answer(HttpResponse(200, (), body))


def test_a_load_test_counts_by_session_and_supplier_and_follows_the_rollover(world: World) -> None:
    client = world.client()
    start = latest_height(world.queries)
    calls = iter([start] * 21)

    def height() -> int:
        try:
            return next(calls)
        except StopIteration:
            world.node.chain.step(max(0, start + 10 - world.node.chain.height) or 1)
            return latest_height(world.queries)

    plan = LoadPlan(REQUEST, world.relayer.url, all_suppliers, count=40, concurrency=1)
    results = LoadTest(client, plan, height).run()
    assert (results.total, results.failed) == (40, 0)
    sessions = {session for session, _ in results.served}
    assert len(sessions) >= 2
    assert {supplier for _, supplier in results.served} == set(client.source.at(start).suppliers)
    assert sum(entry["relays"] for entry in results.to_json()["served"]) == 40


def test_a_load_test_breaks_errors_down_and_can_be_paced(world: World) -> None:
    bodies = [b'{"result":1}', b'{"error":{"code":1,"message":"odd"}}']
    world.relayer.answer = lambda request: HttpResponse(200, (), bodies[len(world.relayer.requests) % 2])
    plan = LoadPlan(REQUEST, world.relayer.url, all_suppliers, count=20, concurrency=4, per_second=100)
    with HeightWatch(lambda: latest_height(world.queries), poll_s=0.02) as watch:
        seen: list[int] = []
        results = LoadTest(world.client(), plan, lambda: watch.height).run(lambda now: seen.append(now.total))
    assert results.total == 20 and results.errors == {"JSON-RPC error 1: odd": results.failed}
    assert 0 < results.failed < 20
    assert results.duration_s >= 0.19, "the last relay is due 190 ms after the first"
    text = "\n".join(results.lines())
    assert f"  {results.failed}: JSON-RPC error 1: odd" in text and "p95" in text


def test_percentiles_lie_between_ranks() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert percentile([7.0], 99) == 7.0
    assert LoadResults().lines() == ["No requests recorded"]


def test_an_application_is_found_by_the_service_it_is_staked_for(world: World) -> None:
    addresses = tuple(ApplicationAddress(world.chain.addresses[name]) for name in ("faucet", "app1", "app2"))
    assert choose_application(world.queries, addresses, "develop-rest") == 2
    with pytest.raises(NoApplication):
        choose_application(world.queries, addresses, "no-such-service")


def test_client_keys_are_read_and_never_shown(world: World, tmp_path: Path) -> None:
    write_default_chain(tmp_path, world.chain)
    keys = read_client_keys(tmp_path / "client-keys.yaml")
    assert keys.application_addresses(world.curve) == (
        world.chain.addresses["app1"],
        world.chain.addresses["app2"],
    )
    assert keys.signing_key(1) is keys.gateway
    secret = keys.applications[0].reveal().hex()
    assert secret not in repr(keys)
    assert client_keys_of_hex("0x" + secret).applications[0].reveal().hex() == secret
    for document in (
        {},
        {"applications": []},
        {"applications": [secret[:-1]]},
        {"applications": [secret], "gateways": [secret, secret]},
        [1],
    ):
        path = tmp_path / "bad.yaml"
        path.write_text(yaml.safe_dump(document))
        with pytest.raises(ClientKeysInvalid) as caught:
            read_client_keys(path)
        assert secret[:-1] not in str(caught.value)


@pytest.fixture
def arguments(world: World, tmp_path: Path) -> list[str]:
    write_default_chain(tmp_path, world.chain)
    keys = str(tmp_path / "client-keys.yaml")
    where = ["--node", world.node.grpc.address, "--relayer-url", world.relayer.url, "--keys-file", keys]
    return ["relay", "jsonrpc", "--service", "develop-http", *where]


def test_the_command_shows_one_relay(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    for text in (
        "Signature: ✅ VALID",
        "Error Check: ✅ NO ERRORS",
        "HTTP 200",
        '"result": 1',
        "Network Time:",
    ):
        assert text in result.stdout


def test_verbose_says_what_is_asked_and_sent_beside_the_result(world: World, arguments: list[str]) -> None:
    """In a process of its own: it sets up logging."""
    command = [sys.executable, "-m", "relay_cli", *arguments, "--json"]
    quiet = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert quiet.stderr == ""
    told = subprocess.run([*command, "--verbose"], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout)["success"]
    assert world.chain.addresses["supplier1"] in told.stderr and "answered" in told.stderr


def test_the_command_prints_json_and_fails_when_the_relay_fails(world: World, arguments: list[str]) -> None:
    world.relayer.status = 503
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["success"], document["reason"]) == (False, "relay_refused")


def test_the_command_shows_what_the_service_said_when_it_is_an_error(
    world: World, arguments: list[str]
) -> None:
    world.relayer.answer = lambda request: HttpResponse(404, (("X-Why", ("gone",)),), b"nowhere")
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    for text in ("Signature: ✅ VALID", "Error Check: ❌ ERROR", "HTTP 404", "X-Why: gone", "nowhere"):
        assert text in result.stdout


def test_a_load_test_on_the_command_line(world: World, arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, [*arguments, "--load-test", "-n", "30", "--all-suppliers", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["total"], document["successful"], len(document["served"])) == (30, 30, 2)
    world.relayer.status = 500
    result = CliRunner().invoke(cli, [*arguments, "--load-test", "-n", "3"])
    assert result.exit_code == 1 and "  3: HTTP 500" in result.stdout


def test_simulated_relays_name_their_key_and_never_repeat_a_session(
    world: World, arguments: list[str]
) -> None:
    supplier = world.chain.addresses["supplier1"]
    more = ["--simulate", "--sim-key-id", "probe", "--supplier", supplier, "--load-test", "-n", "5"]
    result = CliRunner().invoke(cli, [*arguments, *more, "--json"])
    assert result.exit_code == 0, result.output
    assert len(world.relayer.requests) == 5
    headers = [request.meta.session_header for _, request in world.relayer.requests]
    assert len({header.session_id for header in headers}) == 5
    for (http, _), header in zip(world.relayer.requests, headers, strict=True):
        assert http.header("Pocket-Simulation-Key-Id") == "probe"
        assert re.fullmatch(r"simv1:[0-9]{10}:[0-9a-f]{16}", header.session_id)
        assert (header.session_start_block_height, header.session_end_block_height) == (1, 2)
        assert header.application_address == world.chain.addresses["app1"]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["-n", "5"], "requires --load-test"),
        (["--rps", "5"], "--rps requires --load-test"),
        (["--concurrency", "5"], "--concurrency requires --load-test"),
        (["--app-priv-key", "00" * 32], "choose a single key source"),
        (["--simulate"], "--simulate requires --supplier"),
        (["--simulate", "--supplier", "x"], "--simulate requires --sim-key-id"),
        (
            ["--simulate", "--supplier", "x", "--sim-key-id", "k", "--sim-gateway-pubkeys", "02ff"],
            "a public key is 66 hex digits",
        ),
        (["--service", "a b"], "A-Z a-z 0-9"),
        (["--app-key", "app"], "a Cosmos keyring is not read"),
        (["--keyring-backend", "test"], "use --keys-file"),
        (["--relayer-url", "http://me:secret@h"], "without credentials"),
        (["--load-test", "--supplier", "x", "--all-suppliers"], "exclude each other"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], more: list[str], text: str) -> None:
    result = CliRunner().invoke(cli, [*arguments, *more])
    assert result.exit_code == 2
    assert text in result.output and ":secret@" not in result.output


def test_modes_that_do_not_exist_say_which_do() -> None:
    result = CliRunner().invoke(cli, ["relay", "soap", "--service", "x"])
    assert result.exit_code == 2 and "jsonrpc, cometbft, websocket, stream" in result.output
