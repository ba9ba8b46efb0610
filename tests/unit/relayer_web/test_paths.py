from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer_web.backends.contract import ForbiddenRequest
from relayer_web.backends.path import clean_path, merged_path, merged_query, request_target

RPC = "/ext/bc/C/rpc"


@pytest.mark.parametrize(
    ("endpoint", "base", "inner", "merged"),
    [
        ("", RPC, "", RPC),
        ("", RPC, "/", RPC),
        ("", RPC, RPC, RPC),
        ("", RPC, RPC + "/v1/users", RPC + "/v1/users"),
        ("", RPC, "/v1/users", RPC + "/v1/users"),
        ("", RPC + "/", "/", RPC),
        ("", "/ext", "/extra/foo", "/ext/extra/foo"),
        (RPC, "", "/", RPC),
        (RPC, "", "/v1/users", RPC + "/v1/users"),
        ("", "", "", ""),
        ("", "", "/", ""),
        ("", "", "/v1/users", "/v1/users"),
        ("", "", "//", "/"),
        ("/", "", "/v1//x/", "/v1/x"),
        (RPC, "", RPC + "/ws", RPC + "/ws"),
        ("/api", "", "/apiary", "/api/apiary"),
        ("/url", "/base", "/x", "/base/x"),
        ("", "", "v1/x", "/v1/x"),
    ],
)
def test_prefix_and_inner_path_are_merged(endpoint: str, base: str, inner: str, merged: str) -> None:
    assert merged_path(endpoint, base, inner) == merged


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("", ""),
        ("/", "/"),
        ("//", "/"),
        ("///", "/"),
        ("//rpc", "/rpc"),
        ("/foo//bar", "/foo/bar"),
        ("/foo/", "/foo"),
        ("/v1/users", "/v1/users"),
        ("/a/./b/../c", "/a/c"),
        ("/../../x", "/x"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/%2e/b", "/a/b"),
    ],
)
def test_paths_are_cleaned(path: str, clean: str) -> None:
    assert clean_path(path) == clean


@pytest.mark.parametrize(
    "inner",
    [
        "/../admin",
        "/api/../admin",
        "/api/../../admin",
        "/%2e%2e/admin",
        "/x/%2E./.%2e/../admin",
        "/api/..//admin",
    ],
)
def test_the_inner_path_does_not_leave_its_prefix(inner: str) -> None:
    assert merged_path("", "/api", inner) == "/api/admin"


@pytest.mark.parametrize(
    "inner", ["/..%2fadmin", "/x%2f..%2f..%2fadmin", "/..\\admin", "/..%5cadmin", "/%2e%2e%2fadmin"]
)
def test_climbing_that_only_a_backend_would_see_is_refused(inner: str) -> None:
    with pytest.raises(ForbiddenRequest):
        merged_path("", "/api", inner)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "%2e", "%2E%2e", ".%2e", "", "api", "apiary", "a", "x y"]), max_size=8
    )
)
def test_whatever_the_segments_the_result_stays_under_the_prefix(segments: list[str]) -> None:
    merged = merged_path("", "/api", "/" + "/".join(segments))
    assert merged == "/api" or merged.startswith("/api/")
    assert clean_path(merged) == merged


@pytest.mark.parametrize(
    ("endpoint_query", "inner_url", "target"),
    [
        ("", "http://127.0.0.1:28080", "/"),
        ("", "http://127.0.0.1:28080/v1/status", "/v1/status"),
        ("", "http://any.host:1/p?b=2&a=1&a=0#frag", "/p?a=1&a=0&b=2"),
        ("key=k", "/p?a=1&key=z", "/p?a=1&key=k&key=z"),
        ("", "/p?flag", "/p?flag="),
        ("", "/p?q=a%20b+c&r=%ff", "/p?q=a+b+c&r=%FF"),
        ("", "?x=1", "/?x=1"),
        ("", "/a b/ü", "/a%20b/%C3%BC"),
        ("", "/a%2Fb", "/a%2Fb"),
        ("", "", "/"),
    ],
)
def test_the_target_has_path_and_sorted_query(endpoint_query: str, inner_url: str, target: str) -> None:
    assert request_target("", endpoint_query, "", inner_url, 8192) == target


@pytest.mark.parametrize("url", ["/a\r\nX: y", "/a\0", "/a\tb", "/" + "a" * 100, "/" + " " * 40])
def test_urls_that_may_not_be_sent_are_refused(url: str) -> None:
    with pytest.raises(ForbiddenRequest):
        request_target("", "", "", url, 100)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=20))
def test_a_target_never_splits_a_request_line(url: str, query: str) -> None:
    try:
        target = request_target("/api", "k=v", "", url + "?" + query, 1000)
    except ForbiddenRequest:
        return
    assert target.isascii()
    assert all(33 <= ord(character) < 127 for character in target)
    assert target.partition("?")[0] == "/api" or target.startswith("/api/")


def test_no_query_stays_none() -> None:
    assert merged_query("", "") == ""
