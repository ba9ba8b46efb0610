"""A process's signing keys, followed while it runs; a key taken away still finishes what it began.

A session that was served under a key needs it for its claim and its proof. So a removed key is kept in memory until
the node ends, also by a process that replaces one that died; nothing new is served or owned with it (spec/miner.md
§1.8).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pocket_chain.keyring import KeyChange, Keyring
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import SupplierAddress

POLL_S: Final = 3.0


class HeldKeys:
    """`current` are the configured keys, `signing` those and the ones that finish."""

    def __init__(
        self,
        keyring: Keyring,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        earlier: Mapping[SupplierAddress, PrivateKey] = MappingProxyType({}),
        follows: bool = True,
    ) -> None:
        """`earlier` are keys that were held before `keyring` was read and may have work to finish.

        `follows`: whether changes of the key sources are looked for at all (`hot_reload_enabled`).
        """
        self._keyring = keyring
        self._follows = follows
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seen: dict[SupplierAddress, PrivateKey] = {**earlier, **keyring.keys}
        self._polled_at = monotonic()

    @property
    def current(self) -> frozenset[SupplierAddress]:
        return self._keyring.addresses

    @property
    def signing(self) -> Mapping[SupplierAddress, PrivateKey]:
        return self._seen

    @property
    def errors(self) -> int:
        """Failed reads since the start."""
        return self._keyring.errors

    def follow(self, *, at_once: bool = False) -> KeyChange | None:
        """Look at the key sources if it is time to, or at once; return what changed."""
        if not self._follows:
            return None
        with self._lock:
            now = self._monotonic()
            if now - self._polled_at < POLL_S and not at_once:
                return None
            self._polled_at = now
            change = self._keyring.poll()
            if change is not None:
                self._seen = {**self._seen, **self._keyring.keys}
            return change
