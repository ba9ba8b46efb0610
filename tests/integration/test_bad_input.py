"""Whatever arrives: a bounded, typed answer; nothing charged, nothing mined, and the next relay is served (I5, I7).

Real processes, both ways through the front end: the direct one and Flask's. After each row the meter keys and the
streams are as before, the worker process is the same, and a good relay on a new connection is served.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from localnet.default_genesis import Options, default_chain, named_key, write_default_chain
from pocket_protocol import relay as relay_protocol
from relay_cli.up.layout import Layout
from tests.integration.bad_relays import BACKENDS, FOR_OTHERS, FORGED, INNER, NOT_RELAYS, Row
from tests.integration.raw_http import exchange, open_connection, post, read_answer
from tests.integration.sender import Sender, address, check_good, curve, json_call
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment

SERVICES = ("good", "small", "dead", "hasty", "failing", "broken", "based")
HEIGHT = 25  # in session 21..30
CLIENT_TIMEOUT_S = 1
LARGEST_BODY = 1_000_000
MEMORY_GROWTH_KB = 8_192
SMALL_BODY = 2_000


@dataclass
class Scene:
    """A relayer, a gateway, and what both had before."""

    running: Deployment
    sender: Sender

    def books(self) -> tuple[dict[bytes, int], dict[bytes, int]]:
        charges = {key: value for key, value in self.running.charges().items() if value}
        return charges, self.running.streams()

    def send(self, raw: bytes) -> Any:
        return exchange(self.running.relayer_address, raw)


def write_chain(layout: Layout) -> None:
    options = Options(num_suppliers=3, services=tuple((service, 10) for service in SERVICES))
    chain = default_chain(curve(), options)
    write_default_chain(layout.directory, chain)
    ours = [named_key("supplier1").reveal().hex(), named_key("stranger").reveal().hex()]
    layout.supplier_keys.write_text(yaml.safe_dump({"keys": ours}))


def configure(settings: dict[str, Any]) -> None:
    url = settings["services"]["develop-http"]["backends"]["jsonrpc"]["url"]
    settings["services"] = {service: {"backends": {"jsonrpc": {"url": url}}} for service in SERVICES}
    settings["services"]["small"]["max_body_size_bytes"] = SMALL_BODY
    settings["services"]["dead"]["backends"]["jsonrpc"]["url"] = "http://127.0.0.1:1"
    settings["services"]["hasty"]["timeout_profile"] = "hasty"
    settings["services"]["based"]["backends"]["jsonrpc"]["base_path"] = "/test/echo"
    settings["timeout_profiles"] = {"hasty": {"request_timeout_seconds": 1}}
    settings["default_max_body_size_bytes"] = LARGEST_BODY
    settings["extensions"]["client_timeout_seconds"] = CLIENT_TIMEOUT_S


# Through Flask it is the same function; test_relayer_http.py and test_streams.py go both ways in every run.
@pytest.fixture(scope="module", params=["direct", pytest.param("flask", marks=pytest.mark.stress)])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with deployment(
        tmp_path_factory.mktemp(request.param),
        RELAYER,
        relayer=configure,
        prepare=write_chain,
        environment={"POCKET_RELAYER_DIRECT": "1" if request.param == "direct" else "0"},
        block_time_s=STILL_S,
        front_end_workers=1,
    ) as running:
        running.step_to(HEIGHT)
        foreign = {"status": "active", "staked": True, "services": list(SERVICES)}
        running.store.client.set(running.keys.supplier(address("supplier3")), json.dumps(foreign))
        yield Scene(running, Sender(running.layout.ports.address("grpc"), SERVICES, HEIGHT))
        log = running.supervisor.child("relayer").log_path.read_text()
        assert "Traceback" not in log, log[-5000:]


@pytest.fixture(autouse=True)
def unharmed(scene: Scene) -> Iterator[None]:
    """Nothing is charged or mined by what a test sends; the same process serves the next relay."""
    workers = scene.running.front_end_workers()
    before = scene.books()
    yield
    assert scene.books() == before
    check_good(scene.send(scene.sender.post("good")))
    assert scene.running.front_end_workers() == workers
    assert scene.running.told == []


ROWS = [*NOT_RELAYS, *FOR_OTHERS, *FORGED, *INNER, *BACKENDS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_refused(scene: Scene, row: Row) -> None:
    answer = scene.send(post(row.encoded(scene.sender), "Rpc-Type: 3"))
    assert answer is not None
    document = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert (answer.status, row.matches(document["error"])) == (row.status, True), document
    assert not [word for word in (".py", "Traceback", "object at") if word in document["error"]]


@pytest.mark.parametrize("rpc_type", ["junk", "json_rpc", "websocket", "1", "3x", "-1", "4"])
def test_a_transport_nobody_serves(scene: Scene, rpc_type: str) -> None:
    body = relay_protocol.encode_request(scene.sender.request("good"))
    answer = scene.send(post(body, f"Rpc-Type: {rpc_type}"))
    assert answer.status == 503
    assert json.loads(answer.body) == {"error": "service temporarily unavailable", "service": "good"}


def test_a_body_over_every_limit(scene: Scene) -> None:
    answer = scene.send(post(b"x" * (LARGEST_BODY + 1)))
    assert (answer.status, json.loads(answer.body)) == (413, {"error": "request body too large"})


def test_a_body_over_its_service_s_limit(scene: Scene) -> None:
    answer = scene.send(scene.sender.post("small", inner=json_call(body=b" " * SMALL_BODY)))
    assert (answer.status, json.loads(answer.body)) == (413, {"error": "request body too large for service"})


@pytest.mark.parametrize(
    "url",
    ["/../../counters", "/a/../../../x", "/%2e%2e/%2e%2e/counters", "//..//..//x", "http://elsewhere/../x"],
)
def test_an_inner_path_stays_under_the_base_path(scene: Scene, url: str) -> None:
    """Served, for cleaned it is harmless; the relay is in the books, so those are taken again."""
    answer = scene.send(scene.sender.post("based", inner=json_call(url)))
    assert json.loads(check_good(answer))["target"].startswith("/test/echo")
    entry = scene.running.entries(address("supplier1"))[-1]
    assert entry.service_id == "based"
    stream = scene.running.keys.relay_stream(address("supplier1"))
    newest = scene.running.store.client.xrevrange(stream, count=1)[0][0]
    scene.running.store.client.xdel(stream, newest)
    for key, value in scene.running.charges().items():
        if entry.session_id.encode() in key and value:
            scene.running.store.client.decrby(key, value)


def smuggled(head: str, body: bytes) -> bytes:
    return head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


HEADS = {
    "two lengths": ("POST / HTTP/1.1\nHost: a\nContent-Length: {n}\nContent-Length: 3", 400),
    "length and chunked": ("POST / HTTP/1.1\nHost: a\nContent-Length: {n}\nTransfer-Encoding: chunked", 400),
    "chunked and length": ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nContent-Length: {n}", 400),
    "unknown coding": ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: xchunked", 400),
    "chunks that are none": ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked", 400),
    "folded length": ("POST / HTTP/1.1\nHost: a\nX: 1\n Content-Length: {n}\nContent-Length: {n}", 400),
    "NUL in a value": ("POST / HTTP/1.1\nHost: a\nX: a\0b\nContent-Length: {n}", 400),
    "CR in a value": ("POST / HTTP/1.1\nHost: a\nX: a\rb\nContent-Length: {n}", 400),
    "blank before the colon": ("POST / HTTP/1.1\nHost: a\nContent-Length : {n}", 400),
    "blank in a name": ("POST / HTTP/1.1\nHost: a\nContent Length: {n}", 400),
    "no Host": ("POST / HTTP/1.1\nContent-Length: {n}", 400),
    "two Hosts": ("POST / HTTP/1.1\nHost: a\nHost: b\nContent-Length: {n}", 400),
    "HTTP/3.0": ("POST / HTTP/3.0\nHost: a\nContent-Length: {n}", 505),
    "no HTTP": ("HELO relayer", 400),
    "too many headers": ("POST / HTTP/1.1\nHost: a\n" + "X: y\n" * 200 + "Content-Length: {n}", 431),
    "headers too large": ("POST / HTTP/1.1\nHost: a\nX: " + "y" * 70_000 + "\nContent-Length: {n}", 431),
    "long target": ("POST /" + "a" * 9_000 + " HTTP/1.1\nHost: a\nContent-Length: {n}", 414),
    "length too long": ("POST / HTTP/1.1\nHost: a\nContent-Length: 99999999999999999999", 413),
    "negative length": ("POST / HTTP/1.1\nHost: a\nContent-Length: -1", 400),
    "WebSocket without its headers": (
        "POST / HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: Upgrade\nContent-Length: {n}",
        400,
    ),
    "gRPC over HTTP/1.1": (
        "POST / HTTP/1.1\nHost: a\nContent-Type: application/grpc\nContent-Length: {n}",
        505,
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_good_relay_behind_a_bad_head(scene: Scene, name: str) -> None:
    """However the message is framed, the sound relay in it is neither served nor mined, and nothing follows it."""
    head, status = HEADS[name]
    body = relay_protocol.encode_request(scene.sender.request("good"))
    raw = smuggled(head.replace("{n}", str(len(body))), body) + scene.sender.post("good")
    with open_connection(scene.running.relayer_address) as connection:
        connection.sendall(raw)
        answer = read_answer(connection)
        assert answer is not None
        assert (answer.status, answer.closed) == (status, True), answer.body
        assert read_answer(connection) is None


def test_a_relay_is_no_http2(scene: Scene) -> None:
    """After the preface only frames count: the relay in HTTP/1.1 behind it ends the connection."""
    with open_connection(scene.running.relayer_address) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + scene.sender.post("good"))
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received[3] == 4  # SETTINGS
    assert b"HTTP/1.1" not in received


def test_a_relay_is_no_grpc_web_call(scene: Scene) -> None:
    """Answered in that protocol's own way: an unknown method (12)."""
    body = relay_protocol.encode_request(scene.sender.request("good"))
    answer = scene.send(post(body, "Content-Type: application/grpc-web+proto"))
    assert answer.status == 200
    assert b"grpc-status: 12" in answer.body


def test_tls_is_sent_away(scene: Scene) -> None:
    answer = scene.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(509))
    assert answer.status == 400


@pytest.mark.parametrize("kept", [10, 40, -1], ids=["in the line", "in the headers", "in the body"])
def test_a_client_that_dawdles_is_told_to_go(scene: Scene, kept: int) -> None:
    """A few bytes and then silence: answered when its time is over, not held for ever."""
    raw = scene.sender.post("good")
    with open_connection(scene.running.relayer_address) as connection:
        connection.sendall(raw[:kept])
        answer = read_answer(connection)
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (408, {"error": "request timeout"})


def test_a_body_that_ends_early(scene: Scene) -> None:
    with open_connection(scene.running.relayer_address) as connection:
        connection.sendall(scene.sender.post("good")[:-20])
        connection.shutdown(socket.SHUT_WR)
        answer = read_answer(connection)
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "failed to read request body"})


@pytest.mark.parametrize("kept", [0, 10, 100, -20])
def test_a_client_that_vanishes(scene: Scene, kept: int) -> None:
    """Reset in the middle, without a word."""
    with open_connection(scene.running.relayer_address) as connection:
        connection.sendall(scene.sender.post("good")[:kept])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_many_bad_ones_on_one_connection(scene: Scene) -> None:
    """Refusals keep the connection: the next relay on it is judged for itself."""
    bad = [row.encoded(scene.sender) for row in (*NOT_RELAYS, *FORGED)]
    with open_connection(scene.running.relayer_address) as connection:
        for body, row in zip(bad, (*NOT_RELAYS, *FORGED), strict=True):
            connection.sendall(post(body, "Rpc-Type: 3"))
            answer = read_answer(connection)
            assert answer is not None and answer.status == row.status, row.name


def test_memory_stays_flat(scene: Scene) -> None:
    """Thousands of refusals leave nothing behind in the process."""
    (worker,) = scene.running.front_end_workers()
    bad = [post(row.encoded(scene.sender), "Rpc-Type: 3") for row in (*NOT_RELAYS, *INNER)]

    def refuse_all(rounds: int) -> None:
        with open_connection(scene.running.relayer_address) as connection:
            for raw in bad * rounds:
                connection.sendall(raw)
                answer = read_answer(connection)
                assert answer is not None and answer.status == 400

    refuse_all(10)
    before = resident_kb(worker)
    refuse_all(30)
    assert resident_kb(worker) - before < MEMORY_GROWTH_KB


def resident_kb(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
