"""The chain's own account of a run, from the journal it writes: every transaction and every event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocket_protocol.windows import Windows

CREATED, UPDATED = "pocket.proof.EventClaimCreated", "pocket.proof.EventClaimUpdated"
SUBMITTED, PROVED_AGAIN = "pocket.proof.EventProofSubmitted", "pocket.proof.EventProofUpdated"


@dataclass
class ChainJournal:
    """Counts of events by type, failed transactions by their text, and messages outside their windows."""

    events: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    broadcast: int = 0
    outside: list[str] = field(default_factory=list)
    claim_blocks: Counter[int] = field(default_factory=Counter)  # blocks after the window's opening -> claims
    proof_blocks: Counter[int] = field(default_factory=Counter)

    def read(self, path: Path, windows_of: Callable[[int], Windows]) -> ChainJournal:
        """Take in a whole journal; return this."""
        with path.open() as lines:
            for line in lines:
                entry = json.loads(line)
                if entry["kind"] == "tx":
                    self._transaction(entry)
                elif entry["kind"] == "event":
                    self._event(entry, windows_of)
        return self

    def _transaction(self, entry: dict[str, Any]) -> None:
        if entry["phase"] == "check":
            self.broadcast += 1
            return
        self.delivered += 1
        if entry["code"]:
            self.failed[f"{entry['codespace']}/{entry['code']}: {entry['log'][:120]}"] += 1

    def _event(self, entry: dict[str, Any], windows_of: Callable[[int], Windows]) -> None:
        self.events[entry["type"]] += 1
        if entry["type"] not in (CREATED, UPDATED, SUBMITTED, PROVED_AGAIN):
            return
        windows = windows_of(int(entry["attributes"]["session_end_block_height"]))
        is_claim = entry["type"] in (CREATED, UPDATED)
        opens = windows.claim_open if is_claim else windows.proof_open
        closes = windows.claim_close if is_claim else windows.proof_close
        height = entry["height"]
        if not opens <= height <= closes:
            self.outside.append(f"{entry['type']} at {height}, window {opens} to {closes}")
        if entry["type"] == CREATED:
            self.claim_blocks[height - opens] += 1
        if entry["type"] == SUBMITTED:
            self.proof_blocks[height - opens] += 1
