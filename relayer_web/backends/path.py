"""Where an inner request goes at a backend (spec/relayer.md §1.4, decisions D7).

The sender chooses a path, the operator a prefix: the endpoint's own path or `base_path`. The sender's path is
cleaned before it is joined, so that it cannot leave the prefix, in whatever way its dots are written.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlencode

from relayer_web.backends.contract import ForbiddenRequest

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_ENCODED_DOT: Final = re.compile(r"%2e", re.IGNORECASE)
_SEPARATOR: Final = re.compile(r"[/\\]")
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~"


def request_target(
    endpoint_path: str, endpoint_query: str, base_path: str, inner_url: str, max_bytes: int
) -> str:
    """Return path and query to ask an endpoint for.

    `inner_url` is the sender's: absolute or only a path; host, scheme and fragment do not count. `max_bytes`
    limits it and the result. Raises `ForbiddenRequest`.
    """
    if len(inner_url) > max_bytes:
        raise ForbiddenRequest(what="URL too long")
    if _CONTROL.search(inner_url):
        raise ForbiddenRequest(what="control character in the URL")
    inner_path, inner_query = _split(inner_url)
    path = merged_path(endpoint_path, base_path, inner_path)
    target = quote(path, safe=_PATH_SAFE, errors="replace") or "/"
    query = merged_query(endpoint_query, inner_query)
    target = f"{target}?{query}" if query else target
    if len(target) > max_bytes:
        raise ForbiddenRequest(what="URL too long")
    return target


def merged_path(endpoint_path: str, base_path: str, inner_path: str) -> str:
    """Join the operator's prefix and the sender's path as spec/relayer.md §1.4's table says; "" stays empty.

    Raises `ForbiddenRequest` for a path that would climb once a backend decodes it.
    """
    prefix = (base_path or endpoint_path).rstrip("/")
    inner = "" if inner_path in ("", "/") else clean_path(inner_path)
    if _climbs(inner):
        raise ForbiddenRequest(what="path leaves its prefix")
    if not prefix:
        return inner
    if inner in ("", "/"):
        return clean_path(prefix)
    if inner == prefix or inner.startswith(prefix + "/"):
        return inner
    return clean_path(prefix + inner)


def clean_path(path: str) -> str:
    """Resolve `.`, `..` and empty segments; the result is rooted and has no trailing slash. "" stays empty."""
    if not path:
        return ""
    kept: list[str] = []
    for segment in path.split("/"):
        plain = _ENCODED_DOT.sub(".", segment)
        if plain == "..":
            del kept[-1:]
        elif plain not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept)


def merged_query(endpoint_query: str, inner_query: str) -> str:
    """The endpoint's and the sender's parameters, keys sorted, values of one key in that order, encoded anew."""
    if not endpoint_query and not inner_query:
        return ""
    pairs = [
        (_decoded(name), _decoded(value))
        for query in (endpoint_query, inner_query)
        for name, _, value in (part.partition("=") for part in query.split("&") if part)
    ]
    return urlencode(sorted(pairs, key=lambda pair: pair[0]))


def _decoded(text: str) -> bytes:
    """The bytes a query's name or value stands for; they need not be text."""
    return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "replace"))


def _split(url: str) -> tuple[str, str]:
    """Return path and query of a URL without interpreting any of it."""
    rest = url.partition("#")[0]
    match = _SCHEME.match(rest)
    if match:
        rest = rest[match.end() :]
    path, _, query = rest.partition("?")
    return path, query


def _climbs(path: str) -> bool:
    """Tell whether encoded separators hide a `..` segment (`..%2f`, `..\\`)."""
    if ".." not in path and "%" not in path:
        return False
    return ".." in _SEPARATOR.split(unquote(path))
