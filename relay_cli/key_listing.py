"""`pocket-relay-miner keys`: which suppliers a key source holds; never a key."""

from __future__ import annotations

import json
from pathlib import Path

import click
import structlog

from operations.sections import KeysSection, MnemonicSection
from pocket_chain.key_files import KeysInvalid
from pocket_chain.keyring import Keyring
from pocket_protocol.curve import load_curve


@click.command("keys")
@click.option("--keys-file", default="", metavar="PATH", help='YAML `keys: ["<64 hex>", ...]`.')
@click.option("--keys-dir", default="", metavar="PATH", help="Files {operator_address, private_key_hex}.")
@click.option("--mnemonic-file", default="", metavar="PATH", help="A file that holds one phrase.")
@click.option("--from", "first", default=0, type=click.IntRange(0), help="First index of the phrase.")
@click.option("--to", "last", default=0, type=click.IntRange(0), help="Last index of the phrase.")
@click.option("--config", type=click.Path(path_type=Path), help="Take the key source of a miner.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def keys(
    keys_file: str,
    keys_dir: str,
    mnemonic_file: str,
    first: int,
    last: int,
    config: Path | None,
    as_json: bool,
) -> None:
    """List the operator addresses of a key source, sorted. No secret is shown.

    \b
    Example:
      pocket-relay-miner keys --keys-file supplier-keys.yaml
      pocket-relay-miner keys --mnemonic-file phrase.txt --from 0 --to 99
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    section = KeysSection(keys_file, keys_dir, MnemonicSection(mnemonic_file, first, last))
    if config:
        from mining_tasks.config import load_miner_config
        from operations.config_file import ConfigInvalid

        try:
            section = load_miner_config(config).config.keys
        except ConfigInvalid as invalid:
            raise click.ClickException(f"configuration is invalid:\n{invalid}") from None
    try:
        addresses = sorted(Keyring(section, load_curve()).addresses)
    except KeysInvalid as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(addresses) if as_json else "\n".join(addresses))
