"""A configuration file that may be a relayer's or a miner's."""

from __future__ import annotations

from pathlib import Path

from mining_tasks.config import MinerConfig, load_miner_config
from operations.config_file import ConfigInvalid
from relayer_web.config import RelayerConfig, load_relayer_config


def load_either(path: Path) -> RelayerConfig | MinerConfig:
    """Load a relayer.yaml or miner.yaml. Raises ConfigInvalid, as for a miner.

    A relayer's is tried first: without services it is none, while to a miner its keys would only be unknown.
    """
    try:
        return load_relayer_config(path).config
    except ConfigInvalid:
        return load_miner_config(path).config
