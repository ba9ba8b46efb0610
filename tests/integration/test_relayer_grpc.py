"""gRPC relays through the relay port: real front end, real gRPC process, real backend, HTTP/1.1 on the same port."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from localnet.backend.behaviour import Counters
from localnet.backend.demo_service import DemoServer
from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest
from pocket_protocol.grpc_frames import encode_frame, split_frames
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest
from relayer_web.grpc_relay import SEND_RELAY
from relayer_web.handover import HTTP2_PREFACE
from tests.integration import raw_http2
from tests.integration.grpc_relays import (
    CALL,
    HEIGHT,
    OTHER,
    SERVICE,
    books,
    grpc_processes,
    inner,
    is_under_way,
    send,
    slow_call,
    with_grpc,
)
from tests.integration.grpc_web import web, web_answer
from tests.integration.raw_http import open_connection, read_answer
from tests.integration.sender import Sender, address, changed, check_good, json_call
from tests.integration.stage import RELAYER, STILL_S, Deployment, command_line, deployment, wait_until

LIMIT = 10_485_760


@pytest.fixture(scope="module")
def counters() -> Counters:
    return Counters()


@pytest.fixture(scope="module")
def demo(counters: Counters) -> Iterator[DemoServer]:
    server = DemoServer("127.0.0.1:0", counters)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, demo: DemoServer) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("grpc")
    with deployment(
        directory, RELAYER, relayer=with_grpc(demo), block_time_s=STILL_S, front_end_workers=1
    ) as running:
        running.step_to(HEIGHT)
        yield running


@pytest.fixture(scope="module")
def sender(network: Deployment) -> Sender:
    return Sender(network.layout.ports.address("grpc"), [SERVICE, OTHER], HEIGHT)


@pytest.fixture(scope="module")
def channel(network: Deployment) -> Iterator[grpc.Channel]:
    host, port = network.relayer_address
    with grpc.insecure_channel(f"{host}:{port}", [("grpc.max_receive_message_length", -1)]) as made:
        yield made


def test_both_protocols_on_one_port(network: Deployment, sender: Sender, channel: grpc.Channel) -> None:
    mined, charged = books(network)
    response = inner(send(channel, sender.request(SERVICE, inner=CALL)))
    assert response.body == bytes.fromhex("00000000020801")
    assert ("Grpc-Status", ("0",)) in response.headers
    json_body = inner(send(channel, sender.request(SERVICE, inner=json_call()), "3")).body
    with open_connection(network.relayer_address) as connection:
        connection.sendall(sender.post(SERVICE))
        assert check_good(read_answer(connection)) == json_body
    cost = (books(network)[1] - charged) // 3
    assert books(network) == (mined + 3, charged + 3 * cost) and cost > 0


def test_a_streaming_call_needs_no_half_close(sender: Sender, channel: grpc.Channel) -> None:
    open_end = threading.Event()

    def requests() -> Iterator[bytes]:
        yield relay_protocol.encode_request(sender.request(SERVICE, inner=CALL))
        open_end.wait(10)

    call = channel.stream_stream(SEND_RELAY)(requests(), metadata=[("rpc-type", "1")], timeout=10)
    assert [inner(answer).status_code for answer in call] == [200]
    assert call.code() is grpc.StatusCode.OK
    open_end.set()


def test_a_stream_of_the_service_comes_whole(sender: Sender, channel: grpc.Channel) -> None:
    headers = (*CALL.headers, ("X-Demo-Blocks", ("3",)))
    blocks = HttpRequest("POST", "/demo.DemoService/StreamBlocks", headers, encode_frame(b"\x08\x07"))
    response = inner(send(channel, sender.request(SERVICE, inner=blocks)))
    assert [frame.message[:2] for frame in split_frames(response.body)] == [
        b"\x08\x07",
        b"\x08\x08",
        b"\x08\x09",
    ]


def test_http_relays_reach_grpc_services_too(network: Deployment, sender: Sender) -> None:
    """Rpc-Type 1 over HTTP: the channel lives in the gevent worker."""
    raw = sender.post(SERVICE, inner=CALL).replace(b"Rpc-Type: 3", b"Rpc-Type: 1")
    with open_connection(network.relayer_address) as connection:
        for _ in range(3):
            connection.sendall(raw)
            assert check_good(read_answer(connection)) == bytes.fromhex("00000000020801")


def expired(sender: Sender) -> RelayRequest:
    return sender.request(SERVICE, inner=CALL, height=5)


def readdressed(sender: Sender, **fields: str) -> RelayRequest:
    request = sender.request(SERVICE, inner=CALL)
    for name, value in fields.items():
        target = request.meta if name == "supplier_operator_address" else request.meta.session_header
        setattr(target, name, value)
    return request


def headless(sender: Sender) -> RelayRequest:
    request = sender.request(SERVICE, inner=CALL)
    request.meta.ClearField("session_header")
    return request


REFUSED: dict[str, tuple[Callable[[Sender], RelayRequest | bytes], grpc.StatusCode]] = {
    "forged": (
        lambda sender: changed(
            sender.request(SERVICE, inner=CALL), lambda bits: bits.__setitem__(60, bits[60] ^ 1)
        ),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "cross service": (
        lambda sender: readdressed(sender, service_id=OTHER),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "cross supplier": (
        lambda sender: readdressed(sender, supplier_operator_address=address("supplier2")),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "foreign supplier": (
        lambda sender: readdressed(sender, supplier_operator_address=address("stranger")),
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
    "expired": (expired, grpc.StatusCode.PERMISSION_DENIED),
    "no header": (headless, grpc.StatusCode.INVALID_ARGUMENT),
    "empty": (lambda sender: b"", grpc.StatusCode.INVALID_ARGUMENT),
    "garbage": (lambda sender: b"hello", grpc.StatusCode.INTERNAL),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsound_relays_are_refused_and_cost_nothing(
    network: Deployment, sender: Sender, channel: grpc.Channel, name: str
) -> None:
    """T-GRPC-AUTH: the reference served, signed and mined them."""
    build, code = REFUSED[name]
    before = network.streams(), network.charges()
    with pytest.raises(grpc.RpcError) as refused:
        send(channel, build(sender))
    assert refused.value.code() is code, refused.value.details()
    assert (network.streams(), network.charges()) == before


def test_other_methods_are_unknown(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/foo.Bar/Baz")(b"", timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "unknown method: /foo.Bar/Baz"


def test_a_call_without_a_message_is_ended(channel: grpc.Channel) -> None:
    """Without one it would hold a thread; an end without one is no request."""
    silent = threading.Event()

    def nothing() -> Iterator[bytes]:
        silent.wait(20)
        yield from ()

    call = channel.stream_stream(SEND_RELAY)(nothing(), timeout=15)
    with pytest.raises(grpc.RpcError):
        next(call)
    assert call.code() is grpc.StatusCode.CANCELLED
    silent.set()
    call = channel.stream_stream(SEND_RELAY)(iter(()), timeout=5)
    with pytest.raises(grpc.RpcError):
        next(call)
    assert (call.code(), call.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "failed to receive request: EOF",
    )


def test_a_service_that_is_not_there_is_told_in_a_signed_error(
    network: Deployment, sender: Sender, channel: grpc.Channel
) -> None:
    before = network.streams(), network.charges()
    answer = send(channel, sender.request(OTHER, inner=CALL))
    error = relay_protocol.decode_response(answer).relay_miner_error
    assert error.code == 500 and error.description.startswith("backend error: ")
    assert inner(answer).status_code == 500
    assert network.streams() == before[0]
    assert sum(network.charges().values()) == sum(before[1].values())


def test_what_is_no_call_is_refused(network: Deployment, sender: Sender, channel: grpc.Channel) -> None:
    before = books(network)
    with pytest.raises(grpc.RpcError) as refused:
        send(channel, sender.request(SERVICE, inner=json_call()))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert books(network) == before


def test_large_messages(network: Deployment, sender: Sender, channel: grpc.Channel) -> None:
    """As large as over HTTP, both ways; beyond that it is refused unread."""
    call = HttpRequest("POST", "/test.TestService/Echo", CALL.headers, encode_frame(bytes(9_000_000)))
    response = inner(send(channel, sender.request(SERVICE, inner=call)))
    assert response.body == call.body
    with pytest.raises(grpc.RpcError) as refused:
        send(channel, bytes(LIMIT + 1))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


SETTINGS = bytes.fromhex("000000040000000000")


@pytest.mark.parametrize("pieces", [1, 5, 23, 24, 40])
def test_the_preface_may_come_in_pieces(network: Deployment, pieces: int) -> None:
    sent = HTTP2_PREFACE + SETTINGS
    with open_connection(network.relayer_address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), pieces):
            connection.sendall(sent[start : start + pieces])
            time.sleep(0.005)  # so that they do not arrive as one
        assert connection.recv(9)[3] == 4, "a SETTINGS frame"


def test_a_preface_that_is_none_is_a_bad_request(network: Deployment) -> None:
    with open_connection(network.relayer_address) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        answer = read_answer(connection)
    assert answer is not None and answer.status == 505


@pytest.mark.parametrize(
    "more",
    [
        {"x-\udcd0".encode("utf-8", "surrogateescape"): b"kept-secret"},
        {"x-a": b"\xd0kept-secret"},
        {":status": "kept-secret"},
    ],
)
def test_header_fields_of_strangers_are_not_logged(
    network: Deployment, channel: grpc.Channel, sender: Sender, more: dict[str | bytes, str | bytes]
) -> None:
    """The library would write them down, with a traceback for those that are no text."""
    log = network.supervisor.child("relayer").log_path
    size = log.stat().st_size
    with open_connection(network.relayer_address) as connection:
        connection.sendall(HTTP2_PREFACE + SETTINGS + raw_http2.call(1, b"", more=more))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    send(channel, sender.request(SERVICE, inner=CALL))
    written = log.read_bytes()[size:]
    assert b"kept-secret" not in written and b"Traceback" not in written and b"metadata" not in written, (
        written
    )


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_grpc_web(network: Deployment, sender: Sender, text: bool) -> None:
    mined, _ = books(network)
    request = relay_protocol.encode_request(sender.request(SERVICE, inner=CALL))
    raw = web(encode_frame(request), "rpc-type: 1", "Origin: http://a.test", text=text)
    answer, messages, trailers = web_answer(network, raw, text)
    assert trailers == {"grpc-status": "0", "grpc-message": ""}
    assert [inner(message).body for message in messages] == [bytes.fromhex("00000000020801")]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Grpc-Status" in answer.headers["access-control-expose-headers"]
    assert books(network)[0] == mined + 1


def test_grpc_web_refusals(network: Deployment, sender: Sender) -> None:
    forged = changed(sender.request(SERVICE, inner=CALL), lambda bits: bits.__setitem__(60, bits[60] ^ 1))
    cases = {
        "7": web(encode_frame(relay_protocol.encode_request(forged)), "rpc-type: 1"),
        "3": web(b"\0\0\0"),
        "12": web(encode_frame(b""), path="/foo.Bar/Baz"),
        "13": web(encode_frame(b"hello")),
    }
    before = books(network)
    for code, raw in cases.items():
        answer, messages, trailers = web_answer(network, raw)
        assert (trailers["grpc-status"], answer.headers["grpc-status"], messages) == (code, code, [])
    assert books(network) == before


def test_a_browser_may_ask(network: Deployment) -> None:
    with open_connection(network.relayer_address) as connection:
        connection.sendall(
            f"OPTIONS {SEND_RELAY} HTTP/1.1\r\nHost: x\r\nOrigin: http://a.test\r\n"
            "Access-Control-Request-Method: POST\r\n"
            "Access-Control-Request-Headers: content-type,x-grpc-web\r\n\r\n".encode()
        )
        answer = read_answer(connection)
    assert answer is not None and answer.status == 204
    assert answer.headers["access-control-allow-headers"] == "content-type,x-grpc-web"


def test_grpc_over_http_1_is_told_what_it_needs(network: Deployment) -> None:
    with open_connection(network.relayer_address) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n"
        )
        answer = read_answer(connection)
    assert answer is not None and (answer.status, answer.body) == (505, b"gRPC requires HTTP/2\n")


def test_killed_grpc_processes_come_back_and_no_answered_relay_is_lost(
    network: Deployment, sender: Sender, channel: grpc.Channel
) -> None:
    requests = [sender.request(SERVICE, inner=CALL) for _ in range(200)]
    mined, _ = books(network)

    def answered(request: RelayRequest) -> bytes | None:
        try:
            return send(channel, request)
        except grpc.RpcError:
            return None

    first = grpc_processes(network)
    with ThreadPoolExecutor(8) as threads:
        outcomes = [threads.submit(answered, request) for request in requests]
        wait_until(lambda: sum(outcome.done() for outcome in outcomes) > 50, "some answers")
        os.kill(first[0], signal.SIGKILL)
        answers = [outcome.result() for outcome in outcomes]
    hashes = {
        relay_protocol.decode_response(answer).payload_hash + request.meta.signature
        for request, answer in zip(requests, answers, strict=True)
        if answer is not None
    }
    assert len(hashes) > 50
    in_stream = {
        entry_relay.res.payload_hash + entry_relay.req.meta.signature
        for entry_relay in (
            Relay.FromString(entry.relay_bytes) for entry in network.entries(address("supplier1"))
        )
    }
    assert hashes <= in_stream
    assert books(network)[0] >= mined + len(hashes)
    assert grpc_processes(network) != first
    assert inner(send(channel, sender.request(SERVICE, inner=CALL))).status_code == 200


def test_a_reload_replaces_the_process_and_finishes_its_calls(
    network: Deployment, sender: Sender, channel: grpc.Channel, counters: Counters
) -> None:
    old = grpc_processes(network)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(send, channel, sender.request(SERVICE, inner=slow_call(2500)))
        wait_until(lambda: is_under_way(counters), "the call to reach the service")
        os.kill(network.process_id("relayer"), signal.SIGHUP)
        wait_until(lambda: not any(command_line(str(pid)) for pid in old), "the old process to end")
        assert inner(late.result()).body == encode_frame(b"late")
    assert grpc_processes(network) != old
    assert inner(send(channel, sender.request(SERVICE, inner=CALL))).status_code == 200


def test_an_ending_relayer_finishes_its_calls(tmp_path: Path, demo: DemoServer, counters: Counters) -> None:
    with deployment(
        tmp_path, RELAYER, relayer=with_grpc(demo), block_time_s=STILL_S, front_end_workers=1
    ) as running:
        running.step_to(HEIGHT)
        sender = Sender(running.layout.ports.address("grpc"), [SERVICE], HEIGHT)
        host, port = running.relayer_address
        with grpc.insecure_channel(f"{host}:{port}") as channel, ThreadPoolExecutor(1) as threads:
            inner(send(channel, sender.request(SERVICE, inner=CALL)))
            children = grpc_processes(running)
            late = threads.submit(send, channel, sender.request(SERVICE, inner=slow_call(1500)))
            wait_until(lambda: is_under_way(counters), "the call to reach the service")
            master = running.process_id("relayer")
            started = time.monotonic()
            os.kill(master, signal.SIGTERM)
            assert inner(late.result()).body == encode_frame(b"late")
            wait_until(lambda: not command_line(str(master)), "the relayer to end")
            assert time.monotonic() - started < 25, "not cut off by the graceful time-out"
            assert not any(command_line(str(pid)) for pid in children)
