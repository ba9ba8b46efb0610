from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest

from relayer_web.backends.contract import BackendRequest, ForbiddenRequest
from relayer_web.backends.headers import HeaderRules, authorization, checked_method, probe_authorization
from relayer_web.config_backends import Authentication


def rules(configured: dict[str, str] | None = None, auth: str = "", **limits: int) -> HeaderRules:
    return HeaderRules(configured or {}, auth, **({"max_count": 20, "max_bytes": 1000} | limits))


def merged(
    headers: Sequence[tuple[str, str]], by: HeaderRules | None = None, **groups: object
) -> list[tuple[str, str]]:
    return (by or rules()).merge(BackendRequest("POST", "/", headers, b"", **groups))  # type: ignore[arg-type]


def value(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [text for key, text in headers if key.lower() == name]


def test_inner_headers_keep_their_case_their_order_and_all_values() -> None:
    headers = [("X-b", "2"), ("x-A", "1"), ("X-b", "3")]
    assert merged(headers) == [*headers, ("Accept-Encoding", "identity")]


def test_outer_headers_fill_in_only_what_is_missing() -> None:
    result = merged([("content-type", "a/b")], fill_in={"Content-Type": "c/d", "User-Agent": "gateway"})
    assert value(result, "content-type") == ["a/b"]
    assert value(result, "user-agent") == ["gateway"]


def test_later_groups_win_over_earlier_ones_whatever_the_case() -> None:
    result = merged(
        [("POCKET-SUPPLIER", "inner"), ("authorization", "inner"), ("X-Key", "inner"), ("Pocket-X", "inner")],
        rules({"x-key": "configured", "pocket-x": "configured", "Accept-Encoding": "br"}, "Bearer t"),
        overrides={"Pocket-X": "outer", "Pocket-Y": "outer", "Pocket-Supplier": "outer"},
        identity={"Pocket-Supplier": "pokt1s", "Pocket-Service": "svc", "Pocket-Application": ""},
    )
    assert value(result, "pocket-supplier") == ["pokt1s"]
    assert value(result, "pocket-service") == ["svc"]
    assert value(result, "pocket-application") == []
    assert value(result, "authorization") == ["Bearer t"]
    assert value(result, "x-key") == ["configured"]
    assert value(result, "pocket-x") == ["configured"]
    assert value(result, "pocket-y") == ["outer"]
    assert value(result, "accept-encoding") == ["identity"]


def test_inner_authorization_is_sent_on_where_none_is_configured() -> None:
    assert value(merged([("Authorization", "inner")]), "authorization") == ["inner"]


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Length", "transfer-encoding", "Connection", "TE", "Trailer", "Upgrade", "Keep-Alive",
     "Proxy-Authorization", "proxy-anything", "Expect"],
)  # fmt: skip
def test_framing_and_hop_by_hop_headers_are_dropped(name: str) -> None:
    assert value(merged([(name, "x")]), name.lower()) == []
    assert value(merged([], rules({name: "x"})), name.lower()) == []


def test_what_the_inner_connection_header_nominates_goes_but_not_what_the_operator_set() -> None:
    inner = [("Connection", "close, X-Mine, X-Key"), ("X-Mine", "1"), ("X-Other", "2")]
    result = merged(inner, rules({"X-Key": "operator"}))
    assert value(result, "x-mine") == []
    assert value(result, "x-other") == ["2"]
    assert value(result, "x-key") == ["operator"]


@pytest.mark.parametrize(
    "header",
    [("X", "a\r\nY: b"), ("X", "a\nb"), ("X", "a\0b"), ("X Y", "1"), ("X:", "1"), ("", "1"), ("X\r\n", "1")],
)
def test_what_could_split_a_request_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ForbiddenRequest):
        merged([header])


def test_number_and_size_of_headers_are_bounded() -> None:
    with pytest.raises(ForbiddenRequest):
        merged([(f"X-{number}", "1") for number in range(20)])
    with pytest.raises(ForbiddenRequest):
        merged([("X", "a" * 1000)])


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND", "M-SEARCH", "get"])
def test_methods_are_tokens(method: str) -> None:
    assert checked_method(method) == method


def test_no_method_means_get() -> None:
    assert checked_method("") == "GET"


@pytest.mark.parametrize("method", ["GET /", "GET\r\n", "G\0", "é", "CONNECT", "connect", "A" * 33])
def test_other_methods_are_refused(method: str) -> None:
    with pytest.raises(ForbiddenRequest):
        checked_method(method)


def test_user_and_password_win_on_relays_and_tokens_on_probes() -> None:
    basic = "Basic " + base64.b64encode(b"u:p").decode()
    full = Authentication(username="u", password="p", bearer_token="b", plain_token="t")
    assert authorization(full) == basic
    assert probe_authorization(full) == "Bearer b"
    assert authorization(Authentication(bearer_token="b", plain_token="t")) == "Bearer b"
    assert authorization(Authentication(plain_token="t")) == "t"
    assert authorization(Authentication(username="u")) == ""
    assert probe_authorization(Authentication(username="u", password="p")) == basic
    assert probe_authorization(Authentication(username="u", password="p", plain_token="t")) == "t"
