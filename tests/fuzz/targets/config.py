"""Files that an operator writes. The first byte chooses: relayer, miner, key list, key of a directory, genesis."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from localnet.genesis import GenesisInvalid, load_genesis
from mining_tasks.config import MinerConfig
from operations.config_file import ConfigInvalid, bind
from pocket_chain.key_files import KeysInvalid, key_of_file, keys_of_list
from pocket_protocol.curve import load_curve
from relayer_web.config import RelayerConfig
from tests.fuzz.corpus import recorded_files
from tests.fuzz.target import Attempt, Target

ROOT = Path(__file__).resolve().parents[3]
RELAYER, MINER, KEY_LIST, KEY, GENESIS = range(5)


@contextmanager
def opened() -> Iterator[Attempt]:
    curve = load_curve()
    with tempfile.TemporaryDirectory(prefix="pocket-fuzz-") as directory:
        file = Path(directory) / "genesis.yaml"

        def attempt(data: bytes) -> bool:
            choice, rest = (data[0] % 5, data[1:]) if data else (0, b"")
            try:
                if choice == KEY_LIST:
                    keys_of_list("keys.yaml", rest, curve)
                elif choice == KEY:
                    key_of_file("key.yaml", rest, curve)
                elif choice == GENESIS:
                    file.write_bytes(rest)
                    load_genesis(file, curve)
                else:
                    schema: type = RelayerConfig if choice == RELAYER else MinerConfig
                    bound = bind(rest, schema, file="config.yaml")
                    for problem in bound.warnings:
                        check_problem(str(problem), rest)
            except ConfigInvalid as invalid:
                assert invalid.problems
                for problem in (*invalid.problems, *invalid.warnings):
                    check_problem(str(problem), rest)
                return False
            except (KeysInvalid, GenesisInvalid) as invalid:
                assert str(invalid)
                return False
            return True

        yield attempt


def check_problem(text: str, data: bytes) -> None:
    """A problem names the file and a line that the file has."""
    name, line, _ = text.split(":", 2)
    assert name == "config.yaml" and 1 <= int(line) <= lines_of(data) + 1, text


def lines_of(data: bytes) -> int:
    """Lines as YAML counts them: more characters end one than a newline."""
    return len(data) + 1


def seeds() -> list[bytes]:
    deploy = ROOT / "deploy/config"
    relayer, miner = (deploy / "relayer.yaml").read_bytes(), (deploy / "miner.yaml").read_bytes()
    keys = b'keys:\n  - "%b"\n' % (b"11" * 32)
    key = b'operator_address: "pokt1"\nprivate_key_hex: "%b"\n' % (b"11" * 32)
    genesis = yaml.safe_dump({
        "chain_id": "pocket", "accounts": {"a": {"key": "11" * 32, "balance_upokt": 5}}, "applications": {}, "services": {},
    }).encode()  # fmt: skip
    relayers = [relayer, *recorded_files("localnet/relayer.yaml", 8192)]
    miners = [miner, *recorded_files("localnet/miner1.yaml", 8192)]
    chosen = ((RELAYER, relayers), (MINER, miners), (KEY_LIST, [keys]), (KEY, [key]), (GENESIS, [genesis]))
    return [bytes((kind,)) + one for kind, ones in chosen for one in ones]


WORDS = (
    b"&a ", b"*a", b"<<: ", b"!!python/object:os.system ", b"!!binary ", b"!!int ", b"!!float ", b"!!timestamp ", b"!!set ", b"? ",
    b"- ", b": ", b"[", b"{", b"[" * 1500, b"{a: " * 1000, b"~", b"null", b"yes", b".inf", b".nan", b"1e400", b"0x", b"0o8", b"1:60:60",
    b"9" * 5000, b"-1", b"\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\x85", b"\xe2\x80\xa8", b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"|\n", b">-\n",
    b"services:\n", b"extensions:\n", b"redis:\n", b"2001-13-45", b"\"\\x\"", b"\\U00110000", b"'", b"#",
)  # fmt: skip
CONFIG = Target(seeds, opened, WORDS, 16384)
