from collections.abc import Iterator

import pytest

from pocket_chain.queries import ChainQueries
from tests.unit.pocket_chain.fake_node import GrpcNode, grpc_node


@pytest.fixture
def node() -> Iterator[GrpcNode]:
    with grpc_node() as running:
        yield running


@pytest.fixture
def queries(node: GrpcNode) -> Iterator[ChainQueries]:
    asking = ChainQueries(node.target, insecure=True, timeout_s=3)
    yield asking
    asking.channels.close()
