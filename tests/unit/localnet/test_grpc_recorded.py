"""Recorded gRPC requests, sent to the local node over a real channel; answers compared as messages.

`MASKED` names, per method, the fields that hold what earlier blocks of the recorded chain did; all others must
be equal. docs/localnet.md shows the same table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from localnet.chain import LocalChain
from localnet.fixture import Fixture
from localnet.grpc_cosmos import CALLS
from localnet.grpc_server import HEIGHT_KEY, QUERIES
from localnet.node import LocalNode
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import BroadcastTxRequest, BroadcastTxResponse
from tests.recorded import needs_recordings
from tests.unit.localnet.recordings import CURVE, live_genesis, recorded_genesis, recorded_grpc, replay_chain
from tests.unit.localnet.test_replay_live import LIVE, NUMBERS, PROOF_1
from tests.vectors import load

MASKED: dict[str, tuple[str, ...]] = {
    "/cosmos.bank.v1beta1.Query/Balance": ("balance.amount",),
    "/pocket.application.Query/AllApplications": ("applications.stake.amount",),
    "/pocket.application.Query/Application": ("application.stake.amount",),
    "/pocket.service.Query/RelayMiningDifficulty": (
        "relayMiningDifficulty.block_height",
        "relayMiningDifficulty.num_relays_ema",
    ),
    "/pocket.service.Query/RelayMiningDifficultyAll": ("relayMiningDifficulty", "pagination.total"),
    "/pocket.service.Query/RelayMiningDifficultyAtHeight": (
        "relayMiningDifficulty.block_height",
        "relayMiningDifficulty.num_relays_ema",
    ),
    "/pocket.session.Query/GetSession": ("session.application.stake.amount",),
}
# Their answers are compared where claims and transactions are replayed.
ELSEWHERE = (
    "/cosmos.tx.v1beta1.Service/BroadcastTx",
    "/cosmos.tx.v1beta1.Service/Simulate",
    "/pocket.proof.Query/AllClaims",
    "/pocket.proof.Query/Claim",
    "/cosmos.tx.v1beta1.Service/GetTx",
)
APP7 = "pokt13fmt3dknf0jtca7swwcv3c9nlufy5mdl52purf"


def samples() -> Iterator[Any]:
    for name, recorded in recorded_grpc().items():
        for index, sample in enumerate(recorded["samples"]):
            if recorded["method"] in ELSEWHERE and sample["grpc_code"] == 0:
                continue
            if (
                recorded["method"].endswith("/Simulate")
                or sample.get("request_json", {}).get("address") == APP7
            ):
                continue  # the application had unbonded by then
            yield pytest.param(sample, id=f"{name}-{index}")


def masked(values: Any, path: tuple[str, ...]) -> None:
    """Remove the member at `path`, in each entry of a list on the way."""
    if isinstance(values, list):
        for entry in values:
            masked(entry, path)
    elif isinstance(values, dict) and path[0] in values:
        if len(path) == 1:
            del values[path[0]]
        else:
            masked(values[path[0]], path[1:])


def decoded(method: str, data: bytes) -> dict[str, Any]:
    service, _, name = method[1:].partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    message = GetMessageClass(found.output_type).FromString(data)
    values = MessageToDict(message, preserving_proto_field_name=True)
    for path in MASKED.get(method, ()):
        masked(values, tuple(path.split(".")))
    if "session" in values:  # their order follows from the hash of a block that was not recorded
        values["session"]["suppliers"].sort(key=lambda supplier: supplier["operator_address"])
    return values


def ask(node: LocalNode, method: str, request: bytes, height: int = 0) -> tuple[int, str, bytes, int]:
    """Return (status code, text, answer, height it was read at)."""
    with grpc.insecure_channel(node.grpc.address) as channel:
        call = channel.unary_unary(method)
        metadata = ((HEIGHT_KEY, str(height)),) if height else ()
        try:
            answer, done = call.with_call(request, metadata=metadata, timeout=5)
        except grpc.RpcError as error:
            return error.code().value[0], error.details(), b"", 0
        read_at = dict(done.initial_metadata())[HEIGHT_KEY]
        return 0, "", answer, int(read_at)


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    fixture = Fixture()
    for sample in recorded_grpc()["pocket.session.Query.GetSession"]["samples"]:
        if sample["grpc_code"] == 0:
            header = sample["response_json"]["session"]["header"]
            key = (
                header["application_address"],
                header["service_id"],
                int(header["session_start_block_height"]),
            )
            fixture.session_ids[key] = header["session_id"]
    chain = replay_chain(fixture, 766, 1_795_346_812 * 10**9)
    with LocalNode(chain) as running:
        yield running


@needs_recordings
@pytest.mark.parametrize("sample", list(samples()))
def test_answers_are_the_recorded_ones(node: LocalNode, sample: dict[str, Any]) -> None:
    method, request = sample["method"], bytes.fromhex(sample["request_hex"])
    code, text, answer, height = ask(node, method, request)
    assert (code, text) == (sample["grpc_code"], sample.get("grpc_message", ""))
    if code == 0:
        assert decoded(method, answer) == decoded(method, bytes.fromhex(sample["response_hex"]))
        assert height == node.chain.height


@needs_recordings
def test_every_recorded_method_is_served() -> None:
    recorded = {recorded["method"] for recorded in recorded_grpc().values()}
    assert recorded - {*QUERIES, *CALLS} == {
        "/pocket.session.Query/ParamsAtHeight"
    }  # Unimplemented there too


@pytest.fixture(scope="module")
def live_node() -> Iterator[LocalNode]:
    """The chain that chain_queries was asked of, as far as its genesis is known, at its height."""
    chain = LocalChain(live_genesis(LIVE, NUMBERS, PROOF_1), CURVE, now_ns=lambda: 1_795_346_812 * 10**9)
    chain.jump_to(1609)
    with LocalNode(chain) as running:
        yield running


ERRORS = [call for call in load("chain_queries")["calls"] if "grpc_code" in call]
BYTES = {
    "/pocket.shared.Query/Params",
    "/pocket.shared.Query/ParamsAtHeight",
    "/pocket.session.Query/Params",
    "/pocket.application.Query/Params",
    "/pocket.supplier.Query/Params",
    "/pocket.service.Query/Params",
    "/pocket.proof.Query/Params",
    "/pocket.tokenomics.Query/Params",
    "/pocket.service.Query/Service",
    "/pocket.service.Query/ComputeUnitsPerRelayAtHeight",
    "/pocket.service.Query/RelayMiningDifficultyAtHeight",
    "/pocket.proof.Query/AllClaims",
}
EXACT = [
    call for call in load("chain_queries")["calls"] if call["path"] in BYTES and "response_hex" in call
] + [call for call in load("chain_queries")["calls"] if call["note"] == "unknown account: zero coin"]


@pytest.mark.parametrize("call", ERRORS, ids=lambda call: f"{call['path']} {call['note']}")
def test_errors_have_the_real_codes_and_texts(live_node: LocalNode, call: dict[str, Any]) -> None:
    code, text, _, _ = ask(live_node, call["path"], bytes.fromhex(call["request_hex"]))
    assert (code, text) == (call["grpc_code"], call["grpc_message"])


@pytest.mark.parametrize("call", EXACT, ids=lambda call: f"{call['path']} {call['note']}")
def test_answers_are_equal_to_the_byte(live_node: LocalNode, call: dict[str, Any]) -> None:
    _, text, answer, _ = ask(live_node, call["path"], bytes.fromhex(call["request_hex"]))
    assert answer.hex() == call["response_hex"], text


def test_an_older_state_can_be_asked_for_and_a_later_one_not(live_node: LocalNode) -> None:
    method = "/pocket.shared.Query/Params"
    height = live_node.chain.height
    live_node.chain.step()
    assert ask(live_node, method, b"", height)[3] == height
    assert ask(live_node, method, b"", height + 100)[0] == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_broadcast_of_undecodable_bytes(live_node: LocalNode) -> None:
    request = BroadcastTxRequest(tx_bytes=b"garbage", mode=2).SerializeToString()
    _, _, answer, _ = ask(live_node, "/cosmos.tx.v1beta1.Service/BroadcastTx", request)
    response = BroadcastTxResponse.FromString(answer).tx_response
    assert (response.code, response.codespace) == (2, "sdk")
    assert response.raw_log == "expected 2 wire type, got 7: tx parse error: tx parse error"


@needs_recordings
def test_recorded_accounts_have_their_numbers(node: LocalNode) -> None:
    numbers = [int(a["account_number"]) for a in recorded_genesis()["app_state"]["auth"]["accounts"]]
    assert numbers == list(range(15))
