"""Entries of the relay stream, judged as the miner judges them before it asks the store.

The first byte: the entry as it is, or an otherwise sound entry around these relay bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mining_tasks.judgement import Fate, Judge
from mining_tasks.session_facts import SessionFacts
from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.stream_entry import StreamEntry, decode_stream_entry, encode_stream_entry
from pocket_protocol.types import ComputeUnits, Height
from relay_store.relay_stream import Entry
from tests.fuzz.corpus import golden
from tests.fuzz.target import Attempt, Target
from tests.fuzz.targets.messages import PROTOBUF_WORDS

WEIGHT = ComputeUnits(100)
TARGET = b"\x7f" + b"\xff" * 31


class NoSession(Refused):
    """The chain has no such session."""

    reason = "no_session"


class Lookup:
    """Knows the sessions whose number of blocks is even, refuses others now and then, forgets some."""

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        number = header.session_start_block_height
        if number % 7 == 3:
            raise NoSession
        return None if number % 7 == 5 else SessionFacts(header, None, WEIGHT, TARGET)

    def height(self) -> Height:
        return Height(100)


def sound_entry(relay_bytes: bytes) -> StreamEntry:
    """The entry a relayer writes for these bytes, as far as there is a relay in them."""
    relay = Relay()
    relay.ParseFromString(relay_bytes)
    header = relay.req.meta.session_header
    return StreamEntry(
        relay_hash(relay_bytes),
        relay_bytes,
        WEIGHT,
        header.session_id,  # type: ignore[arg-type]
        Height(header.session_end_block_height),
        relay.req.meta.supplier_operator_address,  # type: ignore[arg-type]
        header.service_id,  # type: ignore[arg-type]
        header.application_address,  # type: ignore[arg-type]
        Height(100),
        1,
        Height(header.session_start_block_height),
    )


def relays() -> list[bytes]:
    return [raw for name in ("chain_live", "chain_live2") for raw in golden(name, "relay_bytes_hex")]


@contextmanager
def opened() -> Iterator[Attempt]:
    sound = sound_entry(relays()[0])

    def attempt(data: bytes) -> bool:
        choice, body = (data[0], data[1:]) if data else (0, b"")
        if choice & 1:
            body = encode_stream_entry(replace(sound, relay_bytes=body))
        judge = Judge(sound.supplier_operator_address, Lookup())  # type: ignore[arg-type]
        first, second = (judge.judge(Entry(b"1-%d" % n, body, 1)) for n in range(2))
        assert (first.fate, first.session, first.leaf) == (second.fate, second.session, second.leaf)
        assert first.fate in (Fate.NEW, Fate.BELOW, Fate.DEAD)
        assert (first.leaf is not None) == (first.fate is Fate.NEW)
        try:
            entry = decode_stream_entry(body)
        except Malformed:
            assert first.fate is Fate.DEAD
            return False
        assert decode_stream_entry(encode_stream_entry(entry)) == entry
        return first.fate is Fate.NEW

    yield attempt


def seeds() -> list[bytes]:
    found = relays()
    entries = [encode_stream_entry(sound_entry(raw)) for raw in found]
    return [b"\0" + raw for raw in entries] + [b"\1" + raw for raw in found]


ENTRIES = Target(seeds, opened, PROTOBUF_WORDS)
