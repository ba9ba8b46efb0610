"""Ten megabytes of the cheapest parts there are: refused, or taken, within two seconds of CPU, before anything is known of the sender."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest

from pocket_protocol import grpc_frames
from pocket_protocol.canonical import varint
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from relayer_web.admission import NotARelay, parse
from relayer_web.grpc_relay import SEND_RELAY, GrpcAnswer
from relayer_web.grpc_web import serve_grpc_web
from relayer_web.inbound import Inbound

BYTES = 10_000_000
LIMIT_S = 2.0  # a busy machine counts more

pytestmark = pytest.mark.stress


def field(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value


def relay(payload: bytes) -> bytes:
    request = RelayRequest(payload=payload)
    request.meta.session_header.service_id = "svc"
    return request.SerializeToString()


def header_names() -> bytes:
    names = itertools.islice(itertools.product(range(1, 127), repeat=3), BYTES // 9)
    return b"".join(field(b"\x12", field(b"\x0a", bytes(name)) + b"\x12\x00") for name in names)


BODIES: dict[str, Callable[[], bytes]] = {  # made when they are needed: they take time and memory
    "header names": lambda: relay(header_names()),
    "the same header": lambda: relay(field(b"\x12", b"\x0a\x01a\x12\x00") * (BYTES // 7)),
    "header values": lambda: relay(
        field(b"\x12", field(b"\x0a", b"a") + field(b"\x12", b"\x12\x00" * (BYTES // 2)))
    ),
    "unknown fields": lambda: relay(b"\x0a\x01G") + b"\x18\x01" * (BYTES // 2),
    "unknown fields of the payload": lambda: relay(b"\x0a\x01G" + b"\x28\x01" * (BYTES // 2)),
    "headers of the session": lambda: field(b"\x0a", b"\x0a\x00" * (BYTES // 2)) + relay(b"\x0a\x01G"),
    "signatures": lambda: field(b"\x0a", b"\x1a\x00" * (BYTES // 2)) + relay(b"\x0a\x01G"),
    "groups": lambda: relay(b"\x0a\x01G") + (b"\x7b" * 90 + b"\x7c" * 90) * (BYTES // 180),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_many_parts_costs_little(name: str) -> None:
    inbound = Inbound(BODIES[name](), {})
    started = time.process_time()
    try:
        parse(inbound)
    except NotARelay:
        pass
    assert time.process_time() - started < LIMIT_S


@pytest.mark.parametrize("flag", [grpc_frames.PLAIN, grpc_frames.TRAILERS])
def test_a_call_of_many_frames_costs_little(flag: int) -> None:
    body = grpc_frames.encode_frame(b"", flag) * (BYTES // 5)
    inbound = Inbound(body, {"content-type": "application/grpc-web"}, method="POST", path=SEND_RELAY)
    started = time.process_time()
    answer = serve_grpc_web(inbound, lambda call: GrpcAnswer(0, message=b"x"))
    assert b"grpc-status: 3" in answer.body
    assert time.process_time() - started < LIMIT_S
