"""What a transport hands to the pipeline, and what it gets back (spec/relayer.md §1.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Inbound:
    """One relay as it arrived.

    `headers`: outer header names in lower case, the first value of each. `peer`: the client's address
    without its port, "" when not known. `transport`: set by WebSocket and gRPC, which know what they
    are; None means the `Rpc-Type` header or the service's default decides. `oversize`: the server
    stopped reading because the body went over the limit for any service (the body is then not needed).
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
    transport: str | None = None
    oversize: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: status, headers (Content-Length not among them) and the whole body."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
