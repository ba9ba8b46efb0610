"""The chain's log: one JSON line per block, transaction and pocket event."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, TextIO

from localnet.blocks import Block, rfc3339
from localnet.chain import LocalChain
from localnet.execution import TxResult
from localnet.ledger import attributes_of


class Journal:
    """Writes to a file, or nowhere."""

    def __init__(self, chain: LocalChain, path: Path | None) -> None:
        """Append to `path`. Raises OSError."""
        self._file: TextIO | None = path.open("a", buffering=1) if path else None
        self._lock = threading.Lock()
        if self._file:
            chain.on_block.append(self._on_block)
            chain.on_transaction.append(self._on_transaction)

    def close(self) -> None:
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def write(self, kind: str, **fields: Any) -> None:
        with self._lock:
            if self._file:
                self._file.write(json.dumps({"kind": kind, **fields}, separators=(",", ":")) + "\n")

    def _on_block(self, block: Block) -> None:
        self.write(
            "block",
            height=block.height,
            hash=block.id.hash.hex(),
            time=rfc3339(block.time_ns),
            txs=len(block.txs),
        )
        for result in block.results:
            for event in result.events:
                self._event(block.height, event)
        for event in block.events:
            self._event(block.height, event)

    def _event(self, height: int, event: Any) -> None:
        if event.type.startswith("pocket."):
            self.write("event", height=height, type=event.type, attributes=attributes_of(event))

    def _on_transaction(self, phase: str, tx_hash: str, result: TxResult, height: int) -> None:
        self.write(
            "tx",
            phase=phase,
            hash=tx_hash,
            height=height,
            code=result.code,
            codespace=result.codespace,
            log=result.log,
            gas_used=result.gas_used,
        )
