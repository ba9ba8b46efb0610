"""What a command line may say over a configuration file, handed to the processes it starts.

`relayer --redis-url U` and `miner --consumer-group G` start several processes that each load the file. The values
go to them in their environment, where other users cannot read a password, and never as arguments.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from operations.sections import with_store_url

VARIABLES: Final = {
    "redis_url": "POCKET_REDIS_URL",
    "consumer_group": "POCKET_CONSUMER_GROUP",
    "consumer_name": "POCKET_CONSUMER_NAME",
    "keys_file": "POCKET_KEYS_FILE",
    "keys_dir": "POCKET_KEYS_DIR",
}

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values that replace the file's; empty ones replace nothing."""

    redis_url: str = dataclasses.field(default="", repr=False)
    consumer_group: str = ""
    consumer_name: str = ""
    keys_file: str = ""
    keys_dir: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Overrides:
        return cls(**{name: environment.get(variable, "") for name, variable in VARIABLES.items()})

    def environment(self) -> dict[str, str]:
        """Return the variables that hand these values to other processes."""
        return {variable: getattr(self, name) for name, variable in VARIABLES.items() if getattr(self, name)}

    def applied(self, config: Any) -> Any:
        """Return `config`, which has the sections `redis` and `keys`, with these values. Raises ConfigInvalid."""
        redis, keys = config.redis, config.keys
        if self.redis_url:
            redis = with_store_url(redis, self.redis_url, VARIABLES["redis_url"])
        for name in ("consumer_group", "consumer_name"):
            if value := getattr(self, name):
                redis = dataclasses.replace(redis, **{name: value})
        for name in ("keys_file", "keys_dir"):
            if value := getattr(self, name):
                keys = dataclasses.replace(keys, **{name: value})
        return dataclasses.replace(config, redis=redis, keys=keys)


def with_overrides(config: Config) -> Config:
    """Return `config` with what this process's environment says over it. Raises ConfigInvalid."""
    changed: Config = Overrides.of(os.environ).applied(config)
    return changed
