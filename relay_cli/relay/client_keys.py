"""Whose key signs relays: an application's own, or that of a gateway it delegated to (spec/relayer.md §8.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pocket_protocol.address import address_of
from pocket_protocol.curve import Curve
from pocket_protocol.errors import Malformed
from pocket_protocol.signer import BadPrivateKey, PrivateKey
from pocket_protocol.types import ApplicationAddress


class ClientKeysInvalid(Malformed):
    """Keys that cannot be used; the text never shows one."""

    reason = "client_keys_invalid"
    summary = "client keys cannot be used"


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """Application keys and at most one gateway key."""

    applications: tuple[PrivateKey, ...]
    gateway: PrivateKey | None = None

    def application_addresses(self, curve: Curve) -> tuple[ApplicationAddress, ...]:
        return tuple(ApplicationAddress(address_of(key.public_key(curve))) for key in self.applications)

    def signing_key(self, position: int) -> PrivateKey:
        """Return the key that signs for application number `position`: the gateway's when there is one."""
        return self.gateway or self.applications[position]


def read_client_keys(path: Path) -> ClientKeys:
    """Read `applications: [hex]` and `gateway:` or `gateways: [hex]`. Raises `ClientKeysInvalid`."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ClientKeysInvalid(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ClientKeysInvalid(f"{path}: not valid YAML") from None
    if not isinstance(document, dict):
        raise ClientKeysInvalid(f"{path}: must be a map with `applications` and `gateway`")
    applications = _keys(path, document, "applications")
    gateways = [key for name in ("gateway", "gateways") for key in _keys(path, document, name)]
    if not applications:
        raise ClientKeysInvalid(f"{path}: `applications` must list at least one key")
    if len(gateways) > 1:
        raise ClientKeysInvalid(f"{path}: at most one gateway key")
    return ClientKeys(tuple(applications), gateways[0] if gateways else None)


def client_keys_of_hex(application: str, gateway: str = "") -> ClientKeys:
    """Read keys given as 64 hex digits each. Raises `ClientKeysInvalid`."""
    keys = [_key(application, "the application's key")]
    keys += [_key(gateway, "the gateway's key")] if gateway else []
    return ClientKeys((keys[0],), keys[1] if gateway else None)


def _keys(path: Path, document: dict[str, Any], name: str) -> list[PrivateKey]:
    entries = document.get(name) or []
    entries = [entries] if isinstance(entries, str) else entries
    if not isinstance(entries, list):
        raise ClientKeysInvalid(f"{path}: `{name}` must be a list of keys")
    return [_key(entry, f"{path}: {name}[{index}]") for index, entry in enumerate(entries)]


def _key(text: Any, where: str) -> PrivateKey:
    if not isinstance(text, str):
        raise ClientKeysInvalid(f"{where}: a quoted text of 64 hex digits is needed")
    try:
        return PrivateKey.from_hex(text.strip())
    except BadPrivateKey as error:
        raise ClientKeysInvalid(f"{where}: {error.detail or error.summary}") from None
