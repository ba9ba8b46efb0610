"""The backend client against real sockets: which bytes are an answer, and which are none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer_web.backends.contract import BackendFailed, BackendTimeout
from relayer_web.backends.http_response import ResponseReader
from tests.raw_backend import ok, raw_backend
from tests.unit.relayer_web.backend_calls import MAX_BODY, Connections, ask, client_of


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (ok(b"abc"), 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 100 Continue\r\nX: 0\r\n\r\nHTTP/1.1 103 Hints\r\nX: 0\r\n\r\n" + ok(), 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (ok(b"\x1f\x8bgz", b"Content-Encoding: gzip\r\n"), 200, b"\x1f\x8bgz"),
    ],
)  # fmt: skip
def test_answers_are_framed_right_and_the_connection_is_kept(answer: bytes, status: int, body: bytes) -> None:
    observer = Connections()
    with raw_backend(answer) as backend:
        client = client_of(backend, observer)
        for _ in range(3):
            response = ask(client)
            assert (response.status, response.body) == (status, body)
            assert ("X", "0") not in response.headers
    assert observer.reused == [False, True, True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ],
)
def test_an_answer_without_a_length_ends_with_its_connection(answer: bytes) -> None:
    with raw_backend(answer, close_after=True) as backend:
        client = client_of(backend)
        assert [ask(client).body for _ in range(2)] == [b"until the end"] * 2
    assert backend.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ok(headers=b"Connection: close\r\n"),
        ok() + b"more than was announced",
        ok() + ok(b"an answer nobody asked for"),
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    observer = Connections()
    with raw_backend(answer) as backend:
        client = client_of(backend, observer)
        assert [ask(client).body for _ in range(2)] == [b"ok"] * 2
    assert observer.reused == [False, False]


def test_head_has_no_body_whatever_its_length_says() -> None:
    with raw_backend(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n") as backend:
        client = client_of(backend)
        for _ in range(2):
            response = ask(client, "HEAD", b"")
            assert (response.status, response.body) == (200, b"")
    assert backend.connections == 1


def test_headers_keep_order_case_and_every_value() -> None:
    raw = b"Set-Cookie: a\r\nx-Y: \xc3\xa9\r\nSet-Cookie: b\r\nX-Raw: \xff\r\nX-Empty:\r\n"
    with raw_backend(ok(b"", raw)) as backend:
        assert ask(client_of(backend)).headers == [
            ("Set-Cookie", "a"),
            ("x-Y", "é"),
            ("Set-Cookie", "b"),
            ("X-Raw", "ÿ"),
            ("X-Empty", ""),
            ("Content-Length", "0"),
        ]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc",
        b"HTTP/1.1 020 OK\r\n\r\nabc",
        b"HTTP/1.1 099 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 000 OK\r\n\r\n" + ok(),
        ok(b"a" * MAX_BODY),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (2 << 20),
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_broken_and_oversize_answers_are_failures(answer: bytes) -> None:
    with raw_backend(answer, close_after=True) as backend:
        with pytest.raises(BackendFailed) as failure:
            ask(client_of(backend))
        assert failure.value.values.get("sent", True) and not isinstance(failure.value, BackendTimeout)
    assert len(backend.requests) == 1


def test_an_answer_just_under_the_limit_is_one() -> None:
    with raw_backend(ok(b"a" * (MAX_BODY - 1))) as backend:
        assert len(ask(client_of(backend)).body) == MAX_BODY - 1


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40), st.booleans())
def test_an_answer_is_the_same_however_it_is_cut(body: bytes, size: int, is_chunked: bool) -> None:
    raw = ok(body, b"X-A: 1\r\nX-B: 22\r\n")
    if is_chunked:
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        raw = (
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 22\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunk
            + b"0\r\n\r\n"
        )
    reader = ResponseReader(False, MAX_BODY)
    for start in range(0, len(raw), size):
        assert not reader.complete
        reader.receive(raw[start : start + size])
    assert reader.complete and reader.reusable
    assert (reader.status, reader.body) == (200, body)
    assert reader.headers[:2] == [("X-A", "1"), ("X-B", "22")]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=60))
def test_no_bytes_break_the_reader(head: bytes, body: bytes) -> None:
    reader = ResponseReader(False, MAX_BODY)
    try:
        for chunk in (b"HTTP/1.1 200 OK\r\n" + head, body, b""):
            reader.receive(chunk)
    except BackendFailed:
        return
    assert reader.complete or not reader.reusable
