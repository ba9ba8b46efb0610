"""Bytes of a compact closest proof: Go `encoding/gob`, as the chain reads them (spec/smst.md §7).

The encoder writes the one type section that a process emits whose first gob type is this one. The
decoder takes any type ids: it reads the definitions from the stream and matches fields by name. It is
narrower than Go's in one respect: a definition with a field or a type that no proof has is refused
instead of skipped. As in Go, fields may be missing, only the first value counts, and bytes after it
are ignored. Work and memory are linear in the length of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pocket_protocol.errors import Malformed

TYPE_SECTION = bytes.fromhex(
    "ff877f0301011f537061727365436f6d706163744d65726b6c65436c6f7365737450726f6f6601ff8000010601045061"
    "7468010a00010b466c69707065644269747301ff820001054465707468010a00010b436c6f7365737450617468010a00"
    "0110436c6f7365737456616c756548617368010a00010c436c6f7365737450726f6f6601ff8400000017ff8102010109"
    "5b5d5b5d75696e743801ff8200010a00007cff8303010118537061727365436f6d706163744d65726b6c6550726f6f66"
    "01ff840001050109536964654e6f64657301ff820001154e6f6e4d656d626572736869704c65616644617461010a0001"
    "074269744d61736b010a00010c4e756d536964654e6f646573010400010b5369626c696e6744617461010a000000"
)
_VALUE_ID = b"\xff\x80"  # int(64), the outer struct

INT_ID, BYTES_ID = 2, 5  # builtin types that occur in a proof
FIRST_DEFINED_ID = 64
MAX_DEFINITIONS = 16
_SLICE_KIND, _STRUCT_KIND = 1, 2  # positions in the wire type struct

_OUTER = {
    "Path": "path",
    "FlippedBits": "flipped_bits",
    "Depth": "depth",
    "ClosestPath": "closest_path",
    "ClosestValueHash": "closest_value_hash",
    "ClosestProof": "proof",
}
_INNER = {
    "SideNodes": "side_nodes",
    "NonMembershipLeafData": "non_membership_leaf_data",
    "BitMask": "bit_mask",
    "NumSideNodes": "num_side_nodes",
    "SiblingData": "sibling_data",
}
# Fields whose type is not bytes: two lists of bytes, one number, one struct.
_LISTS = frozenset({"FlippedBits", "SideNodes"})
_NUMBER = "NumSideNodes"
_PROOF = "ClosestProof"


class BadGob(Malformed):
    """Bytes that are not a gob stream with a compact closest proof."""

    reason = "bad_gob"
    summary = "not a gob-encoded closest proof"


@dataclass(frozen=True, slots=True)
class CompactProof:
    """`SparseCompactMerkleProof`; absent byte strings are empty."""

    side_nodes: tuple[bytes, ...] = ()
    non_membership_leaf_data: bytes = b""
    bit_mask: bytes = b""
    num_side_nodes: int = 0
    sibling_data: bytes = b""


@dataclass(frozen=True, slots=True)
class CompactClosestProof:
    """`SparseCompactMerkleClosestProof`; `proof` is None only when a stream leaves it out."""

    path: bytes = b""
    flipped_bits: tuple[bytes, ...] = ()
    depth: bytes = b""
    closest_path: bytes = b""
    closest_value_hash: bytes = b""
    proof: CompactProof | None = field(default_factory=CompactProof)


# --- encoder ------------------------------------------------------------------------------------


def _uint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((256 - len(digits),)) + digits


def _int(value: int) -> bytes:
    return _uint(~value << 1 | 1 if value < 0 else value << 1)


def _bytes(value: bytes) -> bytes:
    return _uint(len(value)) + value


def _list(value: tuple[bytes, ...]) -> bytes:
    return _uint(len(value)) + b"".join(map(_bytes, value))


def _struct(fields: list[tuple[object, Callable[[Any], bytes]]]) -> bytes:
    """Return the present fields, each after its distance from the last one, and the closing zero.

    A field is present when it is not zero; a struct behind a pointer counts as present.
    """
    out, previous = bytearray(), -1
    for index, (value, encoder) in enumerate(fields):
        if value:
            out += _uint(index - previous) + encoder(value)
            previous = index
    return bytes(out) + b"\x00"


def _encode_inner(proof: CompactProof) -> bytes:
    return _struct(
        [
            (proof.side_nodes, _list),
            (proof.non_membership_leaf_data, _bytes),
            (proof.bit_mask, _bytes),
            (proof.num_side_nodes, _int),
            (proof.sibling_data, _bytes),
        ]
    )


def encode(proof: CompactClosestProof) -> bytes:
    """Return the bytes of `MsgSubmitProof.proof` (spec/smst.md §7)."""
    value = _VALUE_ID + _struct(
        [
            (proof.path, _bytes),
            (proof.flipped_bits, _list),
            (proof.depth, _bytes),
            (proof.closest_path, _bytes),
            (proof.closest_value_hash, _bytes),
            (proof.proof, _encode_inner),
        ]
    )
    return TYPE_SECTION + _bytes(value)


# --- decoder ------------------------------------------------------------------------------------


class _Reader:
    """A cursor over the bytes of one message; reading past its end raises `BadGob`."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data, self._position, self._end = data, position, end

    @property
    def left(self) -> int:
        return self._end - self._position

    def _advance(self, length: int) -> int:
        """Step over `length` bytes and return where they start."""
        if length > self.left:
            raise BadGob("truncated", wanted=length, left=self.left)
        start = self._position
        self._position += length
        return start

    def read_uint(self) -> int:
        first = self._data[self._advance(1)]
        if first < 128:
            return first
        length = 256 - first
        if length > 8:
            raise BadGob("number of more than 8 bytes", length=length)
        start = self._advance(length)
        return int.from_bytes(self._data[start : start + length], "big")

    def read_int(self) -> int:
        value = self.read_uint()
        return ~(value >> 1) if value & 1 else value >> 1

    def read_bytes(self) -> bytes:
        length = self.read_uint()
        start = self._advance(length)
        return self._data[start : start + length]

    def read_count(self) -> int:
        """Return a number of elements, of which each takes at least one byte."""
        count = self.read_uint()
        if count > self.left:
            raise BadGob("more elements than bytes", count=count, left=self.left)
        return count

    def read_list(self) -> tuple[bytes, ...]:
        return tuple(self.read_bytes() for _ in range(self.read_count()))

    def read_fields(self, number_of_fields: int) -> Iterator[int]:
        """Yield the index of each present field of a struct; the caller reads its value in between."""
        index = -1
        while delta := self.read_uint():
            index += delta
            if index >= number_of_fields:
                raise BadGob("field out of range", index=index, fields=number_of_fields)
            yield index

    def read_message(self) -> _Reader:
        """Return a reader over the next message and step behind it."""
        length = self.read_uint()
        start = self._advance(length)
        return _Reader(self._data, start, start + length)


# A definition: element type id of a slice, or the (name, type id) of each field of a struct.
_StructFields = tuple[tuple[str, int], ...]
_Definition = int | _StructFields


def _read_name_and_id(reader: _Reader) -> tuple[str, int]:
    """Read a pair that stands at the head of each definition and for each field of a struct."""
    name, type_id = b"", 0
    for index in reader.read_fields(2):
        if index == 0:
            name = reader.read_bytes()
        else:
            type_id = reader.read_int()
    return name.decode("utf-8", "replace"), type_id


def _read_kind(reader: _Reader, kind: int, type_id: int) -> _Definition:
    definition: _Definition = 0 if kind == _SLICE_KIND else ()
    for index in reader.read_fields(2):
        if index == 0:
            if _read_name_and_id(reader)[1] != type_id:
                raise BadGob("definition names another id", type_id=type_id)
        elif kind == _SLICE_KIND:
            definition = reader.read_int()
        else:
            definition = tuple(_read_name_and_id(reader) for _ in range(reader.read_count()))
    return definition


def _read_definition(reader: _Reader, type_id: int) -> _Definition:
    """Read one wire type: a slice or a struct; arrays, maps and custom encodings occur in no proof."""
    definition: _Definition | None = None
    for kind in reader.read_fields(7):
        if definition is not None or kind not in (_SLICE_KIND, _STRUCT_KIND):
            raise BadGob("definition of a type no proof has", type_id=type_id, kind=kind)
        definition = _read_kind(reader, kind, type_id)
    if definition is None or reader.left:
        raise BadGob("definition is empty or goes on after its end", type_id=type_id)
    return definition


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._stream = _Reader(data, 0, len(data))
        self._definitions: dict[int, _Definition] = {}

    def decode(self) -> CompactClosestProof:
        while True:
            message = self._stream.read_message()
            type_id = message.read_int()
            if type_id >= 0:
                # A proof the stream leaves out is a nil pointer, not an empty proof.
                return CompactClosestProof(**{"proof": None, **self._read_struct(message, type_id, _OUTER)})
            self._define(message, -type_id)

    def _define(self, message: _Reader, type_id: int) -> None:
        if type_id < FIRST_DEFINED_ID or type_id in self._definitions:
            raise BadGob("type is builtin or defined already", type_id=type_id)
        if len(self._definitions) == MAX_DEFINITIONS:
            raise BadGob("too many definitions", limit=MAX_DEFINITIONS)
        self._definitions[type_id] = _read_definition(message, type_id)

    def _struct_fields(self, type_id: int, names: Mapping[str, str]) -> _StructFields:
        """Return the fields of struct `type_id`, each of them known and of the type it must have."""
        definition = self._definitions.get(type_id)
        if not isinstance(definition, tuple):
            raise BadGob("no such struct", type_id=type_id)
        if len({name for name, _ in definition}) != len(definition):
            raise BadGob("field named twice", type_id=type_id)
        for name, field_type in definition:
            if name not in names:
                raise BadGob("unknown field", name=name)
            self._check_type(name, field_type)
        return definition

    def _check_type(self, name: str, type_id: int) -> None:
        if name in _LISTS:
            matches = self._definitions.get(type_id) == BYTES_ID
        elif name == _NUMBER:
            matches = type_id == INT_ID
        elif name == _PROOF:
            matches = bool(self._struct_fields(type_id, _INNER))
        else:
            matches = type_id == BYTES_ID
        if not matches:
            raise BadGob("field of another type", name=name, type_id=type_id)

    def _read_struct(self, reader: _Reader, type_id: int, names: Mapping[str, str]) -> dict[str, Any]:
        fields = self._struct_fields(type_id, names)
        values: dict[str, Any] = {}
        for index in reader.read_fields(len(fields)):
            name, field_type = fields[index]
            values[names[name]] = self._read_value(reader, name, field_type)
        return values

    def _read_value(self, reader: _Reader, name: str, type_id: int) -> object:
        if name in _LISTS:
            return reader.read_list()
        if name == _NUMBER:
            return reader.read_int()
        if name == _PROOF:
            return CompactProof(**self._read_struct(reader, type_id, _INNER))
        return reader.read_bytes()


def decode(data: bytes) -> CompactClosestProof:
    """Read the proof of a `MsgSubmitProof`. Raises `BadGob` for anything else (spec/smst.md §7)."""
    return _Decoder(bytes(data)).decode()
