"""Which of several nodes is asked, and channels of patched and forked processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import grpc
import pytest

from pocket_chain.grpc_channel import GrpcTarget, NodeChannels
from pocket_chain.node_errors import (
    AheadOfNode,
    EntityNotFound,
    NodeUnavailable,
)
from pocket_chain.queries import ChainQueries
from pocket_protocol.pb.pocket import service_pb2, session_pb2, shared_pb2
from tests.unit.pocket_chain.fake_node import GrpcNode, grpc_node, rpc_node
from tests.unit.pocket_chain.query_methods import SERVICE


def test_a_slow_node_meets_the_deadline(node: GrpcNode) -> None:
    node.answers[SERVICE] = b""
    node.hold.clear()
    queries = ChainQueries(node.target, insecure=True, timeout_s=0.3)
    started = time.monotonic()
    with pytest.raises(NodeUnavailable) as caught:
        queries.service("anvil")
    assert caught.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - started < 2


def test_a_dead_node_is_passed_over_and_then_avoided(node: GrpcNode) -> None:
    node.answers[SERVICE] = service_pb2.QueryGetServiceResponse(
        service=shared_pb2.Service(id="anvil")
    ).SerializeToString()
    with grpc_node() as stopped:
        dead = stopped.target
    channels = NodeChannels([GrpcTarget(dead, True), GrpcTarget(node.target, True)], 2.0)
    queries = ChainQueries(dead, channels=channels)
    assert queries.service("anvil").id == "anvil"
    started = time.monotonic()
    assert queries.service("anvil").id == "anvil"
    assert time.monotonic() - started < 0.5
    with pytest.raises(NodeUnavailable) as caught:
        ChainQueries(dead, insecure=True, timeout_s=1).service("anvil")
    assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_a_lagging_node_is_passed_over(node: GrpcNode) -> None:
    path = "/pocket.session.Query/GetSession"
    lag = "block height 9 is ahead of the last committed block height 8: error during session hydration"
    session = session_pb2.Session(session_id="s")
    with grpc_node() as behind:
        behind.answers[path] = (grpc.StatusCode.INTERNAL, lag)
        node.answers[path] = session_pb2.QueryGetSessionResponse(session=session).SerializeToString()
        queries = ChainQueries(behind.target, True, 2.0, [GrpcTarget(node.target, True)])
        assert queries.session("a", "s", 9).session_id == "s"
        node.answers[path] = (grpc.StatusCode.INTERNAL, lag)
        with pytest.raises(AheadOfNode):
            queries.session("a", "s", 9)


def test_a_node_well_behind_the_chain_is_left_for_one_that_is_not(node: GrpcNode) -> None:
    """It answers, with what was true long ago; that something is not there counts least of all."""
    found = service_pb2.QueryGetServiceResponse(service=shared_pb2.Service(id="new")).SerializeToString()
    with grpc_node() as behind:
        queries = ChainQueries(behind.target, True, 2.0, [GrpcTarget(node.target, True)])
        node.answers[SERVICE], node.height = found, 100
        for stale in (found, (grpc.StatusCode.NOT_FOUND, "no"), (grpc.StatusCode.UNKNOWN, "too early")):
            behind.answers[SERVICE], behind.height = stale, 98
            queries.channels = NodeChannels(queries.channels.targets, 2.0)
            queries.channels.expect(100)
            assert queries.service("new").id == "new"
            assert (len(behind.requests), len(node.requests)) == (1, 1)
            queries.service("new")
            assert (len(behind.requests), len(node.requests)) == (1, 2)  # avoided for a while
            behind.requests.clear()
            node.requests.clear()


def test_of_nodes_that_are_all_behind_the_newest_counts(node: GrpcNode) -> None:
    with grpc_node() as behind:
        behind.answers[SERVICE], behind.height = (grpc.StatusCode.NOT_FOUND, "no"), 90
        node.answers[SERVICE], node.height = (grpc.StatusCode.NOT_FOUND, "no"), 95
        queries = ChainQueries(node.target, True, 2.0, [GrpcTarget(behind.target, True)])
        queries.channels.expect(100)
        with pytest.raises(EntityNotFound) as absent:
            queries.service("x")
        assert absent.value.height == 95 and len(behind.requests) == 1
        queries.channels.expect(96)  # one block is no lag
        with pytest.raises(EntityNotFound):
            queries.service("x")
        assert len(behind.requests) == 1


def test_an_answer_that_stands_is_not_asked_elsewhere(node: GrpcNode) -> None:
    with grpc_node() as first:
        first.answers[SERVICE] = (grpc.StatusCode.NOT_FOUND, "no")
        node.answers[SERVICE] = b""
        queries = ChainQueries(first.target, True, 2.0, [GrpcTarget(node.target, True)])
        with pytest.raises(EntityNotFound):
            queries.service("x")
        assert node.requests == []


def test_channels_are_made_anew_after_a_fork(node: GrpcNode) -> None:
    """The channel object is per process: a child that never used gRPC in its parent opens its own."""
    node.answers[SERVICE] = b""
    channels = NodeChannels([GrpcTarget(node.target, True)], 2.0)
    queries = ChainQueries("unused", channels=channels)
    queries.service("a")
    first = channels._channel(0)
    assert channels._channel(0) is first
    channels._process_id = os.getpid() + 1  # as a child finds it
    assert channels._channel(0) is not first
    queries.service("a")
    first.close()
    channels.close()
    assert queries.service("a").id == ""  # close is not the end


UNDER_GEVENT = """
import sys
from gevent import monkey; monkey.patch_all()
import grpc.experimental.gevent as grpc_gevent; grpc_gevent.init_gevent()
import gevent
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
queries, node = ChainQueries(sys.argv[1], True, 5.0), CometNode(sys.argv[2])
jobs = [gevent.spawn(queries.service, "anvil") for _ in range(8)] + [gevent.spawn(node.block) for _ in range(8)]
ticks = []
ticker = gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(5)])
gevent.joinall(jobs + [ticker], raise_error=True)
print(jobs[0].value.id, jobs[-1].value.height, len(ticks))
"""


def test_queries_work_in_a_patched_process(node: GrpcNode) -> None:
    node.answers[SERVICE] = shared_answer("anvil")
    with rpc_node() as rpc:
        command = [sys.executable, "-c", UNDER_GEVENT, node.target, rpc.url]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"anvil", b"10", b"5"]


def shared_answer(service_id: str) -> bytes:
    service = shared_pb2.Service(id=service_id)
    return service_pb2.QueryGetServiceResponse(service=service).SerializeToString()


FORKING = """
import os, sys
from pocket_chain.queries import ChainQueries
queries = ChainQueries(sys.argv[1], True, 5.0)
children = []
for _ in range(2):
    if (child := os.fork()) == 0:
        os._exit(0 if queries.service("anvil").id == "anvil" else 1)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_each_forked_process_opens_its_own_channel(node: GrpcNode) -> None:
    node.answers[SERVICE] = shared_answer("anvil")
    done = subprocess.run(
        [sys.executable, "-c", FORKING, node.target], capture_output=True, timeout=60, check=True
    )
    assert done.stdout.strip() == b"[0, 0]"
