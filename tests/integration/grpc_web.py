"""Calls as browsers send them, gRPC-Web over HTTP/1.1."""

from __future__ import annotations

import base64
from typing import Any

from pocket_protocol.grpc_frames import PLAIN, TRAILERS, split_frames
from relayer_web.grpc_relay import SEND_RELAY
from tests.integration.raw_http import open_connection, read_answer
from tests.integration.stage import Deployment


def web(body: bytes, *headers: str, path: str = SEND_RELAY, text: bool = False) -> bytes:
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    body = base64.b64encode(body) if text else body
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def web_answer(
    network: Deployment, raw: bytes, text: bool = False
) -> tuple[Any, list[bytes], dict[str, str]]:
    with open_connection(network.relayer_address) as connection:
        connection.sendall(raw)
        answer = read_answer(connection)
    assert answer is not None and answer.status == 200
    body = base64.b64decode(answer.body) if text else answer.body
    frames = split_frames(body, (PLAIN, TRAILERS))
    assert frames[-1].flag == TRAILERS
    lines = frames[-1].message.decode().split("\r\n")
    trailers = dict(line.split(": ", 1) for line in lines if line)
    return answer, [frame.message for frame in frames[:-1]], trailers
