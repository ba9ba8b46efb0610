"""All targets by name. Each is imported only by the process that runs it, after the fuzzer can instrument it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Listed:
    """Where a target is defined (module:attribute) and what it is fed with."""

    place: str
    fed: str


def _in(module: str, attribute: str, fed: str) -> Listed:
    return Listed(f"tests.fuzz.targets.{module}:{attribute}", fed)


TARGETS: Final[dict[str, Listed]] = {
    "http": _in("http", "HTTP", "a client's bytes on the relay port, in pieces; direct way and Flask beside each other"),
    "relay-bytes": _in("messages", "RELAYS", "RelayRequest, RelayResponse and Relay messages"),
    "envelope": _in("messages", "ENVELOPES", "POKT HTTP requests and responses, on to a backend's request"),
    "ring": _in("ring", "RING", "ring signatures, parsed and verified"),
    "gob": _in("messages", "GOB", "gob bytes of a closest proof, expanded and verified against a root"),
    "relay": _in("relay", "RELAY", "relays over HTTP, gRPC and gRPC-Web through the whole pipeline, also soundly signed ones"),
    "websocket": _in("websocket", "FRAMES", "WebSocket frames of either side, in pieces"),
    "bridge": _in("websocket", "BRIDGE", "messages of a gateway and of a backend through a bridge"),
    "grpc-frames": _in("messages", "GRPC_FRAMES", "gRPC and gRPC-Web bodies, status texts, streaming frames"),
    "stream-entry": _in("entries", "ENTRIES", "entries of the relay stream, judged as the miner does"),
    "documents": _in("documents", "DOCUMENTS", "cached documents, registry, block events, session hashes"),
    "transaction": _in("transactions", "TRANSACTIONS", "transactions, simulated and broadcast on the local chain; texts of its answers"),
    "proof-messages": _in("messages", "PROOF_MESSAGES", "MsgCreateClaim and MsgSubmitProof"),
    "address": _in("messages", "ADDRESSES", "bech32 addresses"),
    "config": _in("config", "CONFIG", "YAML of the relayer, the miner, key files and the local chain's genesis"),
    "comet": _in("node", "COMET", "a node's RPC answers, as HTTP bytes or as JSON"),
    "queries": _in("node", "QUERIES", "a node's gRPC answers"),
    "backend": _in("backend", "BACKEND", "a backend's HTTP answer, wrapped and signed"),
}  # fmt: skip
# These run against a relayer of their own, with our own mutations (live.py).
LIVE: Final[dict[str, str]] = {
    "live-http": "raw requests to a running relayer: unsound relays, chunked bodies, gRPC-Web, service routes",
    "live-websocket": "WebSocket handshakes and frames to a running relayer",
    "live-http2": "HTTP/2 prefaces, frames and gRPC calls to a running relayer",
}
FED: Final = {name: listed.fed for name, listed in TARGETS.items()} | LIVE
