"""The last block every process of a deployment has heard of (decisions A, D9; spec/relayer.md §5.4).

`pm:height` is a hash {height, hash, time, chain_id, seen_ms}: it only rises, except for another chain id.
Each rise is published on `ha:events:blocks` in the reference's payload, so that readers of both kinds
understand both kinds of writers. A reader that missed messages reads the hash again.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pocket_protocol.errors import Malformed, PocketError
from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store.store_errors import store_errors

# KEYS: pm:height. ARGV: height, hash (hex), time (ns), chain id. Returns 1 when the block was taken.
# A full store refuses what could need memory, but not after a write that cannot: so HDEL comes first.
_RAISE: Final = """
local known = redis.call('HMGET', KEYS[1], 'height', 'chain_id')
if known[1] and known[2] == ARGV[4] and tonumber(known[1]) >= tonumber(ARGV[1]) then return 0 end
local now = redis.call('TIME')
redis.call('HDEL', KEYS[1], 'seen_ms')
redis.call('HSET', KEYS[1], 'height', ARGV[1], 'hash', ARGV[2], 'time', ARGV[3], 'chain_id', ARGV[4],
  'seen_ms', now[1] * 1000 + math.floor(now[2] / 1000))
return 1
"""
# KEYS: pm:height. Returns its fields and how long ago, by the store's own clock, it was written.
_READ: Final = """
local block = redis.call('HMGET', KEYS[1], 'height', 'hash', 'time', 'chain_id', 'seen_ms')
local now = redis.call('TIME')
block[6] = now[1] * 1000 + math.floor(now[2] / 1000)
return block
"""


class MalformedBlockEvent(Malformed):
    """A message on the blocks channel that is not a block event."""

    reason = "block_event"
    summary = "not a block event"


@dataclass(frozen=True, slots=True)
class SeenBlock:
    """A block and how long ago this deployment first heard of it."""

    position: BlockPosition
    age_s: float


def encode_block_event(position: BlockPosition) -> bytes:
    """Return the payload of a block event: {"height","hash" in base64,"timestamp" in RFC 3339}."""
    seconds, nanoseconds = divmod(position.time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    event = {
        "height": position.height,
        "hash": base64.b64encode(position.block_hash).decode(),
        "timestamp": f"{moment}{fraction}Z",
    }
    return json.dumps(event, separators=(",", ":")).encode()


def decode_block_event(payload: bytes) -> BlockPosition:
    """Parse a block event. Raises `MalformedBlockEvent`."""
    try:
        event = json.loads(payload)
        height = event["height"]
        if type(height) is not int or not 0 < height < 2**63:
            raise ValueError("height")
        block_hash = base64.b64decode(event.get("hash") or "", validate=True)
        return BlockPosition(Height(height), BlockHash(block_hash), _unix_ns(event.get("timestamp") or ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise MalformedBlockEvent(length=len(payload)) from error


def _unix_ns(timestamp: str) -> int:
    """Nanoseconds of an RFC 3339 text, 0 for none; datetime itself keeps only microseconds."""
    if not timestamp:
        return 0
    moment, dot, rest = timestamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    whole = datetime.fromisoformat(moment + zone)
    if whole.tzinfo is None:
        raise ValueError("timestamp without zone")
    return int(whole.astimezone(UTC).timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)


class BlockPublisher:
    """Writes the last block; used by whoever follows the chain."""

    def __init__(self, client: Any, *, height_key: str, channel: str, chain_id: str) -> None:
        self._client = client
        self._height_key = height_key
        self._channel = channel
        self._chain_id = chain_id

    def publish(self, position: BlockPosition) -> bool:
        """Raise the height and tell everyone; False, and nothing told, when this block is not news."""
        risen = self._client.eval(
            _RAISE,
            1,
            self._height_key,
            position.height,
            position.block_hash.hex(),
            position.time_ns,
            self._chain_id,
        )
        if risen:
            self._client.publish(self._channel, encode_block_event(position))
        return bool(risen)


class BlockFeed:
    """The last block as this process knows it. Heights never fall, unless the chain id changes.

    `hear` takes channel messages, `read` the hash; `age` counts from when the deployment first saw the block.
    """

    def __init__(
        self, client: Any, *, height_key: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._height_key = height_key
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: tuple[BlockPosition, float] | None = None  # position, monotonic time it was seen at
        self._chain_id: bytes | None = None

    def last(self) -> SeenBlock | None:
        """The last block and its age; None before any is known. No I/O."""
        last = self._last
        if last is None:
            return None
        return SeenBlock(last[0], max(0.0, self._monotonic() - last[1]))

    def hear(self, payload: bytes) -> None:
        """Take a message of the blocks channel. A lower height is looked up: it may be another chain's.

        Raises `MalformedBlockEvent`.
        """
        position = decode_block_event(payload)
        last = self._last
        if last is not None and position.height < last[0].height:
            self.read()
        else:
            self.offer(position)

    def offer(self, position: BlockPosition, age_s: float = 0.0) -> None:
        """Take a block from any source (the channel, the node itself); only a higher one counts."""
        with self._lock:
            if self._last is None or position.height > self._last[0].height:
                self._last = (position, self._monotonic() - age_s)

    def read(self) -> None:
        """Read `pm:height`; silently keeps what it has when there is none or the store is away."""
        try:
            with store_errors():
                height, block_hash, time_ns, chain_id, seen_ms, now_ms = self._client.eval(
                    _READ, 1, self._height_key
                )
        except PocketError:
            return
        if height is None or seen_ms is None:
            return
        position = BlockPosition(
            Height(int(height)), BlockHash(bytes.fromhex((block_hash or b"").decode())), int(time_ns or 0)
        )
        age_s = max(0, int(now_ms) - int(float(seen_ms))) / 1000
        with self._lock:
            other_chain = self._chain_id is not None and chain_id != self._chain_id
            self._chain_id = chain_id
            if other_chain:
                self._last = None
        self.offer(position, age_s)
