"""One chain shown by several nodes, each with faults of its own: `python -m tests.chaos.chain_process GENESIS BLOCK_S JOURNAL GRPC,RPC,ADMIN…`.

The first node makes the blocks and keeps the journal. Real deployments have more than one node, and who watches the
run needs one that is always well.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from localnet.chain import LocalChain
from localnet.genesis import load_genesis
from localnet.node import Addresses, LocalNode
from pocket_protocol.curve import load_curve


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM."""
    genesis, block_s, journal, *nodes = arguments
    curve = load_curve()
    chain = LocalChain(load_genesis(Path(genesis), curve), curve)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with ExitStack() as running:
        for number, addresses in enumerate(nodes):
            first = number == 0
            running.enter_context(
                LocalNode(
                    chain,
                    Addresses(*addresses.split(",")),
                    block_time_s=float(block_s) if first else 0.0,
                    journal=Path(journal) if first else None,
                )
            )
        stopping.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
