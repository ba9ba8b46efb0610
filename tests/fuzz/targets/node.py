"""What a node answers: over CometBFT's RPC, and over gRPC. The first byte chooses the question."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mining_tasks.settlement import UnreadableEvent, find_settlement
from pocket_chain.block_subscription import BlockSubscription
from pocket_chain.node import BlockResults, CometNode
from pocket_chain.node_errors import NodeUnavailable
from pocket_chain.queries import ChainQueries
from pocket_protocol.errors import Malformed
from pocket_protocol.shared_params import SharedParams
from relay_store.session_state import SessionSnapshot
from tests.fuzz.corpus import golden, recorded_files, spread
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.messages import PROTOBUF_WORDS
from tests.fuzz.targets.raw_server import DEADLINE_S, RawServer
from tests.unit.pocket_chain.fake_node import GrpcAnswer, GrpcNode, grpc_node
from tests.vectors import load

MAX_TEXT = 5_000
MAX_SEED = 16_000
SESSION = "ab" * 32
SNAPSHOT = SessionSnapshot(SESSION, "pokt1x", "pokt1y", "svc", 1, 10)
RAW = 0x80  # bit of the first byte: the bytes are HTTP, not only the JSON in it
TX_HASH = "AB" * 32
COMET_QUESTIONS: tuple[Callable[[CometNode], object], ...] = (
    lambda node: node.status(),
    lambda node: node.block(),
    lambda node: node.block(1151),
    lambda node: node.block_results(1171),
    lambda node: node.block_results(1178),
    lambda node: node.transaction(TX_HASH),
)


class Told:
    """A subscription's connection that was told one thing."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def recv(self, timeout: float) -> bytes:
        return self._text


@contextmanager
def opened_comet() -> Iterator[Attempt]:
    server = RawServer()

    def attempt(data: bytes) -> bool:
        choice, rest = (data[0], data[1:]) if data else (0, b"")
        server.answer(
            rest if choice & RAW else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(rest) + rest
        )
        if not choice & RAW:
            heard(rest)
        node = CometNode(f"http://127.0.0.1:{server.port}", DEADLINE_S)
        try:
            found = COMET_QUESTIONS[choice % len(COMET_QUESTIONS)](node)
        except NodeUnavailable as error:
            assert len(str(error)) < MAX_TEXT
            return False
        finally:
            node.rpc.close()
        if isinstance(found, BlockResults):
            with suppress(UnreadableEvent):
                find_settlement(SNAPSHOT, 1, found.events)
        return found is not None

    yield attempt
    server.stop()


def heard(text: bytes) -> None:
    """The same text as an announcement of a block."""
    subscription = BlockSubscription.__new__(BlockSubscription)
    subscription.shown_url = "ws://node"
    subscription._connection = Told(text)  # type: ignore[assignment]
    with suppress(NodeUnavailable):
        subscription.next_height(0.0)


def comet_seeds() -> list[bytes]:
    answers = [value for value in results_of(load("chain_live")) if len(json.dumps(value)) < 8000]
    header = {"result": {"data": {"value": {"header": {"height": "5"}}}}}
    errors = [
        "must be less than or equal to the current blockchain height 5",
        f"tx ({TX_HASH}) not found",
        "lowest height is 3",
    ]
    texts = [json.dumps({**answer, "id": 0}).encode() for answer in (*answers, header)]
    texts += [
        json.dumps({"id": 0, "error": {"code": -1, "data": f"height 9 is not available, {text}"}}).encode()
        for text in errors
    ]
    texts += [settlement_answer(), status_answer()]
    texts += [json.dumps({**answer, "id": 0}).encode() for answer in recorded_answers()]
    seeds = [bytes((question,)) + text for question in range(len(COMET_QUESTIONS)) for text in texts]
    return seeds + [bytes((RAW | index,)) + http for index in (0, 3) for http in (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.0 500 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    )]  # fmt: skip


def settlement_answer() -> bytes:
    """Block results with the events the miner looks for, about its own session."""
    values = {
        "supplier_operator_address": "pokt1x", "application_address": "pokt1y", "service_id": "svc", "session_end_block_height": "10",
        "claimed_upokt": "5upokt", "settled_upokt": "4upokt", "num_relays": "3", "expiration_reason": "X", "slashing_amount": "1upokt",
    }  # fmt: skip
    attributes = [{"key": key, "value": json.dumps(value)} for key, value in values.items()]
    events = [
        {"type": f"pocket.tokenomics.Event{name}", "attributes": attributes}
        for name in ("ClaimSettled", "ClaimExpired", "SupplierSlashed", "ClaimDiscarded")
    ]
    return json.dumps(
        {"id": 0, "result": {"height": "1171", "txs_results": None, "finalize_block_events": events}}
    ).encode()


def status_answer() -> bytes:
    sync = {
        "latest_block_height": "5",
        "latest_block_hash": "AB" * 32,
        "latest_block_time": "2026-01-02T03:04:05.6Z",
    }
    sync |= {"earliest_block_height": "1"}
    result = {"node_info": {"network": "pocket"}, "sync_info": {**sync, "catching_up": False}}
    return json.dumps({"id": 0, "result": result}).encode()


def recorded_answers() -> Iterator[dict[str, Any]]:
    for text in recorded_files("localnet/cometbft/*.json", MAX_SEED):
        yield from results_of(json.loads(text))


def results_of(document: Any) -> Iterator[dict[str, Any]]:
    """Every JSON-RPC answer in a document."""
    if isinstance(document, dict):
        if "jsonrpc" in document:
            yield document
            return
        document = list(document.values())
    if isinstance(document, list):
        for item in document:
            yield from results_of(item)


COMET = Target(
    comet_seeds,
    opened_comet,
    (
        b"null", b"true", b"-1", b"1e999", b"-1e999", b"NaN", b"Infinity", b'"\\ud800"', b"{}", b"[]", b"[" * 3000, b'{"a":' * 2000,
        b"9" * 5000, b'"1upokt"', b'"-1"', b'"1e5"', b"\xff", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"-5\r\n", b"0001-01-01T00:00:00Z",
        b"2026-13-45T25:61:61Z", b"HTTP/1.1 100 C\r\n\r\n", b"Set-Cookie: \xff\r\n", b"Infinity upokt", b'"[[[["', b'"Infinity"',
    ),
    16384,
)  # fmt: skip

QUERIES_ASKED: tuple[Callable[[ChainQueries], object], ...] = (
    lambda ask: SharedParams.from_proto(ask.shared_params()),
    lambda ask: SharedParams.from_proto(ask.shared_params_at(5)),
    lambda ask: ask.session("a", "b", 1),
    lambda ask: ask.application("a"),
    lambda ask: ask.applications(),
    lambda ask: ask.supplier("a"),
    lambda ask: ask.service("a"),
    lambda ask: ask.compute_units_per_relay_at("a", 1),
    lambda ask: ask.difficulty_at("a", 1),
    lambda ask: ask.public_key("a"),
    lambda ask: ask.balance("a"),
    lambda ask: ask.observe_claim("a", "b"),
    lambda ask: ask.claims("a"),
    lambda ask: ask.proof("a", "b"),
    lambda ask: ask.last_fee("a"),
    lambda ask: ask.proof_params(),
    lambda ask: ask.tokenomics_params(),
)


class AnyMethod(dict[str, GrpcAnswer]):
    """The same answer, whatever is asked."""

    def __init__(self, answer: Callable[[], bytes]) -> None:
        super().__init__()
        self._answer = answer

    def __contains__(self, path: object) -> bool:
        return True

    def get(self, path: str, default: Any = None) -> GrpcAnswer:  # type: ignore[override]
        return self._answer()


@contextmanager
def opened_queries() -> Iterator[Attempt]:
    answer = b""
    node: GrpcNode
    with grpc_node() as node:
        node.answers = AnyMethod(lambda: answer)
        queries = ChainQueries(node.target, insecure=True, timeout_s=5.0)

        def attempt(data: bytes) -> bool:
            nonlocal answer
            choice, answer = (data[0], data[1:]) if data else (0, b"")
            node.requests.clear()
            try:
                QUERIES_ASKED[choice % len(QUERIES_ASKED)](queries)
            except (NodeUnavailable, Malformed):
                return False
            return True

        yield attempt
        queries.channels.close()


def query_seeds() -> list[bytes]:
    answers = spread(golden("chain_queries", "response_hex"), 30)
    return [bytes((question,)) + one for question in range(len(QUERIES_ASKED)) for one in answers]


QUERIES = Target(
    query_seeds, opened_queries, (*PROTOBUF_WORDS, b"upokt", b"-1", b"99999999999999999999999", b"1.5"), 4096
)
