"""How asking a node can fail.

    Refused      EntityNotFound      the node says there is no such thing (gRPC NotFound, and nothing else)
    Unavailable  NodeUnavailable     no answer that decides anything; `code` and `text` say why
                   +-- AheadOfNode         asked for a block the node has not committed yet
                   +-- BlockPruned         asked for a block the node no longer has
                   +-- MethodUnimplemented the node is older than the query
                   +-- NodeAnswerUnreadable the answer is not what the network's nodes answer
                   +-- WrongChain          the node is on another network

An address in these errors never shows a password or a query string.
"""

from __future__ import annotations

from pocket_protocol.errors import Refused, Unavailable
from pocket_protocol.types import Height


class EntityNotFound(Refused):
    """The chain has no such entity at the state of the node that answered; `height` is that state's, 0 unknown."""

    reason = "entity_not_found"
    summary = "not found on the chain"
    height: Height = Height(0)


class NodeUnavailable(Unavailable):
    """The node did not give an answer that decides anything. `code`: gRPC status name, or `TRANSPORT`."""

    reason = "node_unavailable"
    summary = "node did not answer"
    code: str = ""
    text: str = ""
    height: Height = Height(0)


class AheadOfNode(NodeUnavailable):
    """The height asked for is above the node's; `node_height` is the node's own, 0 when it did not say."""

    reason = "ahead_of_node"
    summary = "the node has not committed this height yet"
    node_height: Height = Height(0)


class BlockPruned(NodeUnavailable):
    """The node no longer has the block; `lowest_height` is the first it has, 0 when it did not say."""

    reason = "block_pruned"
    summary = "the node no longer has this block"
    lowest_height: Height = Height(0)


class MethodUnimplemented(NodeUnavailable):
    """The node does not know the query: it runs an older version."""

    reason = "method_unimplemented"
    summary = "the node is too old for this query"


class NodeAnswerUnreadable(NodeUnavailable):
    """The answer cannot be read, is too large, or is about something else than asked."""

    reason = "node_answer_unreadable"
    summary = "the node's answer cannot be read"


class WrongChain(NodeUnavailable):
    """The node's network is not the configured one."""

    reason = "wrong_chain"
    summary = "the node is on another network"
