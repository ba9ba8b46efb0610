"""Relays through the whole pipeline. The first byte says how the rest becomes one; soundly signed ones come far.

over HTTP, gRPC, gRPC-Web or gRPC-Web in base64 (two bits), and the rest is
the body · the payload of a sound relay · fields merged into a sound relay's header before it is signed ·
the signature of an otherwise sound relay · outer headers, a line each, of a sound relay
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError

from pocket_protocol import relay as relay_protocol
from pocket_protocol.envelope import HttpRequest, encode_http_request
from pocket_protocol.grpc_frames import TRAILERS, encode_frame, split_frames
from pocket_protocol.ring import verify_ring
from relayer_web.grpc_relay import SEND_RELAY, GrpcAnswer, serve_grpc_relay
from relayer_web.grpc_web import serve_grpc_web
from relayer_web.inbound import Answer, Inbound
from relayer_web.pipeline import serve_relay
from relayer_web.refusals import ROWS
from tests.fuzz.corpus import spread
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.messages import PROTOBUF_WORDS, envelope_seeds, relay_seeds
from tests.fuzz.targets.relay_stage import RelayStage, relay_stage
from tests.unit.relayer_web.relay_world import (
    JSON_BODY,
    address,
    checked_response,
    relay_request,
    sign_request,
    the_curve,
)

HTTP, GRPC, WEB, WEB_TEXT = range(4)
BODY, PAYLOAD, HEADER, SIGNATURE, OUTER = range(5)
STATUSES = {row.status for row in ROWS.values()} - {0}


@contextmanager
def opened() -> Iterator[Attempt]:
    with relay_stage() as stage:
        sound = relay_request()
        members = sound_members(stage)

        def attempt(data: bytes) -> bool:
            choice, rest = (data[0], data[1:]) if data else (0, b"")
            headers = {"rpc-type": "3"}
            body = rest
            kind = choice // 4 % 5
            if kind != BODY:
                request = type(sound)()
                request.CopyFrom(sound)
                if kind == PAYLOAD:
                    request.payload = rest
                elif kind == HEADER:
                    try:
                        request.meta.session_header.MergeFromString(rest)
                    except DecodeError:
                        return False
                elif kind == OUTER:
                    headers = outer_headers(rest)
                if kind == SIGNATURE:
                    request.meta.signature = rest
                else:
                    sign_request(request, "gateway", members)
                body = relay_protocol.encode_request(request)
            served = serve(stage, choice % 4, body, headers)
            if served:
                check_verified(body, members)
            stage.served += served
            stage.attempted()
            return served

        yield attempt


def check_verified(body: bytes, members: list[bytes]) -> None:
    """What was served must be addressed to us and signed by one of the application's ring."""
    request = relay_protocol.decode_request(body)
    assert request.meta.supplier_operator_address == address("supplier")
    message = relay_protocol.signable_request(request)
    verify_ring(the_curve(), message, request.meta.signature, frozenset(members))


def sound_members(stage: RelayStage) -> list[bytes]:
    accounts = stage.world.chain.accounts
    pairs = sorted((address(name), accounts[address(name)]) for name in ("app", "gateway"))
    return [bytes(key) for _, key in pairs]


def outer_headers(text: bytes) -> dict[str, str]:
    """The header lines of a request as the server hands them over: names in lower case, one line each."""
    lines = [line.partition(":") for line in text.decode("latin-1").splitlines()[:50]]
    return {name.strip().lower(): value.strip() for name, _, value in lines if name.strip()}


def serve(stage: RelayStage, transport: int, body: bytes, headers: dict[str, str]) -> bool:
    """Have it served; True when it was. What comes back must be well-formed."""
    runtime = stage.world.runtime
    peer = f"10.0.{stage.served % 256}.{len(body) % 256}"
    if transport == HTTP:
        return check_http(serve_relay(Inbound(body, headers, peer), runtime))
    if transport == GRPC:
        return check_grpc(serve_grpc_relay(Inbound(body, headers, peer, is_grpc=True), runtime))
    framed = encode_frame(body)
    text = transport == WEB_TEXT
    headers["content-type"] = "application/grpc-web-text" if text else "application/grpc-web+proto"
    inbound = Inbound(base64.b64encode(framed) if text else framed, headers, peer, path=SEND_RELAY)
    answers: list[GrpcAnswer] = []

    def call(inner: Inbound) -> GrpcAnswer:
        answers.append(serve_grpc_relay(inner, runtime))
        return answers[-1]

    answer = serve_grpc_web(inbound, call)
    frames = split_frames(base64.b64decode(answer.body) if text else answer.body, (0, TRAILERS))
    assert frames[-1].flag == TRAILERS
    return bool(answers) and check_grpc(answers[-1])


def check_http(answer: Answer) -> bool:
    for name, value in answer.headers:
        (name + value).encode("latin-1", "replace")
    if answer.status == 200:
        checked_response(answer)
        return True
    assert answer.status in STATUSES, answer.status
    document = json.loads(answer.body)
    assert set(document) <= {"error", "service"} and document["error"]
    return False


def check_grpc(answer: GrpcAnswer) -> bool:
    if answer.code:
        assert 0 < answer.code <= 16 and answer.text and not answer.message
        return False
    checked_response(Answer(200, (), answer.message))
    return True


def seeds() -> list[bytes]:
    sound = relay_request()
    inner = encode_http_request(HttpRequest("GET", "/a?b=c", (("X-A", ("b", "c")),), JSON_BODY))
    made = {
        BODY: [relay_protocol.encode_request(sound), *spread(relay_seeds(), 40)],
        PAYLOAD: [inner, *spread(envelope_seeds(), 40)],
        HEADER: [b"", sound.meta.session_header.SerializeToString(), b"\x12\x03svc"],
        SIGNATURE: [sound.meta.signature],
        OUTER: [b"rpc-type: 4\naccept: */*", b"pocket-a: b\ncontent-type: x\naccept-encoding: gzip"],
    }
    return [
        bytes((4 * kind + transport,)) + seed
        for kind, ones in made.items()
        for seed in ones
        for transport in range(4)
    ]


RELAY = Target(seeds, opened, (*PROTOBUF_WORDS, b"svc", b"other", b"rpc-type: ", b"\r\n", b"..%2f"))
