"""Keys from files, and their reload: no key shown, none lost, none taken for removed by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.sections import KeyringSection, KeysSection, MnemonicSection
from pocket_chain.key_files import KeysInvalid, address_of_key, keys_of_list
from pocket_chain.keyring import Keyring
from pocket_protocol.curve import ORDER, Curve, load_curve
from pocket_protocol.hd_key import key_of_mnemonic
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import SupplierAddress
from tests import recorded

HEX = ["11" * 32, "22" * 32, "33" * 32]
PHRASE = "abandon " * 11 + "about"


@pytest.fixture(scope="module")
def curve() -> Curve:
    return load_curve()


def address(text: str, curve: Curve) -> SupplierAddress:
    return address_of_key(PrivateKey.from_hex(text), curve)


def write_list(path: Path, keys: list[str]) -> Path:
    path.write_text("keys:\n" + "".join(f'- "{key}"\n' for key in keys))
    path.chmod(0o600)
    return path


def write_key(path: Path, key: str, owner: str) -> None:
    path.write_text(json.dumps({"operator_address": owner, "private_key_hex": key}))
    path.chmod(0o600)


@recorded.needs_recordings
def test_the_captured_key_file_loads(curve: Curve) -> None:
    keyring = Keyring(KeysSection(keys_file=str(recorded.path("localnet/supplier-keys.yaml"))), curve)
    assert keyring.addresses == {
        "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj",
        "pokt1j6dun0x8eyq5mmsmq83zs3c2utt85q8478c89u",
        "pokt1re27pw4llwnatx4sq7rlggqzcm6j3f39epq2wa",
    }


def test_accepted_spellings(tmp_path: Path, curve: Curve) -> None:
    path = write_list(tmp_path / "k.yaml", [HEX[0], "0x" + HEX[1], f"  {'aB' * 32} "])
    keyring = Keyring(KeysSection(keys_file=str(path)), curve)
    assert len(keyring.keys) == 3
    (tmp_path / "k.json").write_text(json.dumps({"keys": HEX}))
    assert len(Keyring(KeysSection(keys_file=str(tmp_path / "k.json")), curve).keys) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keys: []", "at least one key"),
        ("key: [x]", "at least one key"),
        ("keys: x", "at least one key"),
        ("", "must be a map"),
        ("[1]", "must be a map"),
        ("keys: [", "not valid YAML"),
        (f"keys: ['{HEX[0]}', 'zz', '{HEX[0][:-1]}']", "key[1]"),
        (f"keys: ['{HEX[0]}', 'zz', '{HEX[0][:-1]}']", "key[2]"),
        (f"keys: ['{HEX[0]}11']", "key[0]"),
        (f"keys: ['0X{HEX[0]}']", "key[0]"),
        ("keys: [{name: a, private_key: b}]", "key[0]"),
        (f"keys: ['{'00' * 32}']", "key[0]"),
        (f"keys: ['{ORDER:064x}']", "key[0]"),
    ],
)
def test_one_bad_entry_refuses_the_file_and_shows_nothing(
    tmp_path: Path, curve: Curve, text: str, problem: str
) -> None:
    (tmp_path / "k.yaml").write_text(text)
    with pytest.raises(KeysInvalid) as caught:
        Keyring(KeysSection(keys_file=str(tmp_path / "k.yaml")), curve)
    assert problem in str(caught.value)
    assert "111111" not in str(caught.value) and "zz" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_keys_or_refused(curve: Curve, data: bytes) -> None:
    with pytest.raises(KeysInvalid):
        keys_of_list("f", b"keys: " + data if data[:1] != b"[" else data, curve)


def test_missing_sources(tmp_path: Path, curve: Curve) -> None:
    for section in (
        KeysSection(),
        KeysSection(keys_file=str(tmp_path / "none.yaml")),
        KeysSection(keys_dir=str(tmp_path / "empty")),
        KeysSection(keyring=KeyringSection(backend="file")),
    ):
        with pytest.raises(KeysInvalid):
            Keyring(section, curve)
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700


def test_a_directory_takes_good_files_and_passes_bad_ones_over(tmp_path: Path, curve: Curve) -> None:
    owner = [address(key, curve) for key in HEX]
    write_key(tmp_path / "a.yaml", HEX[0], owner[0])
    write_key(tmp_path / "b.json", "0x" + HEX[1], owner[1])
    write_key(tmp_path / "c.txt", HEX[2], owner[2])
    write_key(tmp_path / "d.yml", HEX[2], owner[0])  # another key's address
    write_key(tmp_path / "e.yml", "zz", owner[2])
    (tmp_path / "f.yaml").write_text("private_key_hex: x")
    (tmp_path / "..data.yaml").mkdir()
    (tmp_path / "g.yaml").mkdir()
    keyring = Keyring(KeysSection(keys_dir=str(tmp_path)), curve)
    assert keyring.addresses == {owner[0], owner[1]}


def test_a_phrase_gives_a_range_of_keys(tmp_path: Path, curve: Curve) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text(PHRASE + "\n")
    first = address_of_key(key_of_mnemonic(curve, PHRASE), curve)
    section = MnemonicSection(str(phrase), 0, 4, first)
    keyring = Keyring(KeysSection(mnemonic=section), curve)
    assert len(keyring.keys) == 5 and first in keyring.keys
    with pytest.raises(KeysInvalid, match="first address") as caught:
        Keyring(KeysSection(mnemonic=MnemonicSection(str(phrase), 1, 4, first)), curve)
    assert "abandon" not in str(caught.value)
    phrase.write_text("one two")
    with pytest.raises(KeysInvalid, match="12, 15"):
        Keyring(KeysSection(mnemonic=section), curve)


def test_added_keys_count_at_once_and_removed_ones_at_the_second_look(tmp_path: Path, curve: Curve) -> None:
    owner = [address(key, curve) for key in HEX]
    path = write_list(tmp_path / "k.yaml", HEX[:2])
    keyring = Keyring(KeysSection(keys_file=str(path)), curve)
    before = keyring.keys
    assert keyring.poll() is None
    write_list(path, HEX)
    change = keyring.poll()
    assert change is not None and (change.added, change.removed) == ({owner[2]}, frozenset())
    assert len(before) == 2  # a snapshot handed out does not change
    write_list(path, HEX[:1])
    assert keyring.poll() is None and len(keyring.keys) == 3
    change = keyring.poll()
    assert change is not None and change.removed == {owner[1], owner[2]}


def test_half_written_files_are_not_removals(tmp_path: Path, curve: Curve) -> None:
    path = write_list(tmp_path / "k.yaml", HEX)
    keyring = Keyring(KeysSection(keys_file=str(path)), curve)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert keyring.poll() is None and len(keyring.keys) == 3
    path.unlink()
    assert keyring.poll() is None and keyring.poll() is None and len(keyring.keys) == 3
    assert keyring.errors > 2
    write_list(path, [*HEX, "44" * 32])
    assert keyring.poll() is not None and len(keyring.keys) == 4


@pytest.mark.parametrize("broken", ["unreadable", "gone"])
def test_a_source_that_fails_keeps_its_keys_beside_one_that_does_not(
    tmp_path: Path, curve: Curve, broken: str
) -> None:
    listed, directory = write_list(tmp_path / "k.yaml", HEX[:2]), tmp_path / "keys"
    directory.mkdir()
    write_key(directory / "a.yaml", HEX[2], address(HEX[2], curve))
    keyring = Keyring(KeysSection(keys_file=str(listed), keys_dir=str(directory)), curve)
    listed.write_text("keys: [broken") if broken == "unreadable" else listed.unlink()
    assert [keyring.poll() for _ in range(3)] == [None, None, None]
    assert len(keyring.keys) == 3 and keyring.errors == 3


def test_an_atomic_symlink_swap_is_seen(tmp_path: Path, curve: Curve) -> None:
    """Mounted secrets are replaced by moving a symlink, again and again."""
    link = tmp_path / "k.yaml"
    for number, keys in enumerate((HEX[:1], HEX[:2], HEX)):
        write_list(tmp_path / f"v{number}", keys)
        (tmp_path / "new").symlink_to(tmp_path / f"v{number}")
        (tmp_path / "new").replace(link)
        if number == 0:
            keyring = Keyring(KeysSection(keys_file=str(link)), curve)
        else:
            assert keyring.poll() is not None
    assert len(keyring.keys) == 3


def test_files_of_a_directory_come_and_go(tmp_path: Path, curve: Curve) -> None:
    owner = [address(key, curve) for key in HEX]
    write_key(tmp_path / "a.yaml", HEX[0], owner[0])
    keyring = Keyring(KeysSection(keys_dir=str(tmp_path)), curve)
    write_key(tmp_path / "b.yaml", HEX[1], owner[1])
    change = keyring.poll()
    assert change is not None and change.added == {owner[1]}
    (tmp_path / "b.yaml").write_text("half")
    assert keyring.poll() is None and len(keyring.keys) == 2
    (tmp_path / "b.yaml").unlink()
    assert keyring.poll() is None
    change = keyring.poll()
    assert change is not None and change.removed == {owner[1]}
    (tmp_path / "a.yaml").unlink()
    assert [keyring.poll() for _ in range(3)] == [None, None, None]
    assert keyring.addresses == {owner[0]}  # all keys at once: a broken mount


def test_later_sources_win_and_nothing_shows_keys(tmp_path: Path, curve: Curve) -> None:
    path = write_list(tmp_path / "k.yaml", HEX[:2])
    directory = tmp_path / "d"
    directory.mkdir()
    write_key(directory / "a.yaml", HEX[0], address(HEX[0], curve))
    keyring = Keyring(KeysSection(keys_file=str(path), keys_dir=str(directory)), curve)
    assert len(keyring.keys) == 2
    assert "11" * 4 not in repr(keyring) + repr(keyring.keys)
