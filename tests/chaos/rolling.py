"""Relayers are replaced one after the other, again and again, while sessions go by (docs/rolling-restart.md)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mining_tasks.ledger import grand_total, read_ledger
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import Windows
from relay_cli.demo.chain_watch import ChainWatch
from tests.bench.machine import conditions
from tests.bench.page import conditions_section, table
from tests.chaos.scale import Scale, Tell
from tests.integration.mixed_load import SERVICE, SUPPLIERS, TRANSPORTS, MixedLoad
from tests.integration.relayers import Relayers
from tests.integration.sender import Sender, address
from tests.integration.session_books import Witness, problems_of
from tests.integration.stage import Deployment, deployment, wait_until

PARTS = ("store", "localnet", "backend", "miner", "beat", "relayer")
RELAYERS = 3
BLOCK_S, SESSION_BLOCKS, WINDOW_BLOCKS = 0.5, 20, 40
SETTLE_BLOCKS = 20
SPARE_SESSIONS = 40  # on a slow machine the restarts take longer than the sessions asked for
ROUNDS = 2  # at least: each relayer is replaced so often
BETWEEN_S = 1.0  # every relayer serves, before the next is replaced

PAGE = """# Restarting relayers

Written by `python -m tests.chaos --scenario rolling-restart --date YYYY-MM-DD --output docs/rolling-restart.md`.

{relayers} relayers of two front-end processes each, in front of one miner node, a local chain and a test backend, all on the
same cores. Gateways keep asking over every transport and know all relayers: what one does not take is signed anew and sent to
the next. Relayers are told to end (SIGTERM) and replaced one after the other, all the time, over at least {sessions} sessions.
In the end, for each session of each supplier: the relays that gateways had an answer to are the leaves of the tree, no more
and no less, and the claim on the chain counts them and was settled.

{conditions}
## Relays

{relays}
The longest time is from a gateway's first try to its answer.

## Refusals

What gateways were told instead of being served; each then asked another relayer.

{refusals}
{verdict}
"""


@dataclass
class Rolled:
    """What a run came to."""

    sessions: int
    restarts_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    appended: int = 0
    duplicates: int = 0
    problems: list[str] = field(default_factory=list)


def rolling_restart(directory: Path, sessions: int, date: str, output: Path | None, tell: Tell) -> bool:
    """Return whether no relay was lost and nothing undocumented was said."""
    scale = Scale(len(SUPPLIERS), BLOCK_S, SESSION_BLOCKS, WINDOW_BLOCKS)
    relayers = Relayers(RELAYERS)
    with (
        deployment(
            directory,
            PARTS,
            more=relayers.specs,
            roles=relayers.roles,
            prepare=scale.write,
            suppliers=scale.suppliers,
            block_time_s=BLOCK_S,
            blocks_per_session=SESSION_BLOCKS,
            front_end_workers=2,
        ) as running,
        ChainWatch(CometNode(running.layout.ports.url("rpc"))) as watch,
    ):
        before = conditions_section(conditions(date))
        load, rolled = _roll(running, watch, relayers, sessions, tell)
        page = _page(load, rolled, before)
    tell(page)
    if output is not None:
        output.write_text(page)
    return not rolled.problems


def _roll(
    running: Deployment, watch: ChainWatch, relayers: Relayers, sessions: int, tell: Tell
) -> tuple[MixedLoad, Rolled]:
    grpc = running.layout.ports.address("grpc")
    params = SharedParams.from_proto(ChainQueries(grpc, insecure=True).shared_params())
    rolled, witness = Rolled(sessions), Witness(running.store, running.keys)
    first = int(session_end(params, watch.height)) + SESSION_BLOCKS
    last = first + SESSION_BLOCKS * (sessions - 1)
    ends = range(first, last + SPARE_SESSIONS * SESSION_BLOCKS, SESSION_BLOCKS)
    load = MixedLoad(
        Sender(grpc, [SERVICE], watch.height),
        relayers.addresses(running),
        lambda: watch.height,
        lambda end: int(Windows.of(params, end).claim_open) - 1,  # type: ignore[arg-type]
    )

    def reached(height: int) -> bool:
        witness.read_leaves(watch.claims(ends))
        return watch.height >= height

    wait_until(lambda: reached(first - SESSION_BLOCKS + 1), "the first session", 60)
    started = time.monotonic()
    with load:
        for name in itertools.cycle(relayers.names):
            began = time.monotonic()
            relayers.replace(running, name)
            rolled.restarts_s.append(time.monotonic() - began)
            tell(f"height {watch.height}: {name} replaced; {load.answered} relays answered")
            if reached(last - 1) and len(rolled.restarts_s) >= ROUNDS * RELAYERS:
                break
            wait_until(lambda at=time.monotonic() + BETWEEN_S: time.monotonic() > at, "the next")
    rolled.seconds = time.monotonic() - started
    settlement = Windows.of(params, max(key[2] for key in load.counted.answered)).settlement  # type: ignore[arg-type]
    wait_until(lambda: reached(settlement + SETTLE_BLOCKS), "the last settlement", 300)
    rolled.problems = load.problems() + _books(running, watch, load, witness, ends, rolled)
    return load, rolled


def _books(
    running: Deployment,
    watch: ChainWatch,
    load: MixedLoad,
    witness: Witness,
    ends: Sequence[int],
    rolled: Rolled,
) -> list[str]:
    claims = {claim.key: claim for claim in watch.claims(ends)}
    counted = load.counted
    found = [
        f"{key}: {problem}"
        for key in sorted(counted.answered)
        for problem in problems_of(key, counted, claims.get(key), witness.leaves.get(key, set()))
    ]
    ledgers = [read_ledger(running.store, running.keys, address(role)) for role in SUPPLIERS]
    found += [problem for ledger in ledgers for problem in ledger.problems()]
    total = grand_total(ledgers)
    rolled.appended, rolled.duplicates = total["wal"], total["duplicates"]
    if not load.answered - load.late <= rolled.appended <= load.answered or rolled.duplicates:
        found.append(
            f"{rolled.appended} relays appended, {rolled.duplicates} twice, {load.answered} answered"
        )
    return found


def _page(load: MixedLoad, rolled: Rolled, before: str) -> str:
    relays = [
        [name, f"{load.by_transport[name]:,}", f"{1000 * load.longest_s[name]:.0f}"] for name in TRANSPORTS
    ]
    refusals = [
        [f"{transport}: {kind}", str(count)] for (transport, kind), count in sorted(load.refused.items())
    ]
    times = sorted(rolled.restarts_s)
    verdict = (
        f"{len(times)} restarts in {rolled.seconds:.0f} s, each {times[0]:.1f} to {times[-1]:.1f} s from SIGTERM until another"
        f" was ready.\n{load.answered:,} relays answered ({load.late} of them too late to be mined for certain), {rolled.appended:,} appended, {rolled.duplicates} twice;"
        f" lost: {len(load.broken)}.\n"
    )
    verdict += "".join(f"\nPROBLEM {problem}\n" for problem in rolled.problems) or "\nThe books close.\n"
    return PAGE.format(
        relayers=RELAYERS,
        sessions=rolled.sessions,
        conditions=before,
        relays=table(["", "answered", "longest ms"], relays),
        refusals=table(["", "times"], refusals),
        verdict=verdict,
    )
