"""What a front-end process meets outside of Redis: the node, the broker, the suppliers' keys, the curve."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from operations.broker import broker_of
from pocket_chain.facts import ChainReads
from pocket_chain.keyring import Keyring
from pocket_chain.node import CometNode
from pocket_chain.node_errors import NodeUnavailable
from pocket_chain.queries import ChainQueries
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import BlockPosition
from relayer_web.config import RelayerConfig
from relayer_web.publisher import TaskSender
from relayer_web.task_sender import task_sender

SigningKeys = Mapping[Any, PrivateKey]  # by supplier operator address

PATIENCE_S: Final = 0.5

log = structlog.get_logger("relayer")


@dataclass
class Outside:
    """What a runtime meets outside of Redis; tests put their own in place."""

    chain: ChainReads
    ask_node: Callable[[], BlockPosition]
    sender: TaskSender
    signing_keys: Callable[[], SigningKeys]
    poll_keys: Callable[[], None]
    curve: Curve
    expect_height: Callable[[int], None] = lambda height: None  # so that nodes that are behind are left
    key_errors: Callable[[], int] = lambda: 0  # key sources that could not be read, so far


def outside_of(config: RelayerConfig) -> Outside:
    """The configured node, broker, keys and curve. Raises `KeysInvalid`, `NoCurve`."""
    extensions, node = config.extensions, config.pocket_node
    table_bytes = extensions.curve_table_memory_mb << 20 if extensions.curve_tables else 0
    curve = load_curve(extensions.allow_slow_python_crypto, table_bytes, extensions.curve_table_after_relays)
    curve.randomize(secrets.token_bytes(32))
    keyring = Keyring(config.keys, curve) if config.keys.has_source or config.keys.keyring.backend else None
    nodes = [
        CometNode(one.rpc_url, node.query_timeout_seconds, node.chain_id)
        for one in (node, *extensions.fallback_nodes)
    ]
    queries = ChainQueries.of(node, extensions.fallback_nodes)
    return Outside(
        chain=queries,
        ask_node=lambda: newest_position(nodes),
        sender=task_sender(broker_of(config.redis, extensions)),
        signing_keys=lambda: keyring.keys if keyring is not None else {},
        poll_keys=lambda: _poll(keyring),
        curve=curve,
        expect_height=queries.channels.expect,
        key_errors=lambda: keyring.errors if keyring is not None else 0,
    )


def newest_position(nodes: Sequence[CometNode]) -> BlockPosition:
    """Return the highest of what the nodes say, asked at once: one that answers may be behind, one may hang.

    After the first answer the others have `PATIENCE_S`. Raises `NodeUnavailable` when none answers.
    """
    answers: queue.Queue[BlockPosition | NodeUnavailable] = queue.Queue()

    def ask(node: CometNode) -> None:
        try:
            answers.put(node.status().position)
        except NodeUnavailable as error:
            answers.put(error)

    for node in nodes:
        threading.Thread(target=ask, args=(node,), daemon=True).start()
    newest: BlockPosition | None = None
    failure: NodeUnavailable | None = None
    for _ in nodes:
        try:
            answer = answers.get(timeout=None if newest is None else PATIENCE_S)
        except queue.Empty:
            break
        if isinstance(answer, NodeUnavailable):
            failure = answer
        elif newest is None or answer.height > newest.height:
            newest = answer
    if newest is None:
        raise failure or NodeUnavailable(text="no node is configured")
    return newest


def _poll(keyring: Keyring | None) -> None:
    change = keyring.poll() if keyring is not None else None
    if change is not None:
        log.info("supplier keys changed", added=sorted(change.added), removed=sorted(change.removed))
