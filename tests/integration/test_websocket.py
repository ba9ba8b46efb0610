"""WebSocket relays through a real relayer to a real backend (spec/relayer.md §1.7)."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.frames import Opcode

from pocket_protocol import relay as relay_protocol
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest
from tests.integration.sender import Sender, address, changed, public_key
from tests.integration.socket_client import Refused, SocketClient
from tests.integration.socket_relays import (
    AWAY,
    CALL,
    GREET,
    OTHER,
    SERVICE,
    Books,
    checked,
    connect,
    relay,
    socket_stage,
)
from tests.integration.stage import Deployment, get_json, wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with socket_stage(tmp_path_factory.mktemp("websocket")) as running:
        yield running


@pytest.fixture(scope="module")
def sender(stage: Deployment) -> Sender:
    return Sender(stage.layout.ports.address("grpc"), [SERVICE, OTHER], 5)


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_relay_is_answered_in_the_frame_type_of_its_backend(
    stage: Deployment, sender: Sender, opcode: Opcode
) -> None:
    """Binary relays come in text frames (spec/gateway.md §2.5); what is in them is nobody's text."""
    books = Books(stage)
    payload = b"\xff\xfe raw \x00 bytes"
    request = relay(sender, payload, OTHER)
    with connect(stage, OTHER, **{"Sec-WebSocket-Extensions": "permessage-deflate"}) as client:
        for _ in range(3):
            client.send(request, opcode)
            frame = client.frame()
            assert frame.opcode is opcode
            response = checked(bytes(frame.data), request)
            assert response.payload == payload
    assert books.mined == 3
    entry = stage.entries(address("supplier1"))[-1]
    mined = Relay.FromString(entry.relay_bytes)
    assert relay_protocol.encode_request(mined.req) == request
    assert mined.res.meta == response.meta
    assert mined.res.payload_hash == response.payload_hash


def test_every_push_is_a_paid_and_mined_relay(stage: Deployment, sender: Sender) -> None:
    books = Books(stage)
    call = b'{"id":7,"method":"subscribe","params":[{"repeat_count":4,"delay_ms":5}]}'
    request = relay(sender, call)
    with connect(stage) as client:
        client.send(request)
        payloads = [json.loads(checked(client.message(), request).payload) for _ in range(4)]
    assert [payload["result"]["sequence"] for payload in payloads] == [1, 2, 3, 4]
    assert books.mined == 4
    one = Books(stage)
    with connect(stage) as client:
        client.send(relay(sender))
        client.message()
    assert books.charged == 5 * one.charged


def test_equal_answers_to_requests_in_flight_are_different_relays(stage: Deployment, sender: Sender) -> None:
    """Each answer is concluded with its own request, so that no paid relay is the leaf of another."""
    before = {entry.relay_hash for entry in stage.entries(address("supplier1"))}
    requests = [relay(sender, b"the same", OTHER) for _ in range(20)]
    with connect(stage, OTHER) as client:
        for request in requests:
            client.send(request)
        for request in requests:
            checked(client.message(), request)
    entries = [entry for entry in stage.entries(address("supplier1")) if entry.relay_hash not in before]
    assert len({entry.relay_hash for entry in entries}) == 20
    mined = [relay_protocol.encode_request(Relay.FromString(entry.relay_bytes).req) for entry in entries]
    assert mined == requests


def test_a_backend_that_speaks_first_is_signed_and_paid(stage: Deployment, sender: Sender) -> None:
    """What comes before the first relay waits for it: nothing unsigned ever reaches the client."""
    books = Books(stage)
    with connect(stage, GREET) as client:
        client.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.frame()
        # a relay for this service cannot be signed on this chain; its refusal is all that comes
        client.sock.settimeout(15)
        client.send(relay(sender, service=SERVICE))
        assert client.goodbye() == (4001, "relay validation failed")
    books.check_nothing()


def test_the_backend_is_told_who_asks(stage: Deployment, sender: Sender) -> None:
    with connect(
        stage, OTHER, **{"Pocket-Supplier-Address": address("supplier1"), "X-Secret": "s"}
    ) as client:
        client.send(relay(sender, b"x", OTHER))
        client.message()
    received = get_json(stage.layout.ports.url("backend") + "/test/received")
    heads = [dict(one["headers"]) for one in received if one["target"] == "/ws/echo"]
    assert heads[-1]["Pocket-Supplier"] == address("supplier1")
    assert heads[-1]["Pocket-Service"] == OTHER
    assert heads[-1]["X-Key"] == "k"
    assert {"X-Secret", "Sec-WebSocket-Extensions", "Target-Service-Id"}.isdisjoint(heads[-1])


@pytest.mark.parametrize("size", [MIB, 4 * MIB, 15 * MIB - 2000])
def test_large_messages_pass_whole_both_ways(stage: Deployment, sender: Sender, size: int) -> None:
    payload = os.urandom(1024) * (size // 1024)
    request = relay(sender, payload, OTHER)
    with connect(stage, OTHER) as client:
        client.send(request, Opcode.TEXT)
        assert checked(client.message(), request).payload == payload


def test_a_message_in_fragments_is_one_relay(stage: Deployment, sender: Sender) -> None:
    request = relay(sender, b"in parts", OTHER)
    with connect(stage, OTHER) as client:
        client.protocol.send_binary(request[:100], fin=False)
        client.protocol.send_ping(b"between")
        client.protocol.send_continuation(request[100:200], fin=False)
        client.protocol.send_continuation(request[200:], fin=True)
        client._flush()
        assert checked(client.message(), request).payload == b"in parts"


REFUSED = (4001, "relay validation failed")


def _forged(sender: Sender) -> bytes:
    request = sender.request(SERVICE, payload=CALL)

    def flip(signature: bytearray) -> None:
        signature[60] ^= 1

    return relay_protocol.encode_request(changed(request, flip))


def _without_header(sender: Sender) -> bytes:
    request = RelayRequest(payload=CALL)
    request.meta.supplier_operator_address = address("supplier1")
    request.meta.signature = b"x"
    return request.SerializeToString()


BAD = {
    "forged": _forged,
    "another payload": lambda sender: relay(sender).replace(b"eth_blockNumber", b"eth_blockNumbeR"),
    "another service": lambda sender: relay(sender, service=OTHER),
    "another session": lambda sender: relay(sender, header={"session_id": "0" * 64}),
    "another end": lambda sender: relay(sender, header={"session_end_block_height": 20}),
    "absurd heights": lambda sender: relay(
        sender, header={"session_start_block_height": 10**9, "session_end_block_height": 10**9 + 9}
    ),
    "a supplier of others": lambda sender: relay(sender, supplier="stranger"),
    "a supplier without its signature": lambda sender: relay(sender).replace(
        address("supplier1").encode(), address("supplier2").encode()
    ),
    "a stranger's ring": lambda sender: relay(
        sender, signer="stranger", ring=[public_key("app1"), public_key("stranger")]
    ),
    "no header": _without_header,
    "an empty payload": lambda sender: relay(sender, b""),
    "garbage": lambda sender: b"hello",
    "zeros": lambda sender: bytes(1000),
    "nothing": lambda sender: b"",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_what_is_no_good_relay_never_reaches_the_backend(
    stage: Deployment, sender: Sender, name: str, opcode: Opcode
) -> None:
    books = Books(stage)
    counters = stage.layout.ports.url("backend") + "/counters"
    before = [one for one in get_json(counters)["requests"] if one["protocol"] == "websocket"]
    with connect(stage) as client:
        client.send(BAD[name](sender), opcode)
        assert client.goodbye() == REFUSED
    books.check_nothing()
    assert [one for one in get_json(counters)["requests"] if one["protocol"] == "websocket"] == before


def test_a_bad_message_after_good_ones_ends_the_connection(stage: Deployment, sender: Sender) -> None:
    books = Books(stage)
    with connect(stage) as client:
        client.send(relay(sender))
        client.message()
        client.send(b"hello")
        assert client.goodbye() == REFUSED
    assert books.mined == 1


def test_a_frame_over_15_mib_is_refused_before_it_is_read(stage: Deployment) -> None:
    with connect(stage) as client:
        client.sock.sendall(b"\x82\xff" + (15 * MIB + 1).to_bytes(8, "big") + b"mask")
        assert client.goodbye()[0] == 1009


def test_many_fragments_are_one_message_to_the_limit(stage: Deployment) -> None:
    with connect(stage) as client, pytest.raises((AssertionError, OSError)) as seen:
        client.protocol.send_binary(bytes(8 * MIB), fin=False)
        client.protocol.send_continuation(bytes(8 * MIB), fin=True)
        client._flush()
        assert client.goodbye()[0] != 1009
    assert isinstance(seen.value, OSError) or "1009" in str(seen.value)


@pytest.mark.parametrize(
    ("headers", "path", "status", "body"),
    [
        ({}, "/", 400, {"error": "missing service ID"}),
        ({"Target-Service-Id": "nope"}, "/", 404, {"error": "unknown service"}),
        ({}, "/nope/x", 404, {"error": "unknown service"}),
        (
            {"Pocket-Service-Id": "plain"},
            "/",
            503,
            {"error": "service temporarily unavailable", "service": "plain"},
        ),
        ({"X-Forwarded-Host": AWAY}, "/", 502, {"error": "backend error"}),
    ],
)
def test_handshakes_that_are_refused(
    stage: Deployment, headers: dict[str, str], path: str, status: int, body: dict[str, str]
) -> None:
    """A backend is dialled before the client is told that all is well (T-WS-DIAL)."""
    with pytest.raises(Refused) as refused:
        SocketClient(stage.relayer_address, headers, path)
    assert refused.value.status == status
    assert refused.value.headers["content-type"] == "application/json"
    assert json.loads(refused.value.body) == body


def test_the_service_may_be_named_in_the_path(stage: Deployment, sender: Sender) -> None:
    with SocketClient(stage.relayer_address, path=f"/{SERVICE}") as client:
        client.send(relay(sender))
        client.message()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ],
)
def test_a_malformed_upgrade_is_a_bad_request(stage: Deployment, head: bytes) -> None:
    with socket.create_connection(stage.relayer_address, 10) as sock:
        sock.sendall(head + b"Target-Service-Id: " + SERVICE.encode() + b"\r\n\r\n")
        answer = b""
        while more := sock.recv(4096):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Sec-Websocket-Version: 13\r\n" in head
    assert body == b"Bad Request\n"


def test_a_backend_s_close_reaches_the_client_word_for_word(stage: Deployment, sender: Sender) -> None:
    call = b'{"id":1,"method":"m","params":[{"repeat_count":0,"close":4321,"reason":"bye"}]}'
    books = Books(stage)
    with connect(stage) as client:
        client.send(relay(sender, call))
        assert client.goodbye() == (4321, "bye")
    books.check_nothing()


def test_a_hundred_clients_that_leave_after_their_answer_are_all_mined(
    stage: Deployment, sender: Sender
) -> None:
    books = Books(stage)
    for _ in range(100):
        client = connect(stage)
        client.send(relay(sender))
        client.message()
        client.sock.close()
    assert books.mined == 100


def test_a_client_that_leaves_before_its_answer_is_not_charged(stage: Deployment, sender: Sender) -> None:
    books = Books(stage)
    call = b'{"id":1,"method":"m","params":[{"repeat_count":0}]}'
    client = connect(stage)
    client.send(relay(sender, call))
    wait_until(lambda: books.charged > 0, "the reservation")
    client.sock.close()
    books.check_nothing()


def test_an_exhausted_budget_ends_pushes_too(stage: Deployment, sender: Sender) -> None:
    """4002, and not one message more than was paid for."""
    before = stage.charges()
    with connect(stage) as client:
        client.send(relay(sender))
        client.message()
    [(key, cost)] = [
        (key, total - before.get(key, 0))
        for key, total in stage.charges().items()
        if total != before.get(key, 0)
    ]
    limit = find_limit(stage, sender, key, cost)
    stage.store.client.set(key, limit - 3 * cost, keepttl=True)
    books = Books(stage)
    call = b'{"id":7,"method":"subscribe","params":[{"repeat_count":10,"delay_ms":2}]}'
    with connect(stage) as client:
        client.send(relay(sender, call))
        got = [client.message() for _ in range(3)]
        assert client.goodbye() == (4002, "stake limit exceeded")
    assert (len(got), books.mined, books.charged) == (3, 3, 3 * cost)
    stage.store.client.set(key, 0, keepttl=True)


def find_limit(stage: Deployment, sender: Sender, key: bytes, cost: int) -> int:
    """The highest total at which one more relay is not served any more, by bisection."""
    low, high = 0, 10**15
    while high - low > 1:
        middle = (low + high) // 2
        stage.store.client.set(key, middle, keepttl=True)
        with connect(stage) as client:
            client.send(relay(sender))
            served = client.frame().opcode is not Opcode.CLOSE
        low, high = (middle, high) if served else (low, middle)
    return low + cost


def test_a_client_that_does_not_read_fills_no_memory(stage: Deployment, sender: Sender) -> None:
    [worker] = stage.front_end_workers()
    before = memory_kib(worker)
    payload = os.urandom(MIB)
    request = relay(sender, payload, OTHER)
    with connect(stage, OTHER) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.protocol.send_binary(request)
        frame = b"".join(client.protocol.data_to_send())
        client.sock.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            for _ in range(200):
                client.sock.sendall(frame)
                sent += 1
        assert sent < 60
        assert memory_kib(worker) - before < 150 * 1024


def memory_kib(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_the_connections_are_counted(stage: Deployment, sender: Sender) -> None:
    def value(name: str) -> float:
        url = stage.layout.ports.url("relayer-metrics") + "/metrics"
        lines = urllib.request.urlopen(url, timeout=10).read().decode().splitlines()
        found = [line for line in lines if line.startswith(f'ha_relayer_{name}{{service_id="{SERVICE}"')]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    wait_until(lambda: value("websocket_connections_active") == 0, "closed connections to be seen")
    total, emitted = value("websocket_connections_total"), value("websocket_relays_emitted_total")
    with connect(stage) as client:
        client.send(relay(sender))
        client.message()
        wait_until(lambda: value("websocket_connections_active") == 1, "the gauge")
        assert value("websocket_connections_total") == total + 1
        wait_until(lambda: value("websocket_relays_emitted_total") == emitted + 1, "the counter")
    wait_until(lambda: value("websocket_connections_active") == 0, "the gauge to fall")


class TestSessionEnd:
    """Heights move, so these come last: the session is 1..10, the grace period one block."""

    def test_bridges_end_with_their_own_session(self, stage: Deployment, sender: Sender) -> None:
        stage.step_to(9)
        old_request = relay(sender)
        with connect(stage) as old:
            old.send(old_request)
            old.message()
            stage.step_to(10)
            old.send(relay(sender))
            old.message()
            stage.step_to(11)
            with connect(stage) as new:
                request = relay(sender, height=11)
                new.send(request)
                checked(new.message(), request)
                frame = old.frame()
                assert frame.opcode is Opcode.BINARY
                advisory = checked(bytes(frame.data), old_request)
                assert (advisory.relay_miner_error.code, advisory.relay_miner_error.description) == (
                    410,
                    "session expired",
                )
                assert old.goodbye() == (4000, "session expired")
                new.send(relay(sender, height=11))
                new.message()

    def test_a_first_relay_in_the_grace_period_is_answered_then_the_bridge_ends(
        self, stage: Deployment, sender: Sender
    ) -> None:
        stage.step_to(11)
        books = Books(stage)
        with connect(stage) as client:
            request = relay(sender)
            client.send(request)
            checked(client.message(), request)
            checked(client.message(), request)
            assert client.goodbye() == (4000, "session expired")
        assert books.mined == 1

    def test_a_relay_after_the_grace_period_is_refused(self, stage: Deployment, sender: Sender) -> None:
        """Also when no other relay has told this process a height (T-WS-HEIGHT)."""
        stage.step_to(12)
        books = Books(stage)
        with connect(stage) as client:
            client.send(relay(sender))
            assert client.goodbye() == REFUSED
        books.check_nothing()
