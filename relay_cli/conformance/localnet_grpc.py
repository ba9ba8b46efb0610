"""Checks of gRPC recordings: one file per method, and the index of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import grpc

from relay_cli.conformance.check import Case, Check, Context, VectorFile
from relay_cli.conformance.schema import call_cases, service

_SERVICES = (
    "pocket.application.Query",
    "pocket.gateway.Query",
    "pocket.proof.Query",
    "pocket.service.Query",
    "pocket.session.Query",
    "pocket.shared.Query",
    "pocket.supplier.Query",
    "pocket.tokenomics.Query",
    "cosmos.auth.v1beta1.Query",
    "cosmos.bank.v1beta1.Query",
    "cosmos.tx.v1beta1.Service",
)
_ASKED_IN_VAIN = "/pocket.session.Query/ParamsAtHeight"  # the recorded node has no such method


def _status_name(code: int) -> str:
    """The name of a gRPC status in the network's spelling: NOT_FOUND is NotFound."""
    names = {status.value[0]: status.name for status in grpc.StatusCode}
    return "".join(word.capitalize() for word in names.get(code, "").split("_"))


def _check_samples(samples: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, sample in enumerate(samples):
        name = str(index)
        yield Case(f"{name} method", sample["method"], document["method"])
        yield from call_cases(name, document["method"], sample)
        if "grpc_code_name" in sample:
            yield Case(f"{name} grpc_code_name", sample["grpc_code_name"], _status_name(sample["grpc_code"]))


def _check_count(count: int, document: Mapping[str, Any]) -> Iterator[Case]:
    yield Case("sum over the clients", count, sum(document["by_client"].values()))


def _index_entry(path: str) -> Check:
    def check(entry: Mapping[str, Any], _document: Mapping[str, Any]) -> Iterator[Case]:
        yield Case("file", entry["file"], f"{path[1:].replace('/', '.')}.json")
        yield Case("calls", entry["calls"], sum(entry["by_client"].values()))

    return check


def _paths() -> Iterator[str]:
    for name in _SERVICES:
        found = service(name)
        yield from (f"/{name}/{method.name}" for method in (found.methods if found is not None else ()))
    yield _ASKED_IN_VAIN


LOCALNET_GRPC = VectorFile(
    "localnet_grpc",
    {"method": Context(), "by_client": Context(), "calls_recorded": _check_count, "samples": _check_samples},
    {"samples.grpc_message": "a node's own text, which no function here computes"},
)

LOCALNET_GRPC_INDEX = VectorFile("_index", {path: _index_entry(path) for path in _paths()})
