"""The wrapped and signed answer (spec/relayer.md §1.5)."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.envelope import decode_http_response
from relayer_web.backends.contract import BackendResponse
from relayer_web.inbound import Inbound
from relayer_web.responses import Compression, SignedResponse, SigningFailed, http_payload, relay_answer
from tests.unit.relayer_web.relay_world import World, checked_response, relay_request

LIMIT = 100_000


def wrapped(headers: list[tuple[str, str]], body: bytes, limit: int = LIMIT):
    return decode_http_response(http_payload(BackendResponse(200, headers, body), limit))


def test_headers_come_through_in_canonical_case_and_all_values() -> None:
    answer = wrapped([("set-cookie", "a"), ("X-b", "1"), ("Set-Cookie", "b"), ("connection", "close")], b"x")
    assert answer.headers == (("Connection", ("close",)), ("Set-Cookie", ("a", "b")), ("X-B", ("1",)))


@pytest.mark.parametrize("said", [True, False])
def test_gzip_is_undone_whether_said_or_only_seen(said: bool) -> None:
    packed = gzip.compress(b"plain body")
    headers = [("Content-Length", str(len(packed)))] + ([("content-encoding", "GZIP")] if said else [])
    answer = wrapped(headers, packed)
    assert answer.body == b"plain body"
    assert answer.headers == (("Content-Length", (str(len(packed)),)),)  # T-GZ-LEN, kept


def test_several_gzip_members() -> None:
    assert wrapped([], gzip.compress(b"one ") + gzip.compress(b"two")).body == b"one two"


@pytest.mark.parametrize(
    "body", [b"\x1f\x8bnot gzip", gzip.compress(b"cut off", mtime=0)[:-4], b"plain, though said"]
)
def test_what_is_not_gzip_stays_as_it_is(body: bytes) -> None:
    answer = wrapped([("Content-Encoding", "gzip")], body)
    assert answer.body == body
    assert answer.headers == (("Content-Encoding", ("gzip",)),)


def test_a_bomb_is_not_unpacked() -> None:
    packed = gzip.compress(bytes(5_000_000))
    assert wrapped([("Content-Encoding", "gzip")], packed).body == packed
    assert wrapped([], gzip.compress(bytes(LIMIT))).body == bytes(LIMIT)
    over = gzip.compress(bytes(LIMIT + 1))
    assert wrapped([], over).body == over


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_any_body_is_wrapped(body: bytes) -> None:
    wrapped([("Content-Encoding", "gzip")], body)
    wrapped([], b"\x1f\x8b" + body)


@pytest.mark.parametrize(
    ("compression", "accepted", "length", "packed"),
    [
        (Compression(False, 10), "gzip", 100, False),
        (Compression(True, 10), "gzip", 100, True),
        (Compression(True, 10), "deflate, GZip;q=1", 100, True),
        (Compression(True, 10), "br", 100, False),
        (Compression(True, 10), "", 100, False),
        (Compression(True, 100), "gzip", 100, True),
        (Compression(True, 101), "gzip", 100, False),
        (Compression(True, 0), "gzip", 1023, False),
        (Compression(True, 0), "gzip", 1024, True),
    ],
)
def test_compression_of_answers(compression: Compression, accepted: str, length: int, packed: bool) -> None:
    response = SignedResponse(None, b"x" * length)  # type: ignore[arg-type]
    answer = relay_answer(response, Inbound(b"", {"accept-encoding": accepted}), 0, compression)
    headers = dict(answer.headers)
    assert ("Content-Encoding" in headers) is packed
    assert (gzip.decompress(answer.body) if packed else answer.body) == b"x" * length


def test_retries_are_told() -> None:
    response = SignedResponse(None, b"x")  # type: ignore[arg-type]
    assert ("Backend-Retries", "2") in relay_answer(response, Inbound(b""), 2, Compression()).headers
    assert "Backend-Retries" not in dict(relay_answer(response, Inbound(b""), 0, Compression()).headers)


def test_an_empty_payload_or_a_missing_key_is_not_signed(world: World) -> None:
    relay = world.runtime.admission.identify(Inbound(relay_request().SerializeToString()))
    with pytest.raises(SigningFailed):
        world.runtime.signer.sign(relay, b"")
    world.signing_keys.clear()
    with pytest.raises(SigningFailed):
        world.runtime.signer.sign(relay, b"payload")


def test_a_gzipped_backend_answer_through_the_whole_path(world: World) -> None:
    packed = gzip.compress(b'{"result":1}')
    world.server.body = packed
    world.server.headers = [("Content-Encoding", "gzip")]
    _, inner = checked_response(world.serve(relay_request()))
    assert inner.body == b'{"result":1}'
    assert dict(inner.headers)["Content-Length"] == (str(len(packed)),)
