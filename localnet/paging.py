"""Pages of query answers (spec/chain.md §9): the rules of cosmos.base.query.v1beta1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from localnet.registered_errors import invalid_argument
from pocket_protocol.pb.cosmos.base.query.v1beta1_pb2 import PageRequest, PageResponse

DEFAULT_LIMIT: Final = 100

T = TypeVar("T")


def page(items: Sequence[tuple[bytes, T]], request: PageRequest) -> tuple[list[T], PageResponse]:
    """Return one page of the sorted (key, item) pairs. Raises `StatusRefused` for an offset and a key.

    Without a limit, 100 items and the total counted; with one, the total only if asked for and no key is given.
    """
    if request.key and request.offset:
        raise invalid_argument("invalid request, either offset or key is expected, got both")
    ordered = list(reversed(items)) if request.reverse else list(items)
    start = request.offset
    if request.key:
        following = (i for i, (key, _) in enumerate(ordered) if _reached(key, request))
        start = next(following, len(ordered))
    limit = request.limit or DEFAULT_LIMIT
    shown = ordered[start : start + limit]
    rest = ordered[start + limit : start + limit + 1]
    counted = not request.key and (request.count_total or not request.limit)
    response = PageResponse(next_key=rest[0][0] if rest else b"", total=len(ordered) if counted else 0)
    return [item for _, item in shown], response


def _reached(key: bytes, request: PageRequest) -> bool:
    return key <= request.key if request.reverse else key >= request.key
