"""`kill -9` in mid-session of every process there is, one after the other, under steady load (I1, I2, I4).

Each session has its own kill; the claims and proofs of the sessions before are on their way at the same time. In
the end, for every session of every supplier: each relay the gateway had an answer to is a leaf, nothing else is but
relays whose answer got lost, the claim counts exactly the leaves, its proof was accepted where one was required,
and it was settled for what was claimed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from localnet.default_genesis import Options, default_chain, write_default_chain
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import Windows
from relay_cli.demo.chain_watch import ChainWatch
from relay_cli.relay.client_keys import read_client_keys
from relay_cli.up.layout import SERVICES, Layout
from tests.integration.sender import curve
from tests.integration.session_books import Witness, problems_of
from tests.integration.stage import Deployment, deployment, wait_until
from tests.integration.steady_load import SteadyLoad

BLOCK_S = 0.5
SESSION_BLOCKS = 10
# 26 and 21 s; 15 are promised across one take-over (decisions.md E), and here a second one may follow the first.
CLAIM_WINDOW_BLOCKS, PROOF_WINDOW_BLOCKS = 52, 42
PARTS = ("store", "localnet", "backend", "miner", "beat", "relayer")
SUPPLIERS = ("supplier1", "supplier2")


def kill_supervised(name: str) -> Callable[[Deployment], None]:
    return lambda running: os.kill(running.process_id(name), signal.SIGKILL)


def kill_child(name: str, containing: str) -> Callable[[Deployment], None]:
    def kill(running: Deployment) -> None:
        children = wait_until(lambda: running.children_of(name, containing), f"a child of {name}")
        os.kill(children[0], signal.SIGKILL)

    return kill


def kill_twice(name: str) -> Callable[[Deployment], None]:
    """Once more as soon as it has been started again."""

    def kill(running: Deployment) -> None:
        first = running.process_id(name)
        os.kill(first, signal.SIGKILL)
        child = running.supervisor.child(name)
        os.kill(
            wait_until(lambda: child.process_id not in (None, first) and child.process_id, name),
            signal.SIGKILL,
        )

    return kill


@dataclass(frozen=True)
class Kill:
    """What is killed in a session, and how many blocks before its end.

    Seven before, the claims of the session before are being sent, and six before, the proofs of an older one.
    """

    name: str
    do: Callable[[Deployment], None]
    blocks_before_end: int = 5
    # Relays wait while the front end starts; answered too late, they are not mined (decisions.md C2).
    may_be_late: bool = False


KILLS = (
    Kill("a front-end worker", kill_child("relayer", "gunicorn")),
    Kill("the miner's parent", kill_supervised("miner"), 7),
    Kill("a miner's child", kill_child("miner", "celery"), 7),
    Kill("the store", kill_supervised("store"), 6),
    Kill("beat", kill_supervised("beat"), 7),
    Kill("the miner's parent twice", kill_twice("miner"), 6),
    # The last: a busy machine starts a front end in more than a session.
    Kill("the front end's master", kill_supervised("relayer"), may_be_late=True),
)
RESTARTED = {"miner": 3, "store": 1, "beat": 1, "relayer": 1}


def long_windows(layout: Layout) -> None:
    options = Options(
        num_suppliers=len(SUPPLIERS),
        services=SERVICES,
        num_blocks_per_session=SESSION_BLOCKS,
        claim_window_close_offset_blocks=CLAIM_WINDOW_BLOCKS,
        proof_window_close_offset_blocks=PROOF_WINDOW_BLOCKS,
    )
    chain = default_chain(curve(), options)
    for actor in ("application", "supplier", "gateway"):  # longer than the windows
        chain.document["params"]["shared"][f"{actor}_unbonding_period_sessions"] = CLAIM_WINDOW_BLOCKS
    write_default_chain(layout.directory, chain)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_books_close_whatever_is_killed(tmp_path: Path) -> None:
    with deployment(
        tmp_path, PARTS, prepare=long_windows, block_time_s=BLOCK_S, blocks_per_session=SESSION_BLOCKS
    ) as running:
        queries = ChainQueries(running.layout.ports.address("grpc"), insecure=True)
        params = SharedParams.from_proto(queries.shared_params())
        witness = Witness(running.store, running.keys)
        with ChainWatch(CometNode(running.layout.ports.url("rpc"))) as watch:
            load = SteadyLoad(
                queries,
                read_client_keys(running.layout.client_keys),
                curve(),
                [running.layout.ports.numbers["relayer"]],
                lambda: watch.height,
            )
            ends = [
                int(session_end(params, watch.height)) + SESSION_BLOCKS * n for n in range(1, len(KILLS) + 1)
            ]
            wait_until(lambda: watch.height > ends[0] - SESSION_BLOCKS, "the first session")
            heights = Heights(watch)
            with load:
                kill_in_each_session(running, heights, ends, witness)
                wait_until(
                    lambda: any(key[2] > ends[-1] for key in list(load.counted.answered)),
                    "the new front end",
                    30,
                )
            expected = {key for key in load.counted.answered if key[2] <= ends[-1]}
            settlement = Windows.of(params, ends[-1]).settlement

            def settled() -> bool:
                claims = watch.claims(ends)
                witness.read_leaves(claims)
                done = {claim.key for claim in claims if claim.settled_height or claim.failures}
                return done >= expected or watch.height > settlement + 4

            wait_until(settled, "the last settlement", 90)
            claims = watch.claims(ends)
        on_chain = {claim.key: claim for claim in claims}
        kills = dict(zip(ends, KILLS, strict=True))
        problems = [
            f"{kills[key[2]].name} killed, {key}: {text}"
            for key in sorted(expected)
            for text in problems_of(
                key,
                load.counted,
                on_chain.get(key),
                witness.leaves.get(key, set()),
                lambda at, end=key[2]: kills[end].may_be_late and heights.at(at) >= end,
            )
        ]
        assert not problems, "\n".join([*problems, *running.told, str(load.counted.refused)])
        assert len(expected) == len(KILLS) * len(SUPPLIERS) * len(SERVICES)
        assert running.supervisor.restarts == RESTARTED, running.told
        assert set(running.streams().values()) == {0}
        assert not list(running.store.client.scan_iter("*:dead"))


class Heights:
    """When the chain rose how far. Moments are monotonic."""

    def __init__(self, watch: ChainWatch) -> None:
        self.watch = watch
        self._seen: list[tuple[float, int]] = []

    def look(self) -> int:
        if not self._seen or self._seen[-1][1] < self.watch.height:
            self._seen.append((time.monotonic(), self.watch.height))
        return self.watch.height

    def at(self, moment: float) -> int:
        return next((height for since, height in reversed(self._seen) if since <= moment), 0)


def kill_in_each_session(running: Deployment, heights: Heights, ends: list[int], witness: Witness) -> None:
    def reached(height: int) -> bool:
        if running.is_store_up():
            witness.read_leaves(heights.watch.claims(ends))
        return heights.look() >= height

    for end, kill in zip(ends, KILLS, strict=True):
        wait_until(lambda at=end - kill.blocks_before_end: reached(at), f"the session that ends at {end}")
        kill.do(running)
    wait_until(lambda: reached(ends[-1] - 1), "the end of the last session")
