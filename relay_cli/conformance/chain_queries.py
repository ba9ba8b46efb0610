"""Checks of chain_queries.json: each recorded query decodes and encodes again to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.schema import call_cases


def _check_calls(calls: list[Mapping[str, Any]], _document: Mapping[str, Any]) -> Iterator[Case]:
    for index, call in enumerate(calls):
        yield from call_cases(f"{index} {call['path']}", call["path"], call)


CHAIN_QUERIES = VectorFile(
    "chain_queries",
    {"description": Context(), "calls": _check_calls},
    {"calls.grpc_message": "a node's own text, which no function here computes"},
)
