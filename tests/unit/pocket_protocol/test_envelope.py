"""HTTP envelopes: the network's bytes, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol import envelope
from pocket_protocol.envelope import HttpRequest, HttpResponse, canonical_header_name, grouped_headers
from pocket_protocol.errors import Malformed
from pocket_protocol.wire import Undecodable
from tests.vectors import load

HTTP_RELAYS = [relay for relay in load("chain_relays")["relays"] if "http_request" in relay]


def _headers(recorded: dict) -> envelope.Headers:
    return tuple((entry["map_key"], tuple(entry["values"])) for entry in recorded["headers_sorted"])


@pytest.mark.parametrize("relay", HTTP_RELAYS, ids=lambda relay: relay["name"])
def test_envelopes_equal_the_network(relay: dict) -> None:
    recorded = relay["http_request"]
    request = HttpRequest(
        recorded["method"], recorded["url"], _headers(recorded), bytes.fromhex(recorded["body_hex"])
    )
    assert envelope.encode_http_request(request).hex() == recorded["marshaled_hex"]
    assert envelope.decode_http_request(bytes.fromhex(recorded["marshaled_hex"])) == request
    recorded = relay["http_response"]
    response = HttpResponse(recorded["status_code"], _headers(recorded), bytes.fromhex(recorded["body_hex"]))
    assert envelope.encode_http_response(response).hex() == recorded["marshaled_hex"]
    assert envelope.decode_http_response(bytes.fromhex(recorded["marshaled_hex"])) == response


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
header_maps = st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=6).map(
    lambda headers: tuple(sorted(headers.items()))
)


@settings(max_examples=150)
@given(texts, texts, header_maps, st.binary(max_size=200))
def test_requests_return(method: str, url: str, headers: envelope.Headers, body: bytes) -> None:
    request = HttpRequest(method, url, headers, body)
    payload = envelope.encode_http_request(request)
    if payload:
        assert envelope.decode_http_request(payload) == request


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), header_maps, st.binary(max_size=200))
def test_responses_return(status_code: int, headers: envelope.Headers, body: bytes) -> None:
    response = HttpResponse(status_code, headers, body)
    assert envelope.decode_http_response(envelope.encode_http_response(response)) == response


def test_names_that_begin_alike_come_shortest_first_in_any_order_given() -> None:
    headers = (("Accept-Encoding", ("b",)), ("Aa", ("c",)), ("Accept", ("a",)), ("A", ("d",)))
    payload = envelope.encode_http_request(HttpRequest("GET", "/", headers))
    places = [
        payload.index(b"\x0a" + bytes((len(name),)) + name)
        for name in (b"A", b"Aa", b"Accept", b"Accept-Encoding")
    ]
    assert places == sorted(places)
    assert payload == envelope.encode_http_request(HttpRequest("GET", "/", headers[::-1]))


def test_an_empty_request_payload_is_refused_and_an_empty_response_is_not() -> None:
    with pytest.raises(Undecodable):
        envelope.decode_http_request(b"")
    assert envelope.decode_http_response(b"") == HttpResponse(0)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_an_envelope_or_a_typed_refusal(payload: bytes) -> None:
    for decode in (envelope.decode_http_request, envelope.decode_http_response):
        try:
            decode(payload)
        except Malformed:
            pass


def test_an_envelope_with_headers_without_end_is_refused_before_they_are_looked_at() -> None:
    headers = tuple((f"X-{number:05}", ("a",)) for number in range(envelope.MAX_HEADERS + 1))
    for encode, decode, message in (
        (
            envelope.encode_http_request,
            envelope.decode_http_request,
            envelope.HttpRequest("GET", "/", headers),
        ),
        (envelope.encode_http_response, envelope.decode_http_response, envelope.HttpResponse(200, headers)),
    ):
        with pytest.raises(Undecodable, match="too many headers"):
            decode(encode(message))  # type: ignore[operator]
        fewer = replace(message, headers=headers[1:])  # type: ignore[type-var]
        assert decode(encode(fewer)) == fewer  # type: ignore[operator]


def test_lone_surrogates_do_not_break_the_message() -> None:
    response = HttpResponse(200, (("X\ud800", ("v\udfff",)),), b"")
    assert envelope.decode_http_response(envelope.encode_http_response(response)).headers == (
        ("X?", ("v?",)),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("content-type", "Content-Type"),
        ("ETAG", "Etag"),
        ("x-y-", "X-Y-"),
        ("-a", "-A"),
        ("a b", "a b"),
        ("é", "é"),
        ("", ""),
    ],
)
def test_header_names_are_canonical(name: str, expected: str) -> None:
    assert canonical_header_name(name) == expected


def test_repeated_headers_are_grouped_in_the_order_of_their_values() -> None:
    pairs = [("set-cookie", "a"), ("Date", "d"), ("Set-Cookie", "b")]
    assert grouped_headers(pairs) == (("Date", ("d",)), ("Set-Cookie", ("a", "b")))
