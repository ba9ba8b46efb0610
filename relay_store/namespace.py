"""The prefixes keys are made of (spec/miner.md §6.2, spec/relayer.md §3.2, decisions.md A)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pocket_protocol.errors import Malformed

DEFAULT_OWN_PREFIX = "pm:"


class NamespaceInvalid(Malformed):
    """A prefix that would change a key's hash slot, or put our own keys among the reference's."""

    reason = "namespace_invalid"
    summary = "key namespace cannot be used"


@dataclass(frozen=True, slots=True)
class Namespace:
    """The configured prefixes. Each one falls back to its default when empty, so no key holds `::`.

    `own` is `extensions.namespace`; `meter_keys` is `relay_meter.redis_key_prefix`, which the
    reference uses for two meter keys and the clean-up channel regardless of `base` and `meter`.
    Raises `NamespaceInvalid` for braces or blanks, and for an `own` prefix below `base`.
    """

    base: str = "ha"
    cache: str = "cache"
    events: str = "events"
    streams: str = "relays"
    miner: str = "miner"
    supplier: str = "supplier"
    meter: str = "meter"
    params: str = "params"
    consumer_group: str = "miners"
    own: str = DEFAULT_OWN_PREFIX
    meter_keys: str = "ha"

    def __post_init__(self) -> None:
        for field in fields(self):
            text = getattr(self, field.name).strip(":") or str(field.default).strip(":")
            if any(mark in text for mark in "{}") or text != "".join(text.split()):
                raise NamespaceInvalid(field=field.name, text=text)
            object.__setattr__(self, field.name, text)
        if self.own == self.base or self.own.startswith(f"{self.base}:"):
            raise NamespaceInvalid(field="own", text=self.own)
