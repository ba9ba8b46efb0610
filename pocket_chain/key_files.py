"""Reading suppliers' keys from files (spec/miner.md §7.1, spec/chain.md §2, spec/signatures.md §9).

No text made here holds a key, or any part of what a key file says where a key could stand.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from operations import yaml_tree
from operations.sections import MnemonicSection
from pocket_protocol.address import BadAddress, address_of, parse_address
from pocket_protocol.curve import Curve
from pocket_protocol.errors import Malformed
from pocket_protocol.hd_key import key_of_mnemonic
from pocket_protocol.signer import BadPrivateKey, PrivateKey
from pocket_protocol.types import SupplierAddress

MAX_FILE_BYTES = 8 << 20
KEY_FILE_SUFFIXES = (".yaml", ".yml", ".json")
MNEMONIC_WORDS = (12, 15, 18, 21, 24)

Keys = dict[SupplierAddress, PrivateKey]


class KeysInvalid(Malformed):
    """A key source that cannot be used; `problems` says why, entry by entry, without any key."""

    reason = "keys_invalid"
    summary = "keys cannot be read"

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        super().__init__(self.summary)
        self.source = source
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.source}: {'; '.join(self.problems)}"


def file_bytes(path: Path) -> bytes:
    """Return a key file's bytes. Raises KeysInvalid."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeysInvalid(str(path), (error.strerror or type(error).__name__,)) from None
    if len(data) > MAX_FILE_BYTES:
        raise KeysInvalid(str(path), ("the file is too large",))
    return data


def is_private(path: Path) -> bool:
    """Tell whether only the owner may read the file."""
    try:
        return path.stat().st_mode & 0o077 == 0
    except OSError:
        return True


def keys_of_list(source: str, data: bytes, curve: Curve) -> Keys:
    """Read `keys: ["<64 hex>", ...]`; one bad entry refuses the whole file. Raises KeysInvalid."""
    entries = _members(source, data).get("keys")
    if not isinstance(entries, SequenceNode) or not entries.value:
        raise KeysInvalid(source, ("a list `keys` with at least one key is needed",))
    keys: Keys = {}
    problems = []
    for index, entry in enumerate(entries.value):
        try:
            key = _private_key(entry)
        except BadPrivateKey as error:
            problems.append(f"key[{index}]: {error.detail or error.summary}")
        else:
            keys[address_of_key(key, curve)] = key
    if problems:
        raise KeysInvalid(source, tuple(problems))
    return keys


def key_of_file(source: str, data: bytes, curve: Curve) -> tuple[SupplierAddress, PrivateKey]:
    """Read one file of a key directory; its address must be the key's. Raises KeysInvalid."""
    members = _members(source, data)
    stated = members.get("operator_address")
    if not isinstance(stated, ScalarNode) or not stated.value.strip():
        raise KeysInvalid(source, ("operator_address is missing",))
    try:
        key = _private_key(members.get("private_key_hex"))
    except BadPrivateKey as error:
        raise KeysInvalid(source, (f"private_key_hex: {error.detail or error.summary}",)) from None
    address = address_of_key(key, curve)
    if _payload(stated.value.strip()) != parse_address(address):
        raise KeysInvalid(source, ("operator_address is not the address of this key",))
    return address, key


def keys_of_mnemonic(section: MnemonicSection, data: bytes, curve: Curve) -> Keys:
    """Derive the section's range of keys from the phrase in `data`. Raises KeysInvalid."""
    try:
        phrase = data.decode().strip()
    except UnicodeDecodeError:
        raise KeysInvalid(section.file, ("is not text",)) from None
    if len(phrase.split()) not in MNEMONIC_WORDS:
        raise KeysInvalid(section.file, ("a phrase has 12, 15, 18, 21 or 24 words",))
    keys: Keys = {}
    for index in range(section.first_index, section.last_index + 1):
        key = key_of_mnemonic(curve, phrase, f"m/44'/118'/0'/0/{index}")
        address = address_of_key(key, curve)
        if index == section.first_index and section.first_address not in ("", address):
            raise KeysInvalid(section.file, (f"the first address is {address}, not {section.first_address}",))
        keys[address] = key
    return keys


def key_file_paths(directory: Path, create: bool = False) -> list[Path]:
    """Return the key files of a directory by name; with `create` the directory is made (0700) if absent.

    Raises KeysInvalid.
    """
    try:
        if create and not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
        with os.scandir(directory) as found:
            names = [entry.name for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise KeysInvalid(str(directory), (error.strerror or type(error).__name__,)) from None
    return [directory / name for name in sorted(names) if Path(name).suffix in KEY_FILE_SUFFIXES]


def address_of_key(key: PrivateKey, curve: Curve) -> SupplierAddress:
    """Return the operator address of a key."""
    return SupplierAddress(address_of(key.public_key(curve)))


def content_hash(data: bytes) -> bytes:
    """Return what two contents are compared by, so that no copy of the content is kept."""
    return hashlib.sha256(data).digest()


def _members(source: str, data: bytes) -> dict[str, Node]:
    try:
        root = yaml_tree.parse(data)
    except yaml_tree.YamlUnreadable as error:
        raise KeysInvalid(source, (f"line {error.line}: not valid YAML",)) from None
    if not isinstance(root, MappingNode):
        raise KeysInvalid(source, ("must be a map",))
    return {key.value: value for key, value in root.value if isinstance(key, ScalarNode)}


def _private_key(node: Node | None) -> PrivateKey:
    if not isinstance(node, ScalarNode):
        raise BadPrivateKey("must be a plain text of 64 hex digits")
    return PrivateKey.from_hex(node.value.strip())


def _payload(address: str) -> bytes:
    try:
        return parse_address(address)
    except BadAddress:
        return b""
