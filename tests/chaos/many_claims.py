"""Hundreds of suppliers whose claim windows open at the same block: all claims and proofs in time (users.md A5)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from localnet.default_genesis import Options
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import Windows
from relay_cli.demo.chain_watch import ChainWatch, ClaimOnChain
from tests.chaos.scale import Scale, Tell, Usage, await_owned, load_average, scaled
from tests.integration.sender import address
from tests.integration.stage import Deployment, wait_until
from tests.miners import relay_entries
from tests.unit.localnet.chains import World

APP, SERVICE = "app1", "develop-http"
ENTRIES_PER_PIPELINE = 500
BLOCK_S, SESSION_BLOCKS, WINDOW_BLOCKS = 2.0, 30, 30


def many_claims(directory: Path, suppliers: int, relays: int, tell: Tell) -> bool:
    """Give each supplier `relays` relays of one session; return whether all of it was claimed, proved and paid."""
    scale = Scale(suppliers, BLOCK_S, SESSION_BLOCKS, WINDOW_BLOCKS)
    tell(f"{suppliers} suppliers with {relays} relays each, load average {load_average()}")
    with scaled(directory, scale) as running:
        addresses = [address(f"supplier{number}") for number in range(1, suppliers + 1)]
        tell(f"all owned after {await_owned(running, addresses, 300):.1f} s")
        with ChainWatch(CometNode(running.layout.ports.url("rpc"))) as watch:
            return _Claims(running, watch, scale, relays, tell).run()


class _Claims:
    def __init__(self, running: Deployment, watch: ChainWatch, scale: Scale, relays: int, tell: Tell) -> None:
        self._running, self._watch, self._scale = running, watch, scale
        self._relays, self._tell = relays, tell
        queries = ChainQueries(running.layout.ports.address("grpc"), insecure=True)
        self._queries = queries
        self._params = SharedParams.from_proto(queries.shared_params())
        end = int(session_end(self._params, watch.height))
        if end - watch.height < scale.session_blocks // 2:  # time to sign and write them all
            wait_until(lambda: watch.height > end, "the next session", 2 * scale.session_blocks)
            end += scale.session_blocks
        self._end = end
        self._windows = Windows.of(self._params, end)  # type: ignore[arg-type]

    def run(self) -> bool:
        self._write_relays()
        windows, block_s = self._windows, self._scale.block_s
        patience_s = self._scale.session_blocks * block_s + 60
        wait_until(lambda: self._watch.height >= windows.claim_open, "the claim window", patience_s)
        claims_use = Usage(self._running)
        claimed = self._await("claimed", lambda claim: claim.created_height > 0, windows.claim_close)
        self._say("claims", claimed, claims_use, windows.claim_open)
        wait_until(lambda: self._watch.height >= windows.proof_open, "the proof window", 2 * patience_s)
        proofs_use = Usage(self._running)
        proved = self._await("proved", lambda claim: claim.proof_valid, windows.proof_close)
        self._say("proofs", proved, proofs_use, windows.proof_open)
        settled = self._await("settled", lambda claim: claim.settled_height > 0, windows.settlement + 2)
        paid = sum(claim.settled_relays for claim in self._claims())
        wanted = self._scale.suppliers * self._relays
        self._tell(f"settled {settled} claims, {paid} of {wanted} relays")
        return claimed == proved == settled == self._scale.suppliers and paid == wanted

    def _claims(self) -> list[ClaimOnChain]:
        return self._watch.claims([self._end])

    def _await(self, what: str, done: object, last_height: int) -> int:
        def count() -> int:
            return sum(bool(done(claim)) for claim in self._claims())  # type: ignore[operator]

        seconds = (last_height - self._watch.height + 2) * self._scale.block_s * 3 + 30
        wait_until(
            lambda: count() == self._scale.suppliers or self._watch.height > last_height, what, seconds
        )
        return count()

    def _write_relays(self) -> None:
        running, client = self._running, self._running.store.client
        header = self._queries.session(
            address(APP),
            SERVICE,
            self._watch.height,  # type: ignore[arg-type]
        ).header
        world = World(Options(num_suppliers=self._scale.suppliers))  # for its keys
        pipeline = client.pipeline(transaction=False)
        for number in range(1, self._scale.suppliers + 1):
            role = f"supplier{number}"
            for entry in relay_entries(world, header, range(self._relays), app=APP, supplier=role):
                pipeline.xadd(running.keys.relay_stream(address(role)), {"data": entry})
            if len(pipeline) >= ENTRIES_PER_PIPELINE:
                pipeline.execute()
        pipeline.execute()
        assert self._watch.height < self._end, "writing the relays took longer than the session"
        self._tell(f"relays written at block {self._watch.height} of a session that ends at {self._end}")

    def _say(self, what: str, number: int, use: Usage, opened: int) -> None:
        blocks = Counter(
            entry["height"] - opened
            for entry in map(json.loads, (self._running.layout.directory / "journal.jsonl").open())
            if entry["kind"] == "event"
            and entry["type"]
            == f"pocket.proof.Event{'ClaimCreated' if what == 'claims' else 'ProofSubmitted'}"
        )
        cpu = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in use.cpu_s().most_common())
        first, last = (min(blocks), max(blocks)) if blocks else (0, 0)
        self._tell(
            f"{what}: {number} of {self._scale.suppliers}, in blocks {first} to {last} after the window's opening,"
            f" {use.seconds:.0f} s; CPU {cpu}; load average {load_average()}"
        )
