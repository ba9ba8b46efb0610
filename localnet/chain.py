"""The chain: a mempool, blocks, and the committed states of the latest of them.

One lock guards what changes it. Reads take a context over a committed state, which never changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from google.protobuf.message import Message

from localnet import context as contexts
from localnet.ante import Mode
from localnet.block_start import begin_block
from localnet.blocks import EMPTY_HASH, NO_BLOCK, Block, BlockId, Header, merkle_root
from localnet.context import Context
from localnet.events import Event
from localnet.execution import TxResult, run_transaction
from localnet.fixture import Fixture
from localnet.genesis import Genesis
from localnet.mining_difficulty import update_difficulties
from localnet.proof_judgement import judge_proofs
from localnet.registered_errors import MEMPOOL_IS_FULL, TX_IN_MEMPOOL_CACHE
from localnet.settling import settle_claims
from localnet.staking import end_block_of_applications, end_block_of_suppliers
from localnet.state import DIGEST, PARAMS, SHARED_HISTORY, State, Tables
from localnet.validator import Validator
from pocket_protocol.curve import Curve
from pocket_protocol.tx import tx_hash
from pocket_protocol.wire import encode

KEPT_STATES: Final = 64  # how far a lagging node can be behind
KEPT_BLOCKS: Final = 5_000  # with transactions and events
MEMPOOL_SIZE: Final = 5_000
_CONSENSUS_HASH = sha256(b"localnet consensus params").digest()

OnBlock = Callable[[Block], None]
OnTransaction = Callable[[str, str, TxResult, int], None]


class NoSuchHeight(Exception):
    """A height whose block or state is not held."""


@dataclass(slots=True)
class _Mempool:
    waiting: dict[str, bytes] = field(default_factory=dict)  # tx hash -> bytes, in order of arrival
    committed: dict[str, int] = field(default_factory=dict)  # tx hash -> height; successful ones only


class LocalChain:
    """A Pocket chain with one validator.

    `now_ns` is the clock of block times; `fixture` holds facts of another chain. Nothing happens by itself:
    `step` makes blocks.
    """

    def __init__(
        self,
        genesis: Genesis,
        curve: Curve,
        *,
        fixture: Fixture | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        minimum_gas_price_upokt: float = 0.0,
    ) -> None:
        self.genesis, self.curve, self.now_ns = genesis, curve, now_ns
        self.fixture = fixture or Fixture()
        self.minimum_gas_price_upokt = minimum_gas_price_upokt
        self.clock_offset_ns = 0
        self.lock = threading.RLock()
        self.on_block: list[OnBlock] = []
        self.on_transaction: list[OnTransaction] = []
        self.held = False  # transactions wait in the mempool
        self._facts = contexts.Chain(genesis.chain_id, curve, self.fixture, self.block_hash)
        self._mempool = _Mempool()
        self._blocks: dict[int, Block] = {}
        self._ids: dict[int, tuple[BlockId, int]] = {}  # height -> (id, time in ns), of all blocks
        self._tx_heights: dict[str, int] = {}
        self._tables: dict[int, Tables] = {0: genesis.tables()}
        self._height = 0
        self._check_state = State(self._tables[0])

    # --- position and history -------------------------------------------------------------------

    @property
    def height(self) -> int:
        """The last committed block, 0 before the first."""
        return self._height

    @property
    def validator(self) -> Validator:
        validator: Validator = self._tables[self._height][PARAMS]["validator"]
        return validator

    def block(self, height: int) -> Block:
        """Return a block. Raises `NoSuchHeight`."""
        try:
            return self._blocks[height]
        except KeyError as error:
            raise NoSuchHeight(height) from error

    @property
    def earliest(self) -> int:
        """The first block that is still held."""
        return next(iter(self._blocks), 0)

    def block_hash(self, height: int) -> bytes:
        """Return the hash of a block, b"" when there is none; an injected one wins."""
        injected = self.fixture.block_hashes.get(height)
        if injected:
            return injected
        known = self._ids.get(height)
        return known[0].hash if known else b""

    def find_transaction(self, wanted: str) -> tuple[Block, int] | None:
        """Return the block and the position of a transaction by its upper-case hash."""
        height = self._tx_heights.get(wanted)
        block = self._blocks.get(height) if height is not None else None
        return (block, block.tx_index(wanted)) if block else None

    def find_transactions(self, matches: Callable[[TxResult], bool]) -> list[tuple[Block, int]]:
        """Return all held transactions whose result `matches`, oldest first."""
        with self.lock:
            blocks = list(self._blocks.values())
        return [(b, i) for b in blocks for i, result in enumerate(b.results) if matches(result)]

    def at(self, height: int | None = None) -> Context:
        """Return a context for reading the state after block `height`, the last one by default.

        What is written on it is lost. Raises `NoSuchHeight` for a state that is not held.
        """
        height = self._height if height is None else height
        committed = self._tables.get(height)  # without the lock: a block that is being made hides nothing
        if committed is None:
            raise NoSuchHeight(height)
        return Context(self._facts, State(committed), height, self.time_ns(height))

    def time_ns(self, height: int) -> int:
        """Return the time of a block, the clock's before the first."""
        known = self._ids.get(height)
        return known[1] if known else self.now_ns()

    # --- transactions ---------------------------------------------------------------------------

    def broadcast(self, tx_bytes: bytes, height: int | None = None) -> TxResult:
        """Check a transaction and put it into the mempool; return CheckTx's answer.

        `height` is that of the answering node when it lags. Code 19 is for bytes already known.
        """
        wanted = tx_hash(tx_bytes)
        with self.lock:
            if wanted in self._mempool.waiting or wanted in self._mempool.committed:
                return TxResult(TX_IN_MEMPOOL_CACHE.code, TX_IN_MEMPOOL_CACHE.codespace)
            if len(self._mempool.waiting) >= MEMPOOL_SIZE:
                return TxResult(MEMPOOL_IS_FULL.code, MEMPOOL_IS_FULL.codespace, MEMPOOL_IS_FULL.text)
            at = self._height if height is None else height
            checking = Context(self._facts, self._check_state, at, self.time_ns(at))
            result = run_transaction(checking, tx_bytes, Mode.CHECK, self.minimum_gas_price_upokt)
            if result.code == 0:
                self._mempool.waiting[wanted] = tx_bytes
            for listener in self.on_transaction:
                listener("check", wanted, result, at)
            return result

    def simulate(self, tx_bytes: bytes, height: int | None = None) -> TxResult:
        """Run a transaction on the last committed state and height; nothing of it stays."""
        return run_transaction(self.at(height), tx_bytes, Mode.SIMULATE)

    @property
    def waiting(self) -> list[str]:
        """Hashes of the transactions in the mempool."""
        with self.lock:
            return list(self._mempool.waiting)

    def drop_waiting(self) -> int:
        """Lose the mempool, cache included, as a restarted node does; return how many were lost."""
        with self.lock:
            lost = len(self._mempool.waiting)
            self._mempool = _Mempool()
            self._check_state = State(self._tables[self._height])
            return lost

    # --- blocks ---------------------------------------------------------------------------------

    def step(self, blocks: int = 1) -> Block:
        """Make blocks and return the last one."""
        if blocks < 1:
            raise ValueError("at least one block")
        for _ in range(blocks):
            with self.lock:
                block = self._make_block()
            for listener in list(self.on_block):
                listener(block)
        return block

    def jump_to(self, height: int) -> None:
        """Continue as if block `height` had been made from the present state, the blocks between unknown."""
        with self.lock:
            if height < self._height:
                raise ValueError("the chain only rises")
            block_id = BlockId(
                self.fixture.block_hashes.get(height) or sha256(b"%d" % height).digest(), b"\0" * 32
            )
            header = self._header(height, (), self._tables[self._height])
            self._commit(Block(block_id, header), dict(self._tables[self._height]))

    def change(self, edit: Callable[[Context], None]) -> None:
        """Change the committed state between two blocks, as a governance or staking transaction would.

        `edit` sees the height of the next block.
        """
        with self.lock:
            layer = State(self._tables[self._height])
            edit(Context(self._facts, layer, self._height + 1, self.time_ns(self._height)))
            self._tables[self._height] = layer.tables()
            self._check_state = State(self._tables[self._height])

    def _next_time_ns(self, height: int) -> int:
        injected = self.fixture.block_times_ns.get(height)
        if injected is not None:
            return injected
        last = self._ids[self._height][1] if self._height in self._ids else 0
        return max(self.now_ns() + self.clock_offset_ns, last + 1)

    def _header(self, height: int, txs: tuple[bytes, ...], before: Tables) -> Header:
        last_id = self._ids[self._height][0] if self._height in self._ids else NO_BLOCK
        last = self._blocks.get(self._height)
        results = [b"%d" % result.code + result.data for result in last.results] if last else []
        validator: Validator = before[PARAMS]["validator"]
        return Header(
            chain_id=self.genesis.chain_id,
            height=height,
            time_ns=self._next_time_ns(height),
            last_block_id=last_id,
            last_commit_hash=sha256(b"commit" + last_id.hash).digest() if last_id.hash else EMPTY_HASH,
            data_hash=merkle_root([sha256(tx).digest() for tx in txs]),
            validators_hash=sha256(validator.consensus_key).digest(),
            consensus_hash=_CONSENSUS_HASH,
            app_hash=before.get(DIGEST, {}).get("", EMPTY_HASH),
            last_results_hash=merkle_root(results),
            proposer_address=validator.consensus_address,
        )

    def _make_block(self) -> Block:
        height, before = self._height + 1, self._tables[self._height]
        waiting = {} if self.held else self._mempool.waiting
        txs = tuple(waiting.values())
        header = self._header(height, txs, before)
        # the hash of this block is known to nothing inside it
        context = Context(self._facts, State(before), height, header.time_ns)
        begin_block(context)
        begun = _with_mode(context.events, "BeginBlock")
        context.events = []
        results = [run_transaction(context, tx, Mode.DELIVER) for tx in txs]
        context.events = []
        _end_block(context)
        ended = _with_mode(context.events, "EndBlock")
        digest = _digest(context.state, before)
        context.state.put(DIGEST, "", digest)
        own_hash = header.hash()
        block_id = BlockId(self.fixture.block_hashes.get(height) or own_hash, sha256(own_hash).digest())
        block = Block(block_id, header, txs, tuple(results), (*begun, *ended), digest)
        self._settle_mempool(waiting, results, height)
        self._commit(block, context.state.tables())
        for tx, result in zip(txs, results, strict=True):
            for listener in self.on_transaction:
                listener("deliver", tx_hash(tx), result, height)
        return block

    def _settle_mempool(self, waiting: Mapping[str, bytes], results: list[TxResult], height: int) -> None:
        """Drop what is in the block; only what succeeded stays in the cache of known bytes."""
        for wanted, result in zip(list(waiting), results, strict=True):
            del self._mempool.waiting[wanted]
            self._tx_heights[wanted] = height
            if result.code == 0:
                self._mempool.committed[wanted] = height

    def _commit(self, block: Block, after: Tables) -> None:
        self._blocks[block.height] = block
        self._ids[block.height] = (block.id, block.time_ns)
        self._tables[block.height] = after
        self._height = block.height  # last: readers go by it
        self._check_state = State(after)
        for wanted, tx in list(self._mempool.waiting.items()):  # what was held back is checked again
            again = Context(self._facts, self._check_state, block.height, block.time_ns)
            if run_transaction(again, tx, Mode.CHECK).code:
                del self._mempool.waiting[wanted]
        for held, limit in ((self._tables, KEPT_STATES), (self._blocks, KEPT_BLOCKS)):
            while len(held) > limit:
                del held[next(iter(held))]


def _end_block(context: Context) -> None:
    """The modules' end of block in the network's order (spec/chain.md §6.4)."""
    judge_proofs(context)
    update_difficulties(context, settle_claims(context))
    end_block_of_applications(context)
    end_block_of_suppliers(context)
    history = context.shared_history.promoted(context.height)
    if history is not context.shared_history:
        context.state.put(SHARED_HISTORY, "", history)
        context.state.put(PARAMS, "shared", history.live.to_proto())


def _with_mode(events: list[Event], mode: str) -> tuple[Event, ...]:
    return tuple(event.with_attribute("mode", mode) for event in events)


def _digest(written: State, before: Tables) -> bytes:
    """Return the digest of the state: that of the state before, and of each write since."""
    digest = sha256(before.get(DIGEST, {}).get("", b""))
    for table in sorted(written.writes):
        for key in sorted(written.writes[table]):
            value = written.writes[table][key]
            text = encode(value) if isinstance(value, Message) else repr(value).encode()
            digest.update(repr((table, key)).encode() + text)
    return digest.digest()
