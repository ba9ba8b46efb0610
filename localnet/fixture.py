"""Facts of another chain, injected so that its recorded traffic can be replayed (decisions.md I)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pocket_protocol.errors import Malformed


class FixtureInvalid(Malformed):
    """A fixture file that cannot be used."""

    reason = "fixture_invalid"
    summary = "fixture cannot be used"


@dataclass(slots=True)
class Fixture:
    """Empty for a chain that stands on its own."""

    block_hashes: dict[int, bytes] = field(default_factory=dict)  # height -> 32 bytes
    block_times_ns: dict[int, int] = field(default_factory=dict)  # height -> nanoseconds since the epoch
    # (application address, service id, session start height) -> session id
    session_ids: dict[tuple[str, str, int], str] = field(default_factory=dict)
    proof_paths: dict[str, bytes] = field(default_factory=dict)  # session id -> 32 bytes

    def update(self, content: dict[str, Any]) -> None:
        """Take `blocks` ([{height, hash, time_ns}]) and `sessions` ([{application, service, start, session_id,
        proof_path}]); hashes and paths are hex. A proof path stands in for a seed block whose hash is not known.

        Raises `FixtureInvalid` and then changes nothing.
        """
        try:
            blocks = [
                (int(b["height"]), bytes.fromhex(b["hash"]) if "hash" in b else b"", b.get("time_ns"))
                for b in content.get("blocks", [])
            ]
            sessions = {
                (str(s["application"]), str(s["service"]), int(s["start"])): str(s["session_id"])
                for s in content.get("sessions", [])
            }
            paths = {
                str(s["session_id"]): bytes.fromhex(s["proof_path"])
                for s in content.get("sessions", [])
                if s.get("proof_path")
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FixtureInvalid(f"fixture cannot be used: {error!r}") from error
        if any(block_hash and len(block_hash) != 32 for _, block_hash, _ in blocks):
            raise FixtureInvalid("fixture cannot be used: a block hash is 32 bytes")
        self.block_hashes |= {height: block_hash for height, block_hash, _ in blocks if block_hash}
        self.block_times_ns |= {height: int(time) for height, _, time in blocks if time is not None}
        self.session_ids |= sessions
        self.proof_paths |= paths

    @classmethod
    def load(cls, path: Path) -> Fixture:
        """Read a YAML or JSON file of `update`'s shape. Raises `FixtureInvalid`, OSError."""
        fixture = cls()
        try:
            content = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise FixtureInvalid(f"{path}: {error}") from error
        if not isinstance(content, dict):
            raise FixtureInvalid(f"{path}: a mapping with blocks and sessions is needed")
        fixture.update(content)
        return fixture
