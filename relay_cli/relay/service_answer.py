"""Whether a service answered well, by the transport it was asked over (spec/relayer.md §8.3)."""

from __future__ import annotations

from pocket_protocol.envelope import HttpResponse
from relay_cli.relay.grpc_answer import check_grpc_answer
from relay_cli.relay.outcome import check_service_answer


def check_answer(response: HttpResponse, transport: str) -> None:
    """Raise `BackendError` for an answer that is an error."""
    check_service_answer(response)
    if transport == "grpc":
        check_grpc_answer(response)
