"""gRPC-Web bodies: any bytes are one call or a refusal, never more (spec/relayer.md §1.8)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.grpc_frames import PLAIN, TRAILERS, encode_frame, split_frames
from relayer_web.grpc_relay import SEND_RELAY, GrpcAnswer
from relayer_web.grpc_web import is_grpc_web, is_preflight, preflight_answer, serve_grpc_web
from relayer_web.inbound import Answer, Inbound

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"


def inbound(body: bytes, content_type: str = BINARY, **fields: object) -> Inbound:
    headers = {"content-type": content_type, "rpc-type": "1", "user-agent": "a browser"}
    return Inbound(body, headers, "192.0.2.1", path=str(fields.pop("path", SEND_RELAY)), **fields)  # type: ignore[arg-type]


def served(
    request: Inbound, reply: GrpcAnswer = GrpcAnswer(0, message=b"yes")
) -> tuple[Answer, list[Inbound]]:
    calls: list[Inbound] = []

    def serve(call: Inbound) -> GrpcAnswer:
        calls.append(call)
        return reply

    return serve_grpc_web(request, serve), calls


def status_of(answer: Answer) -> str:
    return dict(answer.headers)["Grpc-Status"]


@pytest.mark.parametrize("content_type", [BINARY, TEXT, "Application/GRPC-Web"])
def test_one_message_is_one_call(content_type: str) -> None:
    is_text = content_type == TEXT
    body = encode_frame(b"relay") + encode_frame(b"x: y\r\n", TRAILERS)
    request = inbound(base64.b64encode(body) if is_text else body, content_type)
    assert is_grpc_web(request)
    answer, [call] = served(request)
    assert (call.body, call.headers, call.peer, call.is_grpc) == (
        b"relay",
        {"rpc-type": "1"},
        "192.0.2.1",
        True,
    )
    plain = base64.b64decode(answer.body) if is_text else answer.body
    assert split_frames(plain, (PLAIN, TRAILERS)) == [
        (PLAIN, b"yes"),
        (TRAILERS, b"grpc-status: 0\r\ngrpc-message: \r\n"),
    ]
    assert dict(answer.headers)["Content-Type"] == (TEXT if is_text else BINARY)


def test_a_bad_end_is_in_headers_and_trailers() -> None:
    answer, _ = served(inbound(encode_frame(b"relay")), GrpcAnswer(7, "no\r\nway"))
    assert status_of(answer) == "7" and dict(answer.headers)["Grpc-Message"] == "no%0D%0Away"
    [frame] = split_frames(answer.body, (TRAILERS,))
    assert frame.message == b"grpc-status: 7\r\ngrpc-message: no%0D%0Away\r\n"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (inbound(b""), "3"),
        (inbound(encode_frame(b"a") * 2), "3"),
        (inbound(encode_frame(b"a", 1)), "3"),
        (inbound(encode_frame(b"a") + encode_frame(b"", 0x80) * 1000), "3"),
        (inbound(encode_frame(b"a")[:-1] + b""), "3"),
        (inbound(b"!", TEXT), "3"),
        (inbound(encode_frame(b"a"), path="/other/Method"), "12"),
        (inbound(b"", oversize=True), "8"),
    ],
)
def test_what_is_not_one_call_is_none(request_: Inbound, code: str) -> None:
    answer, calls = served(request_)
    assert (answer.status, status_of(answer), calls) == (200, code, [])


@settings(max_examples=80)
@given(st.binary(max_size=30), st.sampled_from([BINARY, TEXT]))
def test_any_body_is_answered(body: bytes, content_type: str) -> None:
    answer, calls = served(inbound(body, content_type))
    assert status_of(answer) == ("0" if calls else "3")


def test_preflights() -> None:
    asking = {"access-control-request-headers": "Content-Type, X-Grpc-Web"}
    request = Inbound(b"", asking, method="OPTIONS")
    assert is_preflight(request)
    answer = preflight_answer(request)
    assert (answer.status, answer.body) == (204, b"")
    assert dict(answer.headers)["Access-Control-Allow-Origin"] == "*"
    assert not is_preflight(Inbound(b"", asking, method="POST"))
    assert not is_preflight(Inbound(b"", {}, method="OPTIONS"))
