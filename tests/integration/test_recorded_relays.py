"""Relays recorded on a real network are served again, byte for byte (spec/live.md §3, spec/gateway.md §2).

Genesis, keys, sessions, heights and the backend's answers are the recorded ones. Compared is everything but the
`Date` of the outer answer: the clock's. The relay response itself, with the backend's `Date` inside and the
supplier's signature, is equal to the last byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocket_protocol import relay as relay_protocol
from pocket_protocol.curve import load_curve
from pocket_protocol.envelope import HttpResponse, decode_http_response
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.relay import payload_hash, relay_hash
from pocket_protocol.signer import verify
from pocket_protocol.stream_entry import StreamEntry, decode_stream_entry
from relay_cli.up.layout import Layout
from tests import recorded
from tests.integration.raw_http import (
    RawAnswer,
    ScriptedBackend,
    answer_bytes,
    exchange,
    open_connection,
    post,
    read_answer,
    scripted_backend,
)
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment

pytestmark = recorded.needs_recordings

NODE, ERRORS, GATEWAY = 830, 813, 342  # heights: of the chain, and when was recorded
OTHER_HEIGHTS = {"http-meter-exhausted": 822, "http-optimistic-payload-changed-after-signing": 775}
SERVED = (
    "http-jsonrpc",
    "http-jsonrpc-appring",
    "http-jsonrpc-supplier2",
    "http-jsonrpc-fat300",
    "http-cometbft",
)
RELAY_COST_UPOKT = 100_000  # of develop-*
# The reference names its source file, and escapes nothing: neither is copied (TRAP T-ESC).
SOURCE_PLACE = re.compile(r" \[\(build path\)/[^]]*\]")


def names(pattern: str) -> list[str]:
    """Recordings that match, relative to the relays' directory."""
    root = recorded.path("localnet/relays")
    found = sorted(root.glob(pattern)) if root.is_dir() else []
    return [str(path.relative_to(root)) for path in found if not path.name.startswith("_")]


def load(name: str) -> Any:
    return recorded.load(f"localnet/relays/{name}")


def sessions_in(requests: list[bytes]) -> list[dict[str, Any]]:
    """The session ids the requests carry, for the chain to give again."""
    known = {}
    for body in requests:
        try:
            header = relay_protocol.decode_request(body).meta.session_header
        except Exception:  # a broken recording names no session
            continue
        if header.session_id:
            known[header.application_address, header.service_id, header.session_start_block_height] = header
    return [
        {"application": application, "service": service, "start": start, "session_id": header.session_id}
        for (application, service, start), header in known.items()
    ]


@contextmanager
def recorded_network(
    directory: Path,
    backend: ScriptedBackend,
    requests: list[bytes],
    height: int,
    blocks_per_session: int,
    *,
    websocket: str = "",
    grpc_backend: str = "",
    extensions: Mapping[str, Any] | None = None,
) -> Iterator[Deployment]:
    """The recorded chain at `height`, and our relayer on it with the recorded configuration and keys.

    `websocket` and `grpc_backend`: URLs of the backends for those transports; `extensions`: settings of our own.
    """
    fixture = directory / "fixture.json"
    fixture.write_text(json.dumps({"sessions": sessions_in(requests)}))

    def prepare(layout: Layout) -> None:
        genesis = json.loads(recorded.path("localnet/genesis.json").read_text())
        genesis["app_state"]["shared"]["params"]["num_blocks_per_session"] = str(blocks_per_session)
        layout.genesis.write_text(json.dumps(genesis))
        layout.supplier_keys.write_text(recorded.path("localnet/supplier-keys.yaml").read_text())

    def relayer(settings: dict[str, Any]) -> None:
        original = yaml.safe_load(recorded.path("localnet/relayer.yaml").read_text())
        settings["services"] = original["services"]
        for service in settings["services"].values():
            for transport, backend_settings in service["backends"].items():
                if transport not in ("websocket", "grpc"):
                    backend_settings["url"] = f"http://{backend.address}"
                elif transport == "grpc" and grpc_backend:
                    backend_settings["url"] = grpc_backend
                elif transport == "websocket" and websocket:
                    backend_settings["url"] = websocket
        settings["extensions"].update(extensions or {})
        settings["default_validation_mode"] = original["default_validation_mode"]
        settings["default_max_body_size_bytes"] = original["default_max_body_size_bytes"]

    with deployment(
        directory,
        RELAYER,
        prepare=prepare,
        relayer=relayer,
        localnet_flags=("--fixture", str(fixture)),
        block_time_s=STILL_S,
        front_end_workers=1,
    ) as running:
        running.admin("jump", height=height)
        yield running


@pytest.fixture(scope="module")
def backend() -> Iterator[ScriptedBackend]:
    with scripted_backend() as made:
        yield made


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, backend: ScriptedBackend) -> Iterator[Deployment]:
    requests = [
        bytes.fromhex(load(name)["request_hex"])
        for name in names("http-*/*.json") + names("errors/http-*.json")
    ]
    requests += [entry.relay.req.SerializeToString() for entry in stream_recordings()]
    with recorded_network(tmp_path_factory.mktemp("recorded"), backend, requests, NODE, 10) as running:
        yield running


def head_of(answer: RawAnswer) -> dict[str, str]:
    """The outer headers that do not depend on the time."""
    return {name: value for name, value in answer.headers.items() if name != "date"}


def give(backend: ScriptedBackend, response: HttpResponse) -> None:
    """Have the backend answer what is inside a recorded relay response."""
    headers = [(name, value) for name, values in response.headers for value in values]
    backend.answer = answer_bytes(response.status_code, headers, response.body)


def check_served(answer: RawAnswer | None, expected: bytes, network: Deployment) -> None:
    """Status, headers, body, and independently of the recording: signature, payload hash, what was mined."""
    assert answer is not None
    assert answer.status == 200, answer.body
    assert answer.body == expected
    assert head_of(answer) == {"content-type": "application/json", "content-length": str(len(expected))}
    response = relay_protocol.decode_response(answer.body)
    assert response.payload_hash == payload_hash(response.payload)
    signed = relay_protocol.signable_response(response)
    keys = {
        entry["address"]: bytes.fromhex(entry["public_key"])
        for entry in recorded.load("localnet/keys.json").values()
        if "public_key" in entry
    }
    signers = [
        key
        for key in keys.values()
        if verify(load_curve(), key, signed, response.meta.supplier_operator_signature)
    ]
    assert len(signers) == 1


def newest_entry(network: Deployment, supplier: str) -> tuple[StreamEntry, Relay]:
    entry = network.entries(supplier)[-1]
    relay = Relay()
    relay.ParseFromString(entry.relay_bytes)
    return entry, relay


def check_mined(network: Deployment, request: bytes, answer: bytes, height: int) -> None:
    """The newest entry holds the request as sent and the answer as given, its payload removed (decisions D2)."""
    sent = relay_protocol.decode_request(request)
    entry, relay = newest_entry(network, sent.meta.supplier_operator_address)
    response = relay_protocol.decode_response(answer)
    response.payload = b""
    header = sent.meta.session_header
    assert (relay.req, relay.res) == (sent, response)
    assert entry.relay_hash == relay_hash(entry.relay_bytes)
    assert (entry.session_id, entry.service_id) == (header.session_id, header.service_id)
    assert entry.application_address == header.application_address
    assert (entry.session_start_height, entry.session_end_height) == (
        header.session_start_block_height,
        header.session_end_block_height,
    )
    assert entry.compute_units_per_relay == (100 if header.service_id == "anvil" else 1000)
    assert entry.arrival_block_height == height


HEADERS_LINE = re.compile(r"HTTP POST / map\[(.*)\]$")
HEADER = re.compile(r"([A-Za-z-]+):\[([^]]*)\]")


def recorded_backend_headers() -> set[tuple[tuple[str, str], ...]]:
    lines = recorded.path("localnet/relays/backend-received-headers.log").read_text().splitlines()
    found = [HEADERS_LINE.search(line) for line in lines]
    return {tuple(sorted(HEADER.findall(match[1]))) for match in found if match}


@pytest.mark.parametrize("name", [name for directory in SERVED for name in names(f"{directory}/*.json")])
def test_served_as_recorded(network: Deployment, backend: ScriptedBackend, name: str) -> None:
    recording = load(name)
    request, expected = bytes.fromhex(recording["request_hex"]), bytes.fromhex(recording["response_hex"])
    give(backend, decode_http_response(relay_protocol.decode_response(expected).payload))
    network.tell_height(recording["height"])
    answer = exchange(network.relayer_address, recording["request_head"].encode() + request)
    check_served(answer, expected, network)
    check_mined(network, request, expected, recording["height"])
    if not name.startswith("http-cometbft"):
        _, target, headers, _ = backend.received[-1]
        got = {name: value for name, value in headers.items() if name != "Host"}
        assert (target, tuple(sorted(got.items())) in recorded_backend_headers()) == ("/", True), got


class StreamRecording:
    """An entry of the recorded stream."""

    def __init__(self, encoded: bytes) -> None:
        self.entry = decode_stream_entry(encoded)
        self.relay = Relay()
        self.relay.ParseFromString(self.entry.relay_bytes)


def stream_recordings() -> list[StreamRecording]:
    if not recorded.path("localnet/redis").is_dir():
        return []
    dump = recorded.load("localnet/redis/11-stream-unconsumed.json")
    entries = [fields for stream in dump.values() for _, fields in stream["entries"]]
    return [StreamRecording(bytes.fromhex(fields[0][1]["hex"])) for fields in entries]


@pytest.mark.parametrize("number", range(8))
def test_mined_as_recorded(network: Deployment, backend: ScriptedBackend, number: int) -> None:
    """Entries differ from the recorded ones in what the supplier signed (decisions D2), hence in the hash, and in the time."""
    recording = stream_recordings()[number]
    network.tell_height(recording.entry.arrival_block_height)
    body = b'{"id":1}'
    backend.answer = answer_bytes(200, [("Content-Length", str(len(body)))], body)
    answer = exchange(
        network.relayer_address,
        post(recording.relay.req.SerializeToString(deterministic=True), "Rpc-Type: 3"),
    )
    assert answer is not None and answer.status == 200
    entry, relay = newest_entry(network, recording.entry.supplier_operator_address)
    for name in StreamEntry.__slots__:
        if name not in ("relay_hash", "relay_bytes", "published_at_ns"):
            assert getattr(entry, name) == getattr(recording.entry, name), name
    for side in (relay, recording.relay):
        assert side.res.payload == b""
        side.res.payload_hash = side.res.meta.supplier_operator_signature = b""
    assert relay == recording.relay


# name -> (status, text) where we are stricter or more exact than the recorded relayer, and why
DIFFERENT = {
    # recorded in optimistic mode; every service of the recorded configuration is eager
    "http-optimistic-payload-changed-after-signing": (
        403,
        "relay validation failed: ring signature verification failed: invalid relay request signature or bytes: "
        "invalid relay request signature",
    ),
}


@pytest.mark.parametrize("name", names("errors/http-*.json"))
def test_odd_requests_as_recorded(network: Deployment, backend: ScriptedBackend, name: str) -> None:
    recording = load(name)
    short = Path(name).stem
    request, expected = bytes.fromhex(recording["request_hex"]), bytes.fromhex(recording["response_hex"])
    head = (
        recording.get("request_head")
        or f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request)}\r\n\r\n"
    )
    status, text = recording["status"], recording.get("response_text")
    if short in DIFFERENT:
        status, text = DIFFERENT[short]
        text = json.dumps({"error": text})
    network.tell_height(OTHER_HEIGHTS.get(short, ERRORS))
    if status == 200:
        give(backend, decode_http_response(relay_protocol.decode_response(expected).payload))
    else:
        backend.answer = answer_bytes(500, [("Content-Length", "0")], b"")
    if short == "http-meter-exhausted":
        spend_the_meter(network, backend, head.encode() + request)
    before = network.charges(), network.streams()
    answer = exchange(network.relayer_address, head.encode() + request)
    if status == 200:
        check_served(answer, expected, network)
        check_mined(network, request, expected, ERRORS)
        return
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (status, json.loads(SOURCE_PLACE.sub("", text)))
    assert head_of(answer)["content-type"] == "application/json"
    assert (network.charges(), network.streams()) == before


def spend_the_meter(network: Deployment, backend: ScriptedBackend, raw: bytes) -> None:
    """The recorded application's stake carried 166 relays of one supplier; so it does here."""
    body = b"{}"
    backend.answer = answer_bytes(200, [("Content-Length", str(len(body)))], body)
    before = sum(network.charges().values())
    with open_connection(network.relayer_address) as connection:
        for number in range(166):
            connection.sendall(raw)
            answer = read_answer(connection)
            assert answer is not None and answer.status == 200, number
    assert sum(network.charges().values()) - before == 166 * RELAY_COST_UPOKT


def split_messages(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Heads (with their blank line) and bodies of HTTP messages in a recorded direction."""
    messages = []
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        messages.append((head + b"\r\n\r\n", rest[:length]))
        stream = rest[length:]
    return messages


def test_the_gateway_s_connection(tmp_path: Path, backend: ScriptedBackend) -> None:
    """POST, GET with a body, PUT, three services, on one kept-alive connection, as the gateway sent them."""
    asked = split_messages(recorded.path("gateway/http-path-to-relayer.bin").read_bytes())
    said = split_messages(recorded.path("gateway/http-relayer-to-path.bin").read_bytes())
    requests = [body for _, body in asked]
    with (
        recorded_network(tmp_path, backend, requests, GATEWAY, 30) as running,
        open_connection(running.relayer_address) as connection,
    ):
        running.tell_height(GATEWAY)
        for (head, request), (_, expected) in zip(asked, said, strict=True):
            response = decode_http_response(relay_protocol.decode_response(expected).payload)
            give(backend, response)
            connection.sendall(head + request)
            check_served(read_answer(connection), expected, running)
            check_mined(running, request, expected, GATEWAY)
        targets = [(method, target, body) for method, target, _, body in backend.received[-len(asked) :]]
        assert [(method, target) for method, target, _ in targets] == [
            ("POST", "/"),
            ("GET", "/status"),
            ("POST", "/"),
            ("GET", "/foo/bar"),
            ("PUT", "/stream"),
        ]
        assert targets[-1][2] == b"hello"
