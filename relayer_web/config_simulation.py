"""Simulated relays in the relayer's file: probe traffic by pinned keys (spec/relayer.md §2.10, §6.2).

A disabled block never stops the process, but what would be wrong with it is reported as warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from operations.setting import Remark, instant, setting
from pocket_protocol.curve import FIELD_PRIME
from pocket_protocol.ring_members import PLACEHOLDER_PUBLIC_KEY


@dataclass(frozen=True, slots=True)
class SimulationIdentity:
    """One operator who may send simulated relays, with the ring's keys pinned."""

    key_id: str = setting("", doc="value of the Pocket-Simulation-Key-Id header")
    enabled: bool = setting(False, doc="an identity must be switched on")
    not_after: str = setting("", doc="RFC 3339; empty: no end")
    max_rps: int = setting(5, blank_is_default=True, doc="relays per second, also the burst")
    app_pubkey_hex: str = setting("", doc="33-byte compressed key of the application")
    gateway_pubkeys_hex: tuple[str, ...] = setting((), doc="the same for each gateway, at least one")
    allowed_services: tuple[str, ...] = setting((), doc="empty: all")

    @property
    def ends_at(self) -> datetime | None:
        return instant(self.not_after) if self.not_after else None

    @property
    def ring(self) -> tuple[bytes, ...]:
        """The pinned public keys, the application's first."""
        return tuple(bytes.fromhex(text) for text in (self.app_pubkey_hex, *self.gateway_pubkeys_hex))

    def is_expired(self, now: datetime) -> bool:
        """Tell whether `now` (with time zone) is strictly after `not_after`."""
        return self.ends_at is not None and now > self.ends_at

    def defects(self) -> Iterator[Remark]:
        """Say what makes this identity unusable."""
        if not self.key_id:
            yield Remark(("key_id",), "simulation identity: key_id is required")
        if self.max_rps < 0:
            yield Remark(("max_rps",), "must be positive")
        try:
            _ = self.ends_at
        except ValueError as error:
            yield Remark(("not_after",), str(error))
        yield from _key_defects(self.app_pubkey_hex, ("app_pubkey_hex",))
        if not self.gateway_pubkeys_hex:
            yield Remark(("gateway_pubkeys_hex",), "at least one gateway key is required")
        for index, text in enumerate(self.gateway_pubkeys_hex):
            yield from _key_defects(text, ("gateway_pubkeys_hex", f"[{index}]"))


@dataclass(frozen=True, slots=True)
class SimulationSection:
    """Who may send simulated relays."""

    enabled: bool = setting(False, doc="serve simulated relays: answered, neither charged nor mined")
    max_concurrent: int = setting(32, minimum=0, blank_is_default=True, doc="at a time, per process")
    freshness_window_seconds: int = setting(
        30, minimum=0, blank_is_default=True, doc="how far its time stamp may be off"
    )
    identities: tuple[SimulationIdentity, ...] = setting(())

    def expired_identities(self, now: datetime) -> tuple[str, ...]:
        """Return the key ids of switched-on identities that are past their end, in the file's order."""
        return tuple(identity.key_id for identity in self._sound() if identity.is_expired(now))

    def _sound(self) -> Iterator[SimulationIdentity]:
        for identity in self.identities:
            if identity.enabled and not any(remark.path[0] == "not_after" for remark in identity.defects()):
                yield identity

    def remarks(self) -> Iterator[Remark]:
        only_warning = not self.enabled
        if self.enabled and not self.identities:
            yield Remark(("identities",), "simulation: enabled but no identities are pinned")
        seen: set[str] = set()
        for index, identity in enumerate(self.identities):
            here = ("identities", f"[{index}]")
            for defect in identity.defects():
                yield Remark((*here, *defect.path), defect.text, only_warning)
            if identity.key_id and identity.key_id in seen:
                yield Remark((*here, "key_id"), f"duplicate key_id {identity.key_id}", only_warning)
            seen.add(identity.key_id)
        for key_id in self.expired_identities(datetime.now(UTC)):
            text = f"simulation identity {key_id} is past its not_after: its relays are refused"
            yield Remark(("identities",), text, warning=True)


def _key_defects(text: str, path: tuple[str, ...]) -> Iterator[Remark]:
    if not re.fullmatch(r"0[23][0-9A-Fa-f]{64}", text):
        yield Remark(path, "must be a 33-byte compressed public key in hex")
        return
    encoded = bytes.fromhex(text)
    if encoded == PLACEHOLDER_PUBLIC_KEY:
        yield Remark(path, "is the public placeholder key: anyone can sign with it")
    elif not _is_on_curve(int.from_bytes(encoded[1:], "big")):
        yield Remark(path, "is not a point of secp256k1")


def _is_on_curve(x: int) -> bool:
    """Tell whether x³ + 7 is a square (Euler's criterion): the compressed point decodes."""
    return x < FIELD_PRIME and pow(pow(x, 3, FIELD_PRIME) + 7, (FIELD_PRIME - 1) // 2, FIELD_PRIME) == 1
