"""The suppliers' signing keys, and their hot reload (spec/miner.md §1.8, §7.1).

Files are compared by content at each `poll`, which works for edits, atomic renames and the symlink swaps of
mounted secrets alike. A file that cannot be read, is half written or fails any check keeps the last good keys; a
key counts as removed only when two polls in a row read the same content without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import structlog

from operations.sections import KeysSection
from pocket_chain import key_files
from pocket_chain.key_files import Keys, KeysInvalid
from pocket_protocol.curve import Curve
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import SupplierAddress

log = structlog.get_logger("keys")


@dataclass(frozen=True, slots=True)
class KeyChange:
    """Addresses that came and went with one poll."""

    added: frozenset[SupplierAddress]
    removed: frozenset[SupplierAddress]


class Keyring:
    """Keys from all sources of `section`; later sources win (file, directory, mnemonic).

    Construction raises KeysInvalid when no source is configured, when a keys_file or mnemonic cannot be used, or
    when nothing was found at all; bad files of a keys_dir are passed over with a log line.
    `poll` is called by one thread; `keys` may be read by any.
    """

    def __init__(self, section: KeysSection, curve: Curve) -> None:
        if section.keyring.backend:
            raise KeysInvalid("keys.keyring", ("a Cosmos keyring is not read; use keys_file or keys_dir",))
        self._sources = _sources(section, curve)
        if not self._sources:
            raise KeysInvalid("keys", ("no key source is configured",))
        self.errors = 0  # failed reads since the start, for the metric
        for source in self._sources:
            source.start()
        self._keys = self._merged()
        if not self._keys:
            raise KeysInvalid("keys", ("no key was found",))

    @property
    def keys(self) -> Mapping[SupplierAddress, PrivateKey]:
        """The keys as of the last poll: a fixed snapshot, replaced and never changed."""
        return MappingProxyType(self._keys)

    @property
    def addresses(self) -> frozenset[SupplierAddress]:
        return frozenset(self._keys)

    def poll(self) -> KeyChange | None:
        """Read what changed; return the difference, None without one. Never raises."""
        for source in self._sources:
            self.errors += source.refresh()
        before, merged = self._keys, self._merged()
        if not merged:
            return None  # every key at once is a broken mount, not a wish
        added, removed = frozenset(merged) - frozenset(before), frozenset(before) - frozenset(merged)
        self._keys = merged
        return KeyChange(added, removed) if added or removed else None

    def _merged(self) -> Keys:
        merged: Keys = {}
        for source in self._sources:
            merged.update(source.keys())
        return merged

    def __repr__(self) -> str:
        return f"Keyring({len(self._keys)} keys)"


class _FileSource:
    """Keys of one file, read as a whole by `read`."""

    def __init__(self, path: Path, read: Callable[[bytes], Keys]) -> None:
        self._path = path
        self._read = read
        self._good: Keys = {}
        self._good_hash = b""
        self._doubted_hash = b""

    def keys(self) -> Keys:
        return self._good

    def start(self) -> None:
        """Read for the first time. Raises KeysInvalid."""
        data = key_files.file_bytes(self._path)
        self._good, self._good_hash = self._read(data), key_files.content_hash(data)
        if not key_files.is_private(self._path):
            log.warning("key file can be read by others; chmod 600 it", file=str(self._path))

    def refresh(self) -> int:
        """Read again if the content changed; return the number of failures (0 or 1)."""
        try:
            data = key_files.file_bytes(self._path)
            fingerprint = key_files.content_hash(data)
            if fingerprint == self._good_hash:
                self._doubted_hash = b""
                return 0
            keys = self._read(data)
        except KeysInvalid as error:
            if self._doubted_hash != b"failed":
                log.error("keys not reloaded, the last good ones stay", error=str(error))
            self._doubted_hash = b"failed"
            return 1
        if set(self._good) - set(keys) and fingerprint != self._doubted_hash:
            self._doubted_hash = fingerprint  # perhaps half written: the next poll decides
            return 0
        self._good, self._good_hash, self._doubted_hash = keys, fingerprint, b""
        log.info("keys reloaded", file=str(self._path), count=len(keys))
        return 0


class _DirectorySource:
    """Keys of one directory, a file each; a file must be gone in two polls to take its key along."""

    def __init__(self, directory: Path, curve: Curve) -> None:
        self._directory = directory
        self._curve = curve
        self._files: dict[Path, _FileSource] = {}
        self._doubted: set[Path] = set()

    def keys(self) -> Keys:
        merged: Keys = {}
        for file in self._files.values():
            merged.update(file.keys())
        return merged

    def start(self) -> None:
        """Read all files. Raises KeysInvalid when the directory cannot be read."""
        for path in key_files.key_file_paths(self._directory, create=True):
            self._add(path)

    def refresh(self) -> int:
        try:
            paths = key_files.key_file_paths(self._directory)
        except KeysInvalid as error:
            log.error("key directory cannot be read, the last good keys stay", error=str(error))
            return 1
        failures = sum(
            self._files[path].refresh() if path in self._files else self._add(path) for path in paths
        )
        gone = set(self._files) - set(paths)
        for path in gone & self._doubted:
            del self._files[path]
        self._doubted = gone
        return failures

    def _add(self, path: Path) -> int:
        file = _FileSource(path, lambda data: _one_key(path, data, self._curve))
        try:
            file.start()
        except KeysInvalid as error:
            log.warning("key file passed over", error=str(error))
            return 1
        self._files[path] = file
        return 0


def _one_key(path: Path, data: bytes, curve: Curve) -> Keys:
    address, key = key_files.key_of_file(str(path), data, curve)
    return {address: key}


def _sources(section: KeysSection, curve: Curve) -> list[_FileSource | _DirectorySource]:
    sources: list[_FileSource | _DirectorySource] = []
    if section.keys_file:
        path = Path(section.keys_file)
        sources.append(_FileSource(path, lambda data: key_files.keys_of_list(str(path), data, curve)))
    if section.keys_dir:
        sources.append(_DirectorySource(Path(section.keys_dir), curve))
    if section.mnemonic.file:
        phrase = section.mnemonic
        sources.append(
            _FileSource(Path(phrase.file), lambda data: key_files.keys_of_mnemonic(phrase, data, curve))
        )
    return sources
