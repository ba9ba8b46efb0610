"""A backend over HTTP, on a real connection. The first byte: these bytes are its answer, or the request it gets.

An answer is read, wrapped as a relay's payload and read again. A request is a relay's payload; what reaches the
backend must be one HTTP request with exactly that body, whatever stood in the payload.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pocket_protocol.envelope import decode_http_request, decode_http_response
from pocket_protocol.errors import Malformed, PocketError
from pocket_protocol.stream_frame import FrameDecoder
from relayer_web.backends.configured import ConfiguredBackends
from relayer_web.backends.contract import (
    BackendFailed,
    BackendRequest,
    BackendResponse,
    BackendTimeout,
    ForbiddenRequest,
)
from relayer_web.backends.endpoint import Endpoint
from relayer_web.backends.http_client import OutgoingRequest
from relayer_web.config import ServiceConfig
from relayer_web.config_backends import BackendConfig
from relayer_web.responses import http_payload
from relayer_web.streaming import RelayStream
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.messages import PROTOBUF_WORDS, envelope_seeds
from tests.fuzz.targets.raw_server import DEADLINE_S, RawServer
from tests.unit.relayer_web.relay_world import SERVICE, config_for

MAX_ANSWER = 5000
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
FRAMING = {b"transfer-encoding", b"upgrade", b"connection", b"te", b"trailer"}
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
IDENTITY = {"Pocket-Supplier": "pokt1x", "Pocket-Service": "svc", "Pocket-Application": "pokt1y"}


@contextmanager
def opened() -> Iterator[Attempt]:
    server = RawServer()
    url = f"http://127.0.0.1:{server.port}/base?key=1"
    config = config_for(
        "redis://127.0.0.1:1", services={SERVICE: ServiceConfig(backends={"rest": BackendConfig(url=url)})}
    )
    backends = ConfiguredBackends(config)
    endpoint = backends.select(SERVICE, "rest")

    def attempt(data: bytes) -> bool:
        choice, rest = (data[0], data[1:]) if data else (0, b"")
        if choice & 1:
            server.answer(PLAIN_ANSWER)
            return sent_on(endpoint, server, rest)
        server.answer(rest)
        return answered(endpoint, may_stream=bool(choice & 2), head=bool(choice & 4))

    yield attempt
    server.stop()
    backends.stop()


def answered(endpoint: Endpoint, *, may_stream: bool, head: bool) -> bool:
    """Read an answer; one that streams is read to its end."""
    request = OutgoingRequest("HEAD" if head else "GET", "/", [], b"", False, may_stream)
    try:
        response = endpoint.send(request, time.monotonic() + DEADLINE_S)
        if response.stream is not None:
            return streamed(response)
    except (BackendFailed, BackendTimeout):
        return False
    wrapped = decode_http_response(http_payload(response, MAX_ANSWER))
    assert wrapped.status_code == response.status
    assert 200 <= response.status <= 999
    return True


def streamed(response: BackendResponse) -> bool:
    """Read a stream as it is handed on; it ends once, well or not."""
    assert response.stream is not None
    ends: list[Exception | None] = []
    stream = RelayStream(
        response.stream,
        response.status,
        sign=lambda payload: payload,
        settle=lambda payload_hash: None,
        on_end=lambda error, batches, size: ends.append(error),
        on_left=lambda: None,
        held=ExitStack(),
    )
    try:
        for piece in stream:
            for payload in FrameDecoder().feed(piece):
                decode_http_response(payload)
    except OSError:
        pass
    finally:
        stream.close()
    assert len(ends) == 1 and (ends[0] is None or isinstance(ends[0], PocketError)), ends
    return ends[0] is None


def sent_on(endpoint: Endpoint, server: RawServer, payload: bytes) -> bool:
    """Send a payload's request on; True when it may be."""
    try:
        inner = decode_http_request(payload)
        headers = [(name, value) for name, values in inner.headers for value in values]
        outgoing = endpoint.prepare(
            BackendRequest(inner.method, inner.url, headers, inner.body, identity=IDENTITY)
        )
    except (Malformed, ForbiddenRequest):
        return False
    try:
        response = endpoint.send(outgoing, time.monotonic() + DEADLINE_S)
    except BackendFailed as failure:  # a connection kept from before, which the server has just ended
        assert str(failure.values["what"]).startswith("connection"), failure
        return False
    assert (response.status, response.body) == (200, b"" if outgoing.method == "HEAD" else b"{}")
    check_request(server.received(), outgoing.method.encode(), inner.body)
    return True


def check_request(received: bytes, method: bytes, body: bytes) -> None:
    """One request whose length nobody can see differently; below the base path, with our identity."""
    head, _, rest = received.partition(b"\r\n\r\n")
    assert rest == body, "what follows the head is not the body"
    first, *lines = head.split(b"\r\n")
    assert first.startswith(method + b" /base") and first.endswith(b" HTTP/1.1") and first.count(b" ") == 2
    assert not {b"\r", b"\n", b"\0"} & {head_byte.to_bytes() for head_byte in b"".join(lines)}
    fields = [line.partition(b": ") for line in lines]
    names = [name.lower() for name, _, _ in fields]
    assert all(TOKEN.fullmatch(name) for name in names), names
    lengths = [int(value) for name, _, value in fields if name.lower() == b"content-length"]
    assert lengths == ([len(body)] if body or lengths else [])
    assert names.count(b"host") == names.count(b"pocket-supplier") == 1
    assert not FRAMING & set(names)


def seeds() -> list[bytes]:
    gzipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00"
    answers = [
        PLAIN_ANSWER,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{}\n{}\n",
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzipped) + gzipped,
        b"HTTP/1.0 503 No\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nsorry",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    ]
    return [bytes((mode,)) + one for one in answers for mode in (0, 2, 4)] + [
        b"\1" + one for one in envelope_seeds()[:120]
    ]


WORDS = (
    *PROTOBUF_WORDS, b"\r\n", b"\n", b"\0", b"Content-Length: 3\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"../..", b"%2e%2e/", b"%2f", b"\\..\\", b"http://x/",
    b"//x", b"?", b"#", b";", b"POST", b"HEAD", b"Host", b"Transfer-Encoding", b"Connection", b"upgrade", b"GET / HTTP/1.1\r\n\r\n", b"\xe2\x80\xa8",
    b"x" * 6000,
)  # fmt: skip
BACKEND = Target(seeds, opened, WORDS)
