"""What a transport hands to the pipeline, and what it gets back (spec/relayer.md §1.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Chunks(Protocol):
    """A body in the making."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """Free what is held; called once or more, however the answer ended."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One relay as it arrived.

    `headers`: outer header names in lower case, the first value of each. `peer`: the client's address
    without its port, "" when not known. `transport`: set by WebSocket, which knows what it is; None means
    the `Rpc-Type` header or the service's default decides. `is_grpc`: it came over gRPC, where without an
    `Rpc-Type` the inner request's content type may decide. `oversize`: the server stopped reading because
    the body went over the limit for any service (the body is then not needed). `method` and `path` of an
    HTTP request decide nothing but whether it is gRPC-Web.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
    transport: str | None = None
    oversize: bool = False
    is_grpc: bool = False
    method: str = "POST"
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: status, headers (Content-Length not among them) and the whole body.

    With `chunks` the body is sent as it comes, and the connection ends with it. An empty chunk is a moment to look
    whether the client is still there. Whoever has the answer closes `chunks`; an OSError out of it breaks off.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    chunks: Chunks | None = None
